/* SPDX-License-Identifier: Apache-2.0 */
/* F14: how many bad frames among the expected ones are LINK_FAULTY. */
#include <string.h>

#include "check.h"
#include "ends.h"

#define FAULTY EG_BIT(EG_LINK_FAULTY)

typedef enum { GOOD, LOST, CORRUPT, FORGED, OLD, STRANGE, TWICE, MALFORMED } kind_t;
static const char letters[] = "GLCFOSTM";

static eg_message_t due(const ends_t *e, uint8_t type) {
  return type == EG_MSG_COMMAND ? ends_command(e) : ends_message(type);
}

/* The frame of this period, treated so. */
static void send(ends_t *e, uint8_t type, kind_t how) {
  uint8_t frame[EG_FRAME_MAX];
  eg_message_t m = due(e, type);
  if (how == OLD) m.as.command.stamp_us -= 20001; /* a STATE is not aged: only for COMMAND */
  if (how == MALFORMED) m.as.command.mode = 4;
  if (how == STRANGE) ends_sender(e, type)->counter[type] ^= 0x1000;
  uint16_t n = ends_frame(e, &m, frame);
  if (how == LOST) return;
  if (how == CORRUPT) frame[21] ^= 0x10;
  if (how == FORGED) frame[n - 1] ^= 0x10;
  bool heard = ends_accept(e, type, frame, n);
  CHECK(heard == (how == GOOD || how == TWICE), "%c", letters[how]);
  if (how == TWICE) CHECK(!ends_accept(e, type, frame, n), "again");
}

static ends_t at_work(uint8_t type) {
  ends_t e = ends_together(1);
  for (int i = 0; i < 40; i++) {
    send(&e, type, GOOD);
    CHECK(ends_period(&e, type) == 0, "period %d", i);
  }
  return e;
}

/* One bad frame in every `every`, for a hundred periods: whether it ever is LINK_FAULTY. */
static bool trips(uint8_t type, kind_t how, int every) {
  ends_t e = at_work(type);
  uint32_t present = 0;
  for (int i = 0; i < 100; i++) {
    send(&e, type, i % every ? GOOD : how);
    present |= ends_period(&e, type);
  }
  CHECK((present & ~FAULTY) == 0, "nothing else: %X", present);
  return present != 0;
}

/* Six or seven in 32: one in 5 is at most 7 of 32 (at the ends), one in 6 at most 6. */
static void rates(uint8_t type) {
  const kind_t hows[] = {LOST, CORRUPT, FORGED};
  for (size_t i = 0; i < sizeof hows / sizeof *hows; i++) {
    CHECK(trips(type, hows[i], 2), "%c: good and bad alternate", letters[hows[i]]);
    CHECK(trips(type, hows[i], 4), "%c: 25 %%", letters[hows[i]]);
    CHECK(!trips(type, hows[i], 6), "%c: 17 %%", letters[hows[i]]);
    CHECK(!trips(type, hows[i], 10), "%c: 10 %%", letters[hows[i]]);
  }
  CHECK(trips(type, TWICE, 2), "repeated: a third of what comes");
  CHECK(!trips(type, TWICE, 6), "repeated: one in seven");
}

static void rates_of_commands(void) {
  const kind_t hows[] = {OLD, MALFORMED};
  for (size_t i = 0; i < sizeof hows / sizeof *hows; i++) {
    CHECK(trips(EG_MSG_COMMAND, hows[i], 2), "%c: good and bad alternate", letters[hows[i]]);
    CHECK(!trips(EG_MSG_COMMAND, hows[i], 6), "%c: 17 %%", letters[hows[i]]);
  }
}

/* Exactly at the limit, spread so that the state machine has no reason of its own. */
static void limit(kind_t how) {
  ends_t e = at_work(EG_MSG_COMMAND);
  int sent = 0;
  for (int bad = 1; bad <= 7; bad++) {
    send(&e, EG_MSG_COMMAND, how);
    uint32_t at_once = how != LOST && bad == 7 ? FAULTY : 0; /* a lost one is missed by the next */
    CHECK(ends_period(&e, EG_MSG_COMMAND) == at_once, "%c: %d bad", letters[how], bad);
    for (int i = 0; i < 3; i++, sent++) {
      send(&e, EG_MSG_COMMAND, GOOD);
      uint32_t want = bad == 7 ? FAULTY : 0;
      CHECK(ends_period(&e, EG_MSG_COMMAND) == want, "%c: %d bad", letters[how], bad);
    }
  }
  /* 28 frames since the first bad one: it leaves after 4 more, with the next good one. */
  for (int i = 1; i <= 8; i++) {
    send(&e, EG_MSG_COMMAND, GOOD);
    uint32_t present = ends_period(&e, EG_MSG_COMMAND);
    CHECK(present == (i < 5 ? FAULTY : 0), "%c: %d good ones after", letters[how], i);
  }
}

