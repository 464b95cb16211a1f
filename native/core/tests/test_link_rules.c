/* SPDX-License-Identifier: Apache-2.0 */
/* What the link makes of frames that hold: sequence, age, error rate, rate cap, silence. */
#include <string.h>

#include "check.h"
#include "ends.h"

#define COUNT(end, field, want)                                                                    \
  CHECK((end)->counts.field == (want), #field " is %u", (end)->counts.field)
#define LOST EG_BIT(EG_LINK_LOST)
#define FAULTY EG_BIT(EG_LINK_FAULTY)

/* One that comes every period from its end: COMMAND, or STATE. */
static eg_message_t due(const ends_t *e, uint8_t type) {
  return type == EG_MSG_COMMAND ? ends_command(e) : ends_message(type);
}

static bool good(ends_t *e, uint8_t type) {
  eg_message_t m = due(e, type);
  return ends_pass(e, &m);
}

/* It arrives with a wrong bit. */
static void corrupt(ends_t *e, uint8_t type) {
  uint8_t frame[EG_FRAME_MAX];
  eg_message_t m = due(e, type);
  uint16_t n = ends_frame(e, &m, frame);
  frame[20] ^= 1;
  CHECK(!ends_accept(e, type, frame, n), "corrupted");
}

/* Long enough at work that the window holds nothing but good ones. */
static ends_t at_work(uint8_t type) {
  ends_t e = ends_together(1);
  for (int i = 0; i < 40; i++) {
    CHECK(good(&e, type), "frame %d", i);
    CHECK(ends_period(&e, type) == 0, "period %d", i);
  }
  return e;
}

/* ------------------------------------------------------------------ sequence */

/* So many counters further (or back) than the last one: what it is counted as. */
static eg_link_counts_t after_delta(uint16_t delta) {
  ends_t e = ends_together(1);
  eg_message_t m = ends_message(EG_MSG_VERDICT);
  e.host.counter[m.type] = 0x8000; /* neither way is over the wrap */
  CHECK(ends_pass(&e, &m), "the first may have any counter");
  e.host.counter[m.type] = (uint16_t)(0x8000 + delta);
  CHECK(ends_pass(&e, &m) == (delta >= 1 && delta <= 3), "delta %u", delta);
  CHECK(ends_counted(&e.mcu.counts) == 2, "each is counted once");
  return e.mcu.counts;
}

static void sequence(void) {
  const uint16_t deltas[] = {0, 1, 2, 3, 4, 5, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF};
  for (size_t i = 0; i < sizeof deltas / sizeof *deltas; i++) {
    uint16_t d = deltas[i];
    eg_link_counts_t c = after_delta(d);
    CHECK(c.repeated == (d == 0), "delta %u", d);
    CHECK(c.reordered == (d > 3), "delta %u", d);
    CHECK(c.lost == (d >= 1 && d <= 3 ? d - 1u : 0), "delta %u: %u lost", d, c.lost);
  }
}

static void counters_wrap(void) {
  ends_t e = ends_together(1);
  eg_message_t m = ends_message(EG_MSG_VERDICT);
  e.host.counter[m.type] = 0xFFFE;
  for (int i = 0; i < 4; i++) CHECK(ends_pass(&e, &m), "frame %d", i);
  e.host.counter[m.type]++;
  CHECK(ends_pass(&e, &m), "one lost");
  COUNT(&e.mcu, lost, 1);
  e.host.counter[m.type] = 0xFFFF;
  e.host.sent_round[m.type] = 0;
  CHECK(!ends_pass(&e, &m), "back over the wrap");
  COUNT(&e.mcu, reordered, 1);
  COUNT(&e.mcu, forged, 0);
}

static void swapped(void) {
  ends_t e = at_work(EG_MSG_COMMAND);
  uint8_t first[EG_FRAME_MAX], second[EG_FRAME_MAX];
  eg_message_t m = ends_command(&e);
  uint16_t n = ends_frame(&e, &m, first);
  (void)ends_frame(&e, &m, second);
  CHECK(ends_accept(&e, m.type, second, n), "the later one first");
  CHECK(!ends_accept(&e, m.type, first, n), "the earlier one is refused");
  COUNT(&e.mcu, reordered, 1);
  CHECK(good(&e, m.type), "and the next one heard");
  CHECK(e.mcu.window == 0xAu, "two of four are bad: %X", e.mcu.window);
}

/* ----------------------------------------------------------------------- age */

/* The host stamps `age` ago, with that limit and round trip. */
static eg_link_counts_t aged(int32_t age_us, uint32_t limit_us, uint32_t trip_us) {
  ends_t e = ends_together(1);
  uint32_t mcu_us = e.now_us + SKEW_US;
  (void)eg_clock_measure(&e.mcu.clock, mcu_us, mcu_us + trip_us, e.now_us + trip_us / 2);
  e.mcu.config.max_age_us = limit_us;
  eg_message_t m = ends_command(&e);
  m.as.command.stamp_us = e.now_us - (uint32_t)age_us;
  (void)ends_pass(&e, &m);
  CHECK(ends_counted(&e.mcu.counts) == 1, "counted once");
  return e.mcu.counts;
}

static void age_limits(void) {
  CHECK(aged(20000, 20000, 2000).accepted == 1, "at the limit");
  CHECK(aged(20001, 20000, 2000).stale == 1, "1 us older");
  CHECK(aged(1000000000, 20000, 2000).stale == 1, "17 minutes");
  CHECK(aged(6000, 5000, 6000).accepted == 1, "the round trip where that is longer");
  CHECK(aged(6001, 5000, 6000).stale == 1, "1 us older");
  CHECK(aged(6000, 6000, 6000).accepted == 1, "where both are the same");
  CHECK(aged(6001, 6000, 6000).stale == 1, "1 us older");
  CHECK(aged(0, 20000, 2000).accepted == 1, "now");
  CHECK(aged(-1000, 20000, 2000).accepted == 1, "the clock's error ahead");
  CHECK(aged(-1001, 20000, 2000).future == 1, "1 us further ahead");
  CHECK(aged(INT32_MIN, 20000, 2000).future == 1, "2^31");
}

static void only_commands_are_aged(void) {
  ends_t e = ends_together(1);
  e.mcu.clock.known = 0;
  eg_message_t state = ends_message(EG_MSG_STATE), verdict = ends_message(EG_MSG_VERDICT);
  CHECK(ends_pass(&e, &state), "STATE: the host has no clock to compare with");
  CHECK(ends_pass(&e, &verdict), "VERDICT has no stamp: the watchdog holds its tick");
  CHECK(!good(&e, EG_MSG_COMMAND), "COMMAND needs a clock");
  COUNT(&e.mcu, future, 1);
}

/* F12, F20: an old COMMAND, whose counter comes next, at any age that the stamp can tell. */
static void a_replayed_command_is_never_fresh(void) {
  for (uint32_t age_us = 20001; age_us < UINT32_MAX - 100000u; age_us += 999983u) {
    eg_link_counts_t c = aged((int32_t)age_us, 20000, 2000);
    CHECK(c.stale + c.future == 1, "%u us", age_us);
  }
}

static void drift_is_followed(void) {
  ends_t e = ends_together(1);
  for (uint32_t i = 0; i < 20000; i++) { /* 200 s; the host is 150 ppm slow: 30 ms in all */
    eg_message_t m = ends_command(&e);
    m.as.command.stamp_us -= (uint32_t)((uint64_t)i * 3 / 2);
    CHECK(ends_pass(&e, &m), "tick %u", i);
    CHECK(ends_period(&e, EG_MSG_COMMAND) == 0, "tick %u", i);
  }
}

/* ----------------------------------------------------------------- malformed */

static void malformed(void) {
  ends_t e = ends_together(1);
  eg_message_t m = ends_command(&e);
  m.as.command.mode = EG_SAFE_STOP + 1;
  CHECK(!ends_pass(&e, &m), "no such mode");
  COUNT(&e.mcu, malformed, 1);
  m.as.command.mode = EG_SAFE_STOP;
  CHECK(ends_pass(&e, &m), "its counter was used: this one is next");
  COUNT(&e.mcu, lost, 0);
}

/* ------------------------------------------------------------------ rate cap */

static void rate_cap(uint8_t type) {
  ends_t e = at_work(type == EG_MSG_STATE ? EG_MSG_STATE : EG_MSG_COMMAND);
  eg_link_t *l = ends_receiver(&e, type);
  uint32_t before = l->counts.accepted;
  for (uint32_t i = 1; i <= 20; i++) CHECK(good(&e, type) == (i <= 8), "frame %u at once", i);
  CHECK(l->counts.excess == 12, "the rest: %u", l->counts.excess);
  for (uint32_t period = 0; period < 10; period++) {
    (void)ends_period(&e, type);
    for (uint32_t i = 1; i <= 5; i++) CHECK(good(&e, type) == (i <= 2), "two a period");
  }
  CHECK(l->counts.accepted == before + 8 + 20, "%u", l->counts.accepted - before);
  CHECK(l->counts.lost == 0, "those dropped were not lost");
  for (uint32_t i = 0; i < 3; i++) (void)ends_period(&e, type);
  for (uint32_t i = 1; i <= 7; i++) CHECK(good(&e, type) == (i <= 6), "saved up: %u", i);
}

/* No credit is saved beyond eight frames, by no type. */
static void credit_is_bounded(void) {
  for (uint8_t type = 0; type < EG_MESSAGES; type++) {
    if (type == EG_MSG_COMMAND) continue; /* see rate_cap() */
    for (int used = 0; used <= 3; used++) {
      ends_t e = ends_together(1);
      eg_message_t m = ends_message(type);
      for (int i = 0; i < used; i++) CHECK(ends_pass(&e, &m), "type %u", type);
      (void)ends_period(&e, type);
      int credit = used < 2 ? 8 : 10 - used;
      for (int i = 1; i <= 10; i++)
        CHECK(ends_pass(&e, &m) == (i <= credit), "type %u, %d used: frame %d", type, used, i);
    }
  }
}

static void nobody_starves(void) {
  ends_t e = at_work(EG_MSG_COMMAND);
  eg_message_t verdict = ends_message(EG_MSG_VERDICT);
  uint32_t present = 0;
  for (int period = 0; period < 40; period++) {
    for (int i = 0; i < 200; i++) (void)ends_pass(&e, &verdict);
    CHECK(good(&e, EG_MSG_COMMAND), "heard beside a babbling VERDICT, period %d", period);
    present = ends_period(&e, EG_MSG_COMMAND);
    CHECK(period == 0 || present == FAULTY, "too many frames are a fault: %X", present);
  }
}

/* ------------------------------------------------------------------- silence */

static void silence(uint8_t type, uint32_t step_us) {
  ends_t e = at_work(type);
  eg_link_t *l = ends_receiver(&e, type);
  CHECK(good(&e, type), "the last one");
  uint32_t quiet_us = 0;
  for (uint32_t i = 0; i < 100 && quiet_us < 100000; i++) {
    quiet_us += step_us;
    uint32_t present = ends_tick(l, step_us);
    bool lost = (present & LOST) != 0;
    CHECK(lost == (quiet_us >= EG_LINK_TIMEOUT_US), "%u us", quiet_us);
  }
  CHECK(good(&e, type), "back");
  CHECK((ends_tick(l, PERIOD_US) & LOST) == 0, "as soon as one comes");
  (void)ends_tick(l, UINT32_MAX);
  CHECK(ends_tick(l, UINT32_MAX) & LOST, "an age does not wrap");
}

/* It came long after a tick: what passed before it is no silence. */
static void silence_counts_from_the_frame(uint8_t type) {
  ends_t e = at_work(type);
  eg_link_t *l = ends_receiver(&e, type);
  eg_link_pass(l, 9000);
  CHECK(good(&e, type), "the last one");
  CHECK((ends_tick(l, EG_LINK_TIMEOUT_US - 1) & LOST) == 0, "1 us before");
  CHECK((ends_tick(l, 1) & LOST) != 0, "and then");
}

/* Arming gives the first COMMAND the whole time, whatever was before. */
static void silence_begins_with_the_session(void) {
  ends_t e = at_work(EG_MSG_COMMAND);
  CHECK(ends_tick(&e.mcu, 25000) == 0, "35 ms");
  uint8_t nonces[EG_SESSION_BYTES];
  memcpy(nonces, e.mcu.session, sizeof nonces);
  eg_link_open(&e.mcu, nonces, nonces + EG_NONCE_BYTES);
  CHECK(ends_tick(&e.mcu, EG_LINK_TIMEOUT_US - 1) == 0, "1 us before");
  CHECK(ends_tick(&e.mcu, 1) == LOST, "and then");
}

static void other_frames_are_no_sign_of_life(uint8_t type, uint8_t other) {
  ends_t e = at_work(type);
  for (int i = 1; i <= 6; i++) {
    eg_message_t m = ends_message(other);
    CHECK(ends_pass(&e, &m), "other frame %d", i);
    CHECK(((ends_period(&e, type) & LOST) != 0) == (i >= 3), "period %d", i);
  }
}

/* Refused ones are none either. */
static void bad_frames_are_no_sign_of_life(uint8_t type) {
  ends_t e = at_work(type);
  for (int i = 1; i <= 6; i++) {
    corrupt(&e, type);
    CHECK(((ends_period(&e, type) & LOST) != 0) == (i >= 3), "period %d", i);
  }
}

static void without_a_session(void) {
  ends_t e = ends_apart(1);
  for (int i = 0; i < 10; i++) {
    CHECK(ends_tick(&e.mcu, PERIOD_US) == 0, "the microcontroller expects nothing");
    CHECK(((ends_tick(&e.host, PERIOD_US) & LOST) != 0) == (i >= 3), "the host does");
  }
  CHECK(good(&e, EG_MSG_STATE), "and hears STATE");
  CHECK(ends_tick(&e.host, PERIOD_US) == 0, "found");
}

int main(void) {
  sequence();
  counters_wrap();
  swapped();
  age_limits();
  only_commands_are_aged();
  a_replayed_command_is_never_fresh();
  drift_is_followed();
  malformed();
  rate_cap(EG_MSG_COMMAND);
  rate_cap(EG_MSG_STATE);
  rate_cap(EG_MSG_ANSWER);
  credit_is_bounded();
  nobody_starves();
  const uint32_t steps[] = {1000, 9999, 10000, 10001, 35999, 36000, 36001};
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
    silence(EG_MSG_COMMAND, steps[i]);
    silence(EG_MSG_STATE, steps[i]);
  }
  silence_counts_from_the_frame(EG_MSG_COMMAND);
  silence_counts_from_the_frame(EG_MSG_STATE);
  silence_begins_with_the_session();
  other_frames_are_no_sign_of_life(EG_MSG_COMMAND, EG_MSG_VERDICT);
  other_frames_are_no_sign_of_life(EG_MSG_STATE, EG_MSG_QUESTION);
  bad_frames_are_no_sign_of_life(EG_MSG_COMMAND);
  bad_frames_are_no_sign_of_life(EG_MSG_STATE);
  without_a_session();
  return 0;
}
