/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of an open session that were recorded and are sent again: none passes, whenever that is.
 */
#include <string.h>

#include "check.h"
#include "ends.h"

#define COUNT(end, field, want)                                                                    \
  CHECK((end)->counts.field == (want), #field " is %u", (end)->counts.field)
#define KEPT 8u

/* What somebody has recorded. */
typedef struct {
  uint8_t frame[KEPT][EG_FRAME_MAX];
  uint16_t length;
  uint8_t type;
} tape_t;

static eg_message_t due(const ends_t *e, uint8_t type) {
  return type == EG_MSG_COMMAND ? ends_command(e) : ends_message(type);
}

/* They also arrive. */
static tape_t recorded(ends_t *e, uint8_t type) {
  tape_t t = {.type = type};
  for (uint32_t i = 0; i < KEPT; i++) {
    eg_message_t m = due(e, type);
    t.length = ends_frame(e, &m, t.frame[i]);
    CHECK(ends_accept(e, type, t.frame[i], t.length), "type %u: frame %u", type, i);
    (void)ends_period(e, type);
  }
  return t;
}

/* How many of them pass. */
static uint32_t again(ends_t *e, const tape_t *t) {
  uint32_t passed = 0;
  for (uint32_t i = 0; i < KEPT; i++) {
    passed += ends_accept(e, t->type, t->frame[i], t->length);
    (void)ends_period(e, t->type);
  }
  return passed;
}

static bool good(ends_t *e, uint8_t type) {
  eg_message_t m = due(e, type);
  bool passes = ends_pass(e, &m);
  (void)ends_period(e, type);
  return passes;
}

/* The next frame that is sent has so many of its type before it in the session; the last of them
 * was heard. */
static void go_to(ends_t *e, uint8_t type, uint32_t frames) {
  eg_link_t *sender = ends_sender(e, type), *receiver = ends_receiver(e, type);
  sender->counter[type] = (uint16_t)frames;
  sender->sent_round[type] = (uint16_t)(frames >> 16);
  receiver->receiver[type].counter = (uint16_t)(frames - 1u);
  receiver->heard_round[type] = (uint16_t)((frames - 1u) >> 16);
  receiver->receiver[type].started = 1;
}

static const uint8_t types[] = {EG_MSG_COMMAND, EG_MSG_VERDICT,  EG_MSG_ANSWER, EG_MSG_LOG_HEAD,
                                EG_MSG_STATE,   EG_MSG_QUESTION, EG_MSG_LOG_ACK};

/* Of the same round they are from before; a round later they come when they are due. */
static void they_do_not_pass(uint8_t type, uint8_t authenticated) {
  static const uint32_t later[] = {KEPT,   KEPT + 1u, 1000,    0x7F00,  0x8100,
                                   0xFFF0, 0x10000,   0x10001, 0x18001, 0xFFFF0001};
  ends_t e = ends_together(authenticated);
  eg_link_t *receiver = ends_receiver(&e, type);
  tape_t tape = recorded(&e, type);
  for (uint32_t i = 0; i < (authenticated ? sizeof later / sizeof *later : 4u); i++) {
    go_to(&e, type, later[i]);
    uint32_t accepted = receiver->counts.accepted;
    CHECK(again(&e, &tape) == 0 && receiver->counts.accepted == accepted, "type %u at %u", type,
          later[i]);
    CHECK(good(&e, type), "type %u at %u: the next one", type, later[i]);
  }
}

/* With every frame in between, and over the wrap. */
static void nor_after_a_whole_round(void) {
  ends_t e = ends_together(1);
  tape_t tape = recorded(&e, EG_MSG_QUESTION);
  for (uint32_t i = KEPT; i < 0x10000u; i++) CHECK(good(&e, EG_MSG_QUESTION), "frame %u", i);
  CHECK(again(&e, &tape) == 0, "a round later");
  COUNT(&e.host, forged, KEPT);
  CHECK(good(&e, EG_MSG_QUESTION), "the next one");
  COUNT(&e.host, accepted, 0x10001u);
}

/* Both bytes of it, behind the session. */
static void the_round_is_under_the_tag(void) {
  ends_t e = ends_together(1);
  eg_message_t m = ends_message(EG_MSG_LOG_HEAD);
  uint8_t frame[EG_FRAME_MAX], tag[EG_TAG_BYTES], fresh[EG_FRESH_BYTES];
  e.host.sent_round[EG_MSG_LOG_HEAD] = 0x1234;
  uint16_t n = (uint16_t)(ends_frame(&e, &m, frame) - EG_TAG_BYTES);
  memcpy(fresh, e.host.session, EG_SESSION_BYTES);
  fresh[EG_SESSION_BYTES] = 0x12;
  fresh[EG_SESSION_BYTES + 1] = 0x34;
  eg_cmac(e.host.config.key, fresh, sizeof fresh, frame, n, tag);
  CHECK(memcmp(tag, frame + n, sizeof tag) == 0, "another tag");
}

/* Opened again with the nonces of another pair, each end understands the other one of that. */
static void a_session_begins_with_the_first_round(void) {
  ends_t e = ends_together(1), fresh = e;
  go_to(&e, EG_MSG_STATE, 0x10005);
  eg_link_open(&e.host, fresh.host.session, fresh.host.session + EG_NONCE_BYTES);
  eg_link_open(&e.mcu, fresh.mcu.session, fresh.mcu.session + EG_NONCE_BYTES);
  ends_t host = e, mcu = e;
  host.mcu = fresh.mcu;
  mcu.host = fresh.host;
  CHECK(good(&host, EG_MSG_STATE), "the host began anew");
  CHECK(good(&mcu, EG_MSG_STATE), "the microcontroller began anew");
}

/* What comes from before moves nothing: what was recorded after it is from before, too. */
static void what_is_behind_is_not_followed(void) {
  ends_t e = ends_together(1);
  tape_t tape = recorded(&e, EG_MSG_STATE);
  CHECK(again(&e, &tape) == 0, "again");
  COUNT(&e.host, reordered, KEPT - 1u);
  COUNT(&e.host, repeated, 1);
  COUNT(&e.host, forged, 0);
  CHECK(!ends_accept(&e, tape.type, tape.frame[0], tape.length), "once more");
  CHECK(e.host.worst == EG_E2E_WRONGSEQUENCE + 1u, "judged as %u", e.host.worst - 1u);
}

/* In any round, and from the round before. */
static void it_is_told_from_a_forged_one(void) {
  static const uint32_t now[] = {0x20010, 0x20003}, then[] = {0x2000B, 0x1FFF0};
  for (uint32_t i = 0; i < 2; i++) {
    ends_t e = ends_together(1);
    go_to(&e, EG_MSG_STATE, now[i]);
    e.mcu.counter[EG_MSG_STATE] = (uint16_t)then[i];
    e.mcu.sent_round[EG_MSG_STATE] = (uint16_t)(then[i] >> 16);
    CHECK(!good(&e, EG_MSG_STATE), "from before");
    COUNT(&e.host, reordered, 1);
    COUNT(&e.host, forged, 0);
  }
}

/* A gap is followed, over the wrap as well. */
static void what_is_ahead_is_followed(void) {
  static const uint32_t gaps[] = {4, 1000, 0x7FFF};
  for (uint32_t i = 0; i < sizeof gaps / sizeof *gaps; i++) {
    ends_t e = ends_together(1);
    go_to(&e, EG_MSG_STATE, 0xFFFF);
    e.mcu.counter[EG_MSG_STATE] = (uint16_t)(0xFFFEu + gaps[i]);
    e.mcu.sent_round[EG_MSG_STATE] = 1;
    CHECK(!good(&e, EG_MSG_STATE), "after a gap of %u", gaps[i]);
    COUNT(&e.host, reordered, 1);
    COUNT(&e.host, forged, 0);
    CHECK(good(&e, EG_MSG_STATE), "the next one");
  }
}

/* Its ends did not begin together, and one may have begun anew. */
static void without_a_session_a_state_may_begin_anew(void) {
  ends_t e = ends_apart(1), fresh = e;
  go_to(&e, EG_MSG_STATE, 0x10000u + 5u);
  e.host = fresh.host;
  CHECK(good(&e, EG_MSG_STATE), "the host began anew");
  e.mcu = fresh.mcu;
  CHECK(!good(&e, EG_MSG_STATE), "the microcontroller began anew");
  COUNT(&e.host, reordered, 1);
  CHECK(good(&e, EG_MSG_STATE), "and is heard");
}

/* What arms has its nonces: any number of handshakes in a session. */
static void what_arms_has_no_rounds(void) {
  ends_t e = ends_together(1);
  go_to(&e, EG_MSG_HELLO, 0x10000u + 5u);
  e.host.sent_round[EG_MSG_HELLO] = 7;
  CHECK(good(&e, EG_MSG_HELLO), "the next one");
  e.mcu.counter[EG_MSG_BOOT] = 500;
  CHECK(good(&e, EG_MSG_BOOT), "the first");
  e.mcu.counter[EG_MSG_BOOT] = 0;
  CHECK(!good(&e, EG_MSG_BOOT), "after a reset");
  CHECK(good(&e, EG_MSG_BOOT), "the next one");
}

int main(void) {
  for (uint32_t i = 0; i < sizeof types; i++) {
    they_do_not_pass(types[i], 1);
    they_do_not_pass(types[i], 0);
  }
  nor_after_a_whole_round();
  the_round_is_under_the_tag();
  a_session_begins_with_the_first_round();
  what_is_behind_is_not_followed();
  it_is_told_from_a_forged_one();
  what_is_ahead_is_followed();
  without_a_session_a_state_may_begin_anew();
  what_arms_has_no_rounds();
  return 0;
}