/* A bad frame is bad once, whether it came wrong or its counter is missed later. */
static void counted_once(void) {
  static const struct {
    const char *what;
    uint32_t window;
  } cases[] = {{"CG", 0x2},  {"LG", 0x2},     {"CCG", 0x6}, {"CLG", 0x6}, {"LCG", 0x6},
               {"LLG", 0x6}, {"FG", 0x2},     {"FLG", 0x6}, {"OG", 0x2},  {"OLG", 0x6},
               {"OCG", 0x6}, {"MLG", 0x6},    {"TG", 0x2},  {"TLG", 0x6}, {"GCGLG", 0xA},
               {"GGG", 0x0}, {"LGCLG", 0x16}, {"CS", 0x3},  {"OLLG", 0xE}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    ends_t e = at_work(EG_MSG_COMMAND);
    for (const char *c = cases[i].what; *c; c++)
      send(&e, EG_MSG_COMMAND, (kind_t)(strchr(letters, *c) - letters));
    CHECK(e.mcu.window == cases[i].window, "%s: %X", cases[i].what, e.mcu.window);
  }
}

/* What any other type does, good or bad, leaves the window and the silence alone. */
static void only_the_expected_type_counts(uint8_t expected) {
  for (uint8_t type = 0; type < EG_MESSAGES; type++) {
    if (type == expected || ends_is_of_host(type) != ends_is_of_host(expected)) continue;
    ends_t e = at_work(expected);
    eg_link_t *l = ends_receiver(&e, expected);
    uint32_t quiet_us = l->quiet_us;
    send(&e, expected, LOST);
    send(&e, expected, GOOD);
    CHECK(l->window == 2 && l->counts.lost == 1, "one lost");
    l->quiet_us = quiet_us;
    const kind_t hows[] = {GOOD, LOST, CORRUPT, GOOD, LOST, FORGED, GOOD, TWICE};
    for (size_t i = 0; i < sizeof hows / sizeof *hows; i++) send(&e, type, hows[i]);
    CHECK(l->window == 2, "type %u: %X", type, l->window);
    CHECK(l->quiet_us == quiet_us, "type %u is no sign of life", type);
    CHECK(l->counts.lost == 5, "type %u: but counted: %u", type, l->counts.lost);
    send(&e, expected, LOST);
    send(&e, expected, GOOD);
    CHECK(l->window == 0xA, "type %u makes up for nothing: %X", type, l->window);
    CHECK(l->counts.lost == 6, "type %u: %u", type, l->counts.lost);
  }
}

/* Bad frames of other types, and bytes that are no frame at all, are no expected frames. */
static void other_types_do_not_count(void) {
  ends_t e = at_work(EG_MSG_COMMAND);
  for (int i = 0; i < 60; i++) {
    send(&e, EG_MSG_VERDICT, CORRUPT);
    send(&e, EG_MSG_VERDICT, FORGED);
    const uint8_t noise[3] = {1, 2, 3};
    CHECK(!ends_accept(&e, EG_MSG_COMMAND, noise, 3), "noise");
    send(&e, EG_MSG_COMMAND, GOOD);
    CHECK(ends_period(&e, EG_MSG_COMMAND) == 0, "period %d", i);
  }
  CHECK(e.mcu.counts.corrupted == 120 && e.mcu.counts.forged == 60, "but are counted");
}

/* Three errors in eight periods are too many for the E2E state machine, long before 7 of 32. */
static void state_machine(void) {
  ends_t e = at_work(EG_MSG_COMMAND);
  for (int i = 1; i <= 3; i++) {
    send(&e, EG_MSG_COMMAND, CORRUPT);
    send(&e, EG_MSG_COMMAND, GOOD);
    CHECK(ends_period(&e, EG_MSG_COMMAND) == (i == 3 ? FAULTY : 0), "error %d", i);
  }
  for (int i = 1; i <= 8; i++) {
    send(&e, EG_MSG_COMMAND, GOOD);
    CHECK(ends_period(&e, EG_MSG_COMMAND) == (i < 7 ? FAULTY : 0), "%d good ones after", i);
  }
}

