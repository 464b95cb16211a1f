/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "check.h"
#include "ends.h"

#define COUNT(end, field, want)                                                                    \
  CHECK((end)->counts.field == (want), #field " is %u", (end)->counts.field)

/* Nothing but what a test names may have been counted. */
static void counted(const eg_link_t *l, uint32_t all) {
  CHECK(ends_counted(&l->counts) == all, "%u frames counted, not %u", ends_counted(&l->counts),
        all);
}

/* ------------------------------------------------------------------ good frames */

static void every_type_passes(uint8_t authenticated) {
  for (uint8_t type = 0; type < EG_MESSAGES; type++) {
    ends_t e = ends_together(authenticated);
    eg_message_t m = ends_message(type), said;
    m.as.command.stamp_us = type == EG_MSG_COMMAND ? e.now_us : m.as.command.stamp_us;
    uint8_t frame[EG_FRAME_MAX], payload[EG_PAYLOAD_MAX], other[EG_PAYLOAD_MAX];
    uint16_t n = ends_frame(&e, &m, frame);
    uint16_t size = eg_message_size(type);
    CHECK(n == EG_FRAME_HEAD + size + (authenticated ? 8 : 0), "type %u: %u bytes", type, n);
    CHECK(eg_get16(frame) == EG_FRAME_HEAD + size, "E2E length is without tag");
    eg_link_t *l = ends_receiver(&e, type);
    memset(&said, 0xEE, sizeof said);
    CHECK(eg_link_accept(l, frame, n, ends_clock(&e, type), &said), "type %u", type);
    CHECK(said.type == type, "type %u", said.type);
    CHECK(eg_message_pack(&m, payload) == eg_message_pack(&said, other), "type %u", type);
    CHECK(memcmp(payload, other, size) == 0, "type %u says what was said", type);
    COUNT(l, accepted, 1);
    counted(l, 1);
  }
}

static void counters_are_of_a_type(void) {
  ends_t e = ends_together(1);
  for (uint16_t i = 0; i < 3; i++)
    for (uint8_t type = EG_MSG_VERDICT; type <= EG_MSG_ANSWER; type++) {
      eg_message_t m = ends_message(type);
      uint8_t frame[EG_FRAME_MAX];
      (void)ends_frame(&e, &m, frame);
      CHECK(eg_get16(frame + 2) == i, "type %u counts to %u", type, i);
    }
  eg_message_t none = {.type = EG_MESSAGES};
  uint8_t frame[EG_WIRE_MAX];
  CHECK(eg_link_frame(&e.host, &none, frame) == 0, "no such type");
  CHECK(eg_link_wire(&e.host, &none, frame) == 0, "nor on the wire");
}

static void padding(uint8_t authenticated) {
  eg_message_t m = ends_message(EG_MSG_VERDICT);
  for (uint16_t pad = 0; pad <= 30; pad++) {
    ends_t e = ends_together(authenticated);
    uint8_t frame[EG_FRAME_MAX + 30];
    memset(frame, 0, sizeof frame);
    uint16_t n = (uint16_t)(ends_frame(&e, &m, frame) + pad);
    bool fits = n <= EG_FRAME_MAX;
    CHECK(ends_accept(&e, m.type, frame, n) == fits, "%u zeros", pad);
    COUNT(&e.mcu, corrupted, !fits);
    if (pad == 0 || !fits) continue;
    for (uint16_t at = (uint16_t)(n - pad); at < n; at++) {
      e = ends_together(authenticated);
      frame[at] = 0x80;
      CHECK(!ends_accept(&e, m.type, frame, n), "byte %u of the padding", at);
      COUNT(&e.mcu, corrupted, 1);
      frame[at] = 0;
    }
  }
}

/* ------------------------------------------------------------------- bad frames */

static void cut(uint8_t authenticated) {
  eg_message_t m = ends_message(EG_MSG_VERDICT);
  uint8_t frame[EG_FRAME_MAX];
  ends_t e = ends_together(authenticated);
  uint16_t n = ends_frame(&e, &m, frame), body = eg_get16(frame);
  for (uint16_t length = 0; length < n; length++) {
    ends_t each = e;
    CHECK(!ends_accept(&each, m.type, frame, length), "%u of %u bytes", length, n);
    COUNT(&each.mcu, corrupted, length < body);
    COUNT(&each.mcu, forged, length >= body);
    counted(&each.mcu, 1);
  }
}

/* E2E says so many bytes; header, session word and CRC hold. */
static void lengths(void) {
  for (uint16_t body = EG_E2E_HEADER; body <= EG_FRAME_MAX - EG_TAG_BYTES; body++) {
    ends_t e = ends_together(1);
    eg_message_t m = ends_message(EG_MSG_VERDICT);
    uint8_t frame[EG_FRAME_MAX] = {0};
    (void)ends_frame(&e, &m, frame);
    ends_seal(&e.host, m.type, 0, frame, body);
    bool right = body == EG_FRAME_HEAD + eg_message_size(m.type);
    CHECK(ends_accept(&e, m.type, frame, (uint16_t)(body + EG_TAG_BYTES)) == right, "%u", body);
    COUNT(&e.mcu, corrupted, body < EG_FRAME_HEAD);
    COUNT(&e.mcu, malformed, body >= EG_FRAME_HEAD && !right);
    counted(&e.mcu, 1);
  }
}

static void every_bit(uint8_t authenticated) {
  eg_message_t m = ends_message(EG_MSG_STATE);
  ends_t start = ends_together(authenticated), e;
  uint8_t frame[EG_FRAME_MAX];
  uint16_t n = ends_frame(&start, &m, frame), body = eg_get16(frame);
  for (uint32_t bit = 0; bit < 8u * n; bit++) {
    e = start;
    frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
    CHECK(!ends_accept(&e, m.type, frame, n), "bit %u", bit);
    COUNT(&e.host, corrupted, bit < 8u * body);
    COUNT(&e.host, forged, bit >= 8u * body);
    counted(&e.host, 1);
    frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
  }
}

/* A frame whose data id is another's, with the right CRC. */
static bool with_id(ends_t *e, uint32_t id, uint8_t end_of) {
  uint8_t frame[EG_FRAME_MAX];
  eg_message_t m = ends_message(ends_is_of_host(end_of) ? EG_MSG_VERDICT : EG_MSG_STATE);
  (void)ends_frame(e, &m, frame);
  uint16_t n = (uint16_t)(EG_FRAME_HEAD + eg_message_size(m.type));
  eg_e2e_protect(frame, n, 0, id);
  eg_cmac(e->host.config.key, e->host.session, EG_SESSION_BYTES, frame, n, frame + n);
  return ends_accept(e, end_of, frame, (uint16_t)(n + EG_TAG_BYTES));
}

static void masquerade(void) {
  const uint32_t base = eg_message_data_id(EG_MSG_VERDICT);
  const uint32_t strange[] = {0, 1, base ^ 0x300u /* version 2 */, base ^ 1u, base ^ 0x80000000u};
  for (uint8_t end = EG_MSG_VERDICT; end <= EG_MSG_STATE; end += EG_MSG_STATE - EG_MSG_VERDICT) {
    for (size_t i = 0; i < sizeof strange / sizeof *strange; i++) {
      ends_t e = ends_together(1);
      CHECK(!with_id(&e, strange[i], end), "id %08X", strange[i]);
      COUNT(ends_receiver(&e, end), masked, 1);
      counted(ends_receiver(&e, end), 1);
    }
    for (uint8_t type = 0; type < EG_MESSAGES; type++) {
      if (ends_is_of_host(type) == ends_is_of_host(end)) continue;
      ends_t e = ends_together(1);
      CHECK(!with_id(&e, eg_message_data_id((eg_message_type_t)type), end),
            "type %u goes the other way", type);
      COUNT(ends_receiver(&e, end), masked, 1);
    }
  }
}

static void an_echo_is_not_accepted(void) {
  for (uint8_t type = 0; type < EG_MESSAGES; type++) {
    ends_t e = ends_together(1);
    eg_message_t m = ends_message(type), said;
    uint8_t frame[EG_FRAME_MAX];
    uint16_t n = ends_frame(&e, &m, frame);
    eg_link_t *l = ends_sender(&e, type);
    CHECK(!eg_link_accept(l, frame, n, e.now_us, &said), "type %u: its own frame", type);
    COUNT(l, masked, 1);
  }
}

/* ----------------------------------------------------------------------- tag */

static void tags(void) {
  eg_message_t m = ends_message(EG_MSG_VERDICT);
  uint8_t frame[EG_FRAME_MAX];
  ends_t e = ends_together(1);
  e.host.config.authenticated = 0;
  uint16_t n = ends_frame(&e, &m, frame);
  CHECK(!ends_accept(&e, m.type, frame, n), "without tag");
  COUNT(&e.mcu, forged, 1);
  memset(frame + n, 0, 8);
  CHECK(!ends_accept(&e, m.type, frame, (uint16_t)(n + 8)), "zeros");
  COUNT(&e.mcu, forged, 2);
  e.host.config.authenticated = 1;
  e.host.config.key[15] ^= 1;
  CHECK(!ends_pass(&e, &m), "another key");
  COUNT(&e.mcu, forged, 3);
  counted(&e.mcu, 3);
  e.host.config.key[15] ^= 1;
  CHECK(ends_pass(&e, &m), "forged frames leave the counter alone");
  COUNT(&e.mcu, lost, 0);
}

static void tags_where_none_are_asked_for(void) {
  ends_t e = ends_together(0);
  eg_message_t m = ends_message(EG_MSG_VERDICT);
  e.host.config.authenticated = 1;
  CHECK(!ends_pass(&e, &m), "the builds differ: refused");
  COUNT(&e.mcu, corrupted, 1);
}

/* ------------------------------------------------------------------- session */

static const uint8_t nonce_a[EG_NONCE_BYTES] = {9, 9, 9, 9, 9, 9, 9, 9};
static const uint8_t nonce_b[EG_NONCE_BYTES] = {1, 3, 5, 7, 9, 11, 13, 15};
static const uint32_t arming = 1u << EG_MSG_HELLO | 1u << EG_MSG_ARM | 1u << EG_MSG_CHALLENGE |
                               1u << EG_MSG_ARMED | 1u << EG_MSG_BOOT;

static eg_message_t stamped(const ends_t *e, uint8_t type) {
  return type == EG_MSG_COMMAND ? ends_command(e) : ends_message(type);
}

static void before_arming(uint8_t authenticated) {
  for (uint8_t type = 0; type < EG_MESSAGES; type++) {
    ends_t e = ends_apart(authenticated);
    eg_message_t m = stamped(&e, type);
    bool heard = (arming >> type & 1u) || type == EG_MSG_STATE;
    CHECK(ends_pass(&e, &m) == heard, "type %u", type);
    COUNT(ends_receiver(&e, type), unarmed, !heard);
    counted(ends_receiver(&e, type), 1);
  }
}

/* One end has another session, or none: only what arms is heard. */
static void another_session(uint8_t authenticated, uint8_t which) {
  for (uint8_t type = 0; type < EG_MESSAGES; type++) {
    ends_t e = ends_together(authenticated);
    eg_link_t *sender = ends_sender(&e, type), *receiver = ends_receiver(&e, type);
    if (which == 0) eg_link_open(sender, nonce_a, e.mcu.session + EG_NONCE_BYTES);
    if (which == 1) eg_link_open(sender, e.mcu.session, nonce_b);
    if (which == 2) eg_link_close(sender);
    if (which == 3) eg_link_close(receiver);
    eg_message_t m = stamped(&e, type);
    bool heard = arming >> type & 1u;
    CHECK(ends_pass(&e, &m) == heard, "type %u, case %u", type, which);
    bool unarmed = which == 3 && type != EG_MSG_STATE;
    COUNT(receiver, masked, !heard && !unarmed);
    COUNT(receiver, unarmed, !heard && unarmed);
    counted(receiver, 1);
  }
}

/* Each byte of both nonces is in the tag; each byte of the word is compared. */
static void every_byte_of_the_session(void) {
  for (uint32_t i = 0; i < EG_SESSION_BYTES; i++) {
    ends_t e = ends_together(1);
    e.host.session[i] ^= 0x40;
    eg_message_t m = ends_message(EG_MSG_VERDICT);
    CHECK(!ends_pass(&e, &m), "nonce byte %u", i);
    bool in_word = i < EG_SESSION_WORD || i >= EG_SESSION_BYTES - EG_SESSION_WORD;
    COUNT(&e.mcu, masked, in_word);
    COUNT(&e.mcu, forged, !in_word);
  }
}

static void opening_starts_anew(void) {
  ends_t e = ends_together(1);
  eg_message_t m = ends_message(EG_MSG_VERDICT);
  for (int i = 0; i < 9; i++) (void)ends_pass(&e, &m);
  COUNT(&e.mcu, accepted, 8); /* and the ninth is one too many */
  COUNT(&e.mcu, excess, 1);
  eg_link_open(&e.host, nonce_a, nonce_b);
  eg_link_open(&e.mcu, nonce_a, nonce_b);
  CHECK(e.host.counter[m.type] == 0, "counters");
  for (int i = 0; i < 8; i++) CHECK(ends_pass(&e, &m), "credit and sequence are new");
  COUNT(&e.mcu, accepted, 16);
  COUNT(&e.mcu, lost, 0);
}

static void a_session_is_its_nonces(void) {
  ends_t e = ends_apart(1);
  eg_link_open(&e.mcu, nonce_a, nonce_b);
  CHECK(memcmp(e.mcu.session, nonce_a, EG_NONCE_BYTES) == 0, "the host's");
  CHECK(memcmp(e.mcu.session + EG_NONCE_BYTES, nonce_b, EG_NONCE_BYTES) == 0, "and its own");
}

/* Nothing of the session is left: an end that never had one understands the other. */
static void closing_ends_it(void) {
  ends_t e = ends_together(1), fresh = ends_apart(1);
  eg_message_t state = ends_message(EG_MSG_STATE), hello = ends_message(EG_MSG_HELLO);
  for (int i = 0; i < 8; i++) CHECK(ends_pass(&e, &hello), "all that may come at once");
  CHECK(ends_pass(&e, &state), "in the session");
  eg_link_close(&e.mcu);
  CHECK(e.mcu.counter[EG_MSG_STATE] == 0, "counts anew");
  e.host = fresh.host;
  CHECK(ends_pass(&e, &state), "STATE outside of any session");
  CHECK(ends_pass(&e, &hello), "a host that restarted, at once");
}

static void closing_forgets_the_clock(void) {
  ends_t e = ends_together(1);
  eg_message_t m = ends_command(&e);
  CHECK(ends_pass(&e, &m), "armed");
  eg_link_close(&e.mcu);
  eg_link_open(&e.mcu, e.host.session, e.host.session + EG_NONCE_BYTES);
  CHECK(!ends_pass(&e, &m), "nobody knows how old it is");
  COUNT(&e.mcu, future, 1);
}

static void handshake(ends_t *e, uint8_t from, const char *when) {
  const uint8_t types[] = {EG_MSG_HELLO, EG_MSG_CHALLENGE, EG_MSG_ARM, EG_MSG_ARMED};
  for (uint8_t i = from; i < 4; i++) {
    eg_message_t m = ends_message(types[i]);
    CHECK(ends_pass(e, &m), "%s: message %u", when, i);
  }
}

/* An end that restarted counts from 0 again; what answers is heard at once all the same. */
static void handshakes_survive_a_restart(void) {
  ends_t e = ends_apart(1), fresh = e;
  handshake(&e, 0, "first");
  e.mcu = fresh.mcu;
  handshake(&e, 0, "the microcontroller restarted");
  handshake(&e, 0, "nobody restarted");
  e.host = fresh.host;
  eg_message_t hello = ends_message(EG_MSG_HELLO);
  CHECK(!ends_pass(&e, &hello), "the host restarted: its first HELLO looks old");
  COUNT(&e.mcu, reordered, 1);
  handshake(&e, 0, "its second does not");
}

/* Only what answers may have any counter, and only once. */
static void within_a_handshake_twice_is_twice(void) {
  const uint8_t types[] = {EG_MSG_HELLO, EG_MSG_CHALLENGE, EG_MSG_ARM, EG_MSG_ARMED, EG_MSG_BOOT};
  for (size_t i = 0; i < sizeof types; i++) {
    ends_t e = ends_apart(1);
    eg_message_t m = ends_message(types[i]);
    uint8_t frame[EG_FRAME_MAX];
    uint16_t n = ends_frame(&e, &m, frame);
    CHECK(ends_accept(&e, types[i], frame, n), "type %u", types[i]);
    CHECK(!ends_accept(&e, types[i], frame, n), "type %u again", types[i]);
    COUNT(ends_receiver(&e, types[i]), repeated, 1);
  }
}

/* Sending these begins a handshake at this end, and sending others does not. */
static void what_begins_anew(void) {
  for (uint8_t sent = 0; sent < EG_MESSAGES; sent++)
    for (uint8_t type = 0; type < EG_MESSAGES; type++) {
      eg_link_t l = ends_apart(1).host;
      uint8_t frame[EG_FRAME_MAX];
      eg_message_t m = ends_message(sent);
      l.receiver[type].started = 1;
      (void)eg_link_frame(&l, &m, frame);
      bool anew = (sent == EG_MSG_HELLO && (type == EG_MSG_CHALLENGE || type == EG_MSG_ARMED)) ||
                  (sent == EG_MSG_CHALLENGE && type == EG_MSG_ARM);
      CHECK(l.receiver[type].started == !anew, "%u sent, %u", sent, type);
    }
}

int main(void) {
  for (uint8_t authenticated = 0; authenticated < 2; authenticated++) {
    every_type_passes(authenticated);
    padding(authenticated);
    cut(authenticated);
    every_bit(authenticated);
    before_arming(authenticated);
    for (uint8_t which = 0; which < 4; which++) another_session(authenticated, which);
  }
  counters_are_of_a_type();
  lengths();
  masquerade();
  an_echo_is_not_accepted();
  tags();
  tags_where_none_are_asked_for();
  every_byte_of_the_session();
  opening_starts_anew();
  a_session_is_its_nonces();
  closing_ends_it();
  closing_forgets_the_clock();
  handshakes_survive_a_restart();
  within_a_handshake_twice_is_twice();
  what_begins_anew();
  return 0;
}
