/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"
#include "fixture.h"

#define TICK_US 10000u
static const eg_cause_row_t row = {EG_FALLBACK, EG_CLEARS_ITSELF, 0, 60000, 200000};

/* F22: every pattern that is present more than 20 % of a window of 10 * on fires within it. Exact
 * for all patterns of 16 ticks repeated, and for random ones of any density. */
static int fires_at(const uint8_t *present, int ticks) {
  eg_debounce_t d = {0, 0};
  bool active = false;
  for (int t = 0; t < ticks; t++) {
    active = eg_debounce_step(&row, &d, active, present[t], TICK_US);
    if (active) return t;
  }
  return -1;
}

static void bound_holds(const uint8_t *present, int window) {
  int count = 0;
  for (int t = 0; t < window; t++) count += present[t];
  int at = fires_at(present, window);
  CHECK(count * 5 <= window || at >= 0, "%d of %d ticks present and no trip", count, window);
  CHECK(count > 0 || at < 0, "tripped on nothing");
}

static void all_periodic_patterns(void) {
  enum { WINDOW = 60 }; /* 10 * on */
  uint8_t present[WINDOW];
  for (uint32_t pattern = 0; pattern < 1u << 16; pattern++) {
    for (int t = 0; t < WINDOW; t++) present[t] = pattern >> (t % 16) & 1u;
    bound_holds(present, WINDOW);
  }
}

static void random_patterns(void) {
  enum { WINDOW = 60 };
  uint8_t present[WINDOW];
  uint32_t x = 1;
  for (int round = 0; round < 200000; round++) {
    uint32_t density = (uint32_t)round % 100u;
    for (int t = 0; t < WINDOW; t++) {
      x = x * 1664525u + 1013904223u;
      present[t] = (x >> 8) % 100u < density;
    }
    bound_holds(present, WINDOW);
  }
}

static void constant_fault_acts_at_on_and_lets_go_at_off(void) {
  eg_debounce_t d = {0, 0};
  bool active = false;
  for (int t = 1; t <= 6; t++) {
    active = eg_debounce_step(&row, &d, active, true, TICK_US);
    CHECK(active == (t >= 6), "tick %d", t);
  }
  for (int t = 1; t <= 20; t++) {
    active = eg_debounce_step(&row, &d, active, false, TICK_US);
    CHECK(active == (t < 20), "off tick %d", t);
  }
  CHECK(d.level_us == 0, "a cleared cause starts from nothing");
}

static void does_not_chatter(void) { /* present 1 tick in 10: between on and off it stays */
  eg_debounce_t d = {0, 0};
  bool active = false;
  for (int t = 0; t < 6; t++) active = eg_debounce_step(&row, &d, active, true, TICK_US);
  for (int t = 0; t < 1000; t++) {
    active = eg_debounce_step(&row, &d, active, t % 10 == 0, TICK_US);
    CHECK(active, "let go at tick %d", t);
  }
}

static void latches(void) {
  eg_cause_row_t latch = row;
  latch.clears = EG_CLEARS_BY_REARM;
  eg_debounce_t d = {0, 0};
  bool active = false;
  for (int t = 0; t < 6; t++) active = eg_debounce_step(&latch, &d, active, true, TICK_US);
  for (int t = 0; t < 100000; t++) active = eg_debounce_step(&latch, &d, active, false, TICK_US);
  CHECK(active, "cleared by itself");
}

static void saturates(void) {
  eg_debounce_t d = {0, 0};
  CHECK(eg_debounce_step(&row, &d, false, true, UINT32_MAX), "one endless step");
  CHECK(d.level_us == row.on_us, "level %u", d.level_us);
  for (int t = 0; t < 3; t++) eg_debounce_step(&row, &d, true, false, UINT32_MAX);
  CHECK(d.quiet_us == UINT32_MAX, "quiet %u", d.quiet_us);
}

/* Presence fills by 1 a microsecond, absence drains by 1/8, and neither passes its end. */
static void fills_and_drains(void) {
  eg_debounce_t d = {0, 0};
  eg_debounce_step(&row, &d, false, true, 50000);
  CHECK(d.level_us == 50000 && d.quiet_us == 0, "level %u", d.level_us);
  eg_debounce_step(&row, &d, false, false, 80007);
  CHECK(d.level_us == 40000 && d.quiet_us == 80007, "level %u", d.level_us);
  eg_debounce_step(&row, &d, false, false, 8 * 39999);
  CHECK(d.level_us == 1 && d.quiet_us == 80007 + 8 * 39999, "level %u", d.level_us);
  eg_debounce_step(&row, &d, false, false, 8);
  CHECK(d.level_us == 0, "level %u", d.level_us);
  eg_debounce_step(&row, &d, false, false, 8);
  CHECK(d.level_us == 0, "below nothing: %u", d.level_us);
  eg_debounce_step(&row, &d, false, true, 59999);
  CHECK(d.level_us == 59999 && d.quiet_us == 0, "presence ends the quiet: %u", d.quiet_us);
  CHECK(eg_debounce_step(&row, &d, false, true, 2) && d.level_us == 60000, "level %u", d.level_us);
}

static void acts_at_once_where_asked(void) {
  eg_cause_row_t now = {EG_SAFE_STOP, EG_CLEARS_BY_REARM, 0, 0, 0};
  eg_debounce_t d = {0, 0};
  CHECK(!eg_debounce_step(&now, &d, false, false, TICK_US), "acts on nothing");
  CHECK(eg_debounce_step(&now, &d, false, true, 0), "does not act at once");
}

int main(void) {
  fills_and_drains();
  acts_at_once_where_asked();
  all_periodic_patterns();
  random_patterns();
  constant_fault_acts_at_on_and_lets_go_at_off();
  does_not_chatter();
  latches();
  saturates();
  return 0;
}