/* What the machine was told of the last period. */
static uint8_t told(const ends_t *e) {
  return e->mcu.machine.result[(e->mcu.machine.next + EG_E2E_WINDOW - 1u) % EG_E2E_WINDOW];
}

/* A good frame that a period did not count stands for a period without one, once. */
static void two_in_one_period(void) {
  static const struct {
    const char *what;
    uint8_t of_next;
  } cases[] = {{"GG", EG_E2E_OK},       {"GGG", EG_E2E_OK},       {"GC", EG_E2E_OK},
               {"CG", EG_E2E_OK},       {"GT", EG_E2E_OK},        {"G", EG_E2E_NONEWDATA},
               {"C", EG_E2E_NONEWDATA}, {"LG", EG_E2E_NONEWDATA}, {"LGG", EG_E2E_OK},
               {"CC", EG_E2E_NONEWDATA}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    ends_t e = at_work(EG_MSG_COMMAND);
    for (const char *c = cases[i].what; *c; c++)
      send(&e, EG_MSG_COMMAND, (kind_t)(strchr(letters, *c) - letters));
    (void)ends_period(&e, EG_MSG_COMMAND);
    (void)ends_period(&e, EG_MSG_COMMAND);
    CHECK(told(&e) == cases[i].of_next, "after '%s': %u", cases[i].what, told(&e));
    (void)ends_period(&e, EG_MSG_COMMAND);
    CHECK(told(&e) == EG_E2E_NONEWDATA, "'%s' once: %u", cases[i].what, told(&e));
  }
  ends_t e = at_work(EG_MSG_COMMAND);
  send(&e, EG_MSG_COMMAND, GOOD);
  send(&e, EG_MSG_COMMAND, GOOD);
  const uint8_t nonce[EG_NONCE_BYTES] = {1};
  eg_link_open(&e.mcu, nonce, nonce);
  (void)ends_period(&e, EG_MSG_COMMAND);
  CHECK(told(&e) == EG_E2E_NONEWDATA, "a new session has nothing to spare: %u", told(&e));
}

/* Frames that come about when ticks do, each before or after its tick as it happens, with `bad` of
 * every `of` spoilt: whether that ever is LINK_FAULTY. */
static bool trips_at_the_tick(kind_t how, uint32_t bad, uint32_t of, uint32_t seed) {
  ends_t e = at_work(EG_MSG_COMMAND);
  uint32_t present = 0;
  bool late = false;
  for (uint32_t i = 1; i <= 300; i++) {
    if (late) send(&e, EG_MSG_COMMAND, (i - 1u) % of < bad ? how : GOOD);
    seed = seed * 1664525u + 1013904223u;
    late = seed >> 31;
    if (!late) send(&e, EG_MSG_COMMAND, i % of < bad ? how : GOOD);
    present |= ends_period(&e, EG_MSG_COMMAND);
  }
  return present & FAULTY;
}

/* What the error rate allows is no fault, whenever frames come. */
static void at_the_tick(void) {
  const kind_t hows[] = {LOST, CORRUPT, FORGED};
  for (size_t i = 0; i < sizeof hows / sizeof *hows; i++)
    for (uint32_t seed = 1; seed <= 200; seed++) {
      CHECK(!trips_at_the_tick(hows[i], 0, 1, seed), "%c %u: none", letters[hows[i]], seed);
      CHECK(!trips_at_the_tick(hows[i], 1, 6, seed), "%c %u: 1 of 6", letters[hows[i]], seed);
      CHECK(!trips_at_the_tick(hows[i], 2, 15, seed), "%c %u: 2 of 15", letters[hows[i]], seed);
      CHECK(trips_at_the_tick(hows[i], 1, 4, seed), "%c %u: 1 of 4", letters[hows[i]], seed);
    }
}

/* The worst of a period stands for it. */
static void the_worst_of_a_period(void) {
  ends_t e;
  static const struct {
    const char *what;
    eg_e2e_result_t result;
  } cases[] = {{"", EG_E2E_NONEWDATA},       {"G", EG_E2E_OK},
               {"LG", EG_E2E_OKSOMELOST},    {"T", EG_E2E_REPEATED},
               {"GS", EG_E2E_WRONGSEQUENCE}, {"GC", EG_E2E_ERROR},
               {"CG", EG_E2E_ERROR},         {"TG", EG_E2E_REPEATED},
               {"GO", EG_E2E_ERROR},         {"FT", EG_E2E_ERROR},
               {"GM", EG_E2E_ERROR},         {"GLLG", EG_E2E_OKSOMELOST}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    e = at_work(EG_MSG_COMMAND);
    for (const char *c = cases[i].what; *c; c++)
      send(&e, EG_MSG_COMMAND, (kind_t)(strchr(letters, *c) - letters));
    (void)ends_period(&e, EG_MSG_COMMAND);
    CHECK(e.mcu.machine.result[0] == cases[i].result, "'%s': %u", cases[i].what,
          e.mcu.machine.result[0]);
  }
}

/* A frame above the rate cap is as bad as a corrupted one, whatever its type. */
static void excess_is_an_error(void) {
  for (uint8_t type = EG_MSG_COMMAND; type <= EG_MSG_VERDICT; type++) {
    ends_t e = at_work(EG_MSG_COMMAND);
    for (int i = 0; i < 8; i++) send(&e, type, GOOD);
    uint32_t window = e.mcu.window;
    eg_message_t m = due(&e, type);
    CHECK(!ends_pass(&e, &m) && e.mcu.counts.excess == 1, "the ninth");
    CHECK(window == 0 && e.mcu.window == 1, "is bad: %X", e.mcu.window);
    (void)ends_period(&e, EG_MSG_COMMAND);
    CHECK(e.mcu.machine.result[0] == EG_E2E_ERROR, "%u", e.mcu.machine.result[0]);
  }
}

/* As soon as its header is there, a broken frame is one of its type. */
static void broken_but_recognized(void) {
  for (uint16_t n = 0; n <= 20; n++) {
    ends_t e = at_work(EG_MSG_COMMAND);
    uint8_t frame[EG_FRAME_MAX];
    eg_message_t m = ends_command(&e);
    (void)ends_frame(&e, &m, frame);
    CHECK(!ends_accept(&e, m.type, frame, n), "%u bytes", n);
    CHECK(e.mcu.window == (n >= EG_FRAME_HEAD), "%u bytes", n);
  }
  ends_t e = at_work(EG_MSG_COMMAND);
  uint8_t frame[EG_FRAME_MAX + 1] = {0};
  eg_message_t m = ends_command(&e);
  (void)ends_frame(&e, &m, frame);
  CHECK(!ends_accept(&e, m.type, frame, EG_FRAME_MAX + 1), "longer than any");
  CHECK(e.mcu.window == 0 && e.mcu.counts.corrupted == 1, "is of no type");
}

/* Arming starts with clean windows, however bad it was before. */
static void arming_starts_anew(void) {
  ends_t e = at_work(EG_MSG_COMMAND);
  for (int i = 0; i < 20; i++) send(&e, EG_MSG_COMMAND, CORRUPT);
  CHECK(ends_period(&e, EG_MSG_COMMAND) & FAULTY, "faulty");
  send(&e, EG_MSG_COMMAND, CORRUPT);
  uint8_t nonce[2 * EG_NONCE_BYTES];
  memcpy(nonce, e.mcu.session, sizeof nonce);
  eg_link_open(&e.mcu, nonce, nonce + EG_NONCE_BYTES);
  eg_link_open(&e.host, nonce, nonce + EG_NONCE_BYTES);
  CHECK(ends_period(&e, EG_MSG_COMMAND) == 0, "nothing came in this session");
  CHECK(e.mcu.machine.result[0] == EG_E2E_NONEWDATA, "%u", e.mcu.machine.result[0]);
  send(&e, EG_MSG_COMMAND, GOOD);
  send(&e, EG_MSG_COMMAND, LOST);
  send(&e, EG_MSG_COMMAND, GOOD);
  CHECK(e.mcu.window == 2, "one lost, and nothing of before makes up for it: %X", e.mcu.window);
  for (int i = 0; i < 10; i++) {
    send(&e, EG_MSG_COMMAND, GOOD);
    CHECK(ends_period(&e, EG_MSG_COMMAND) == 0, "period %d", i);
  }
}

int main(void) {
  rates(EG_MSG_COMMAND);
  rates(EG_MSG_STATE);
  rates_of_commands();
  limit(LOST);
  limit(CORRUPT);
  limit(OLD);
  counted_once();
  only_the_expected_type_counts(EG_MSG_COMMAND);
  only_the_expected_type_counts(EG_MSG_STATE);
  other_types_do_not_count();
  state_machine();
  the_worst_of_a_period();
  two_in_one_period();
  at_the_tick();
  excess_is_an_error();
  broken_but_recognized();
  arming_starts_anew();
  return 0;
}
