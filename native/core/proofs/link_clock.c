/* SPDX-License-Identifier: Apache-2.0 */
#include "link_contracts.h"

/* Ages are differences modulo 2^32 taken as signed ones: these conversions are meant. */
#pragma CPROVER check push
#pragma CPROVER check disable "conversion"
#include "clock.c"
#pragma CPROVER check pop

static uint32_t least_c(uint32_t a, uint32_t b) ASSIGNS() ENSURES(RET == MIN(a, b));

#define GAINED (c->offset_us - OLD(c->offset_us))

static void gain_c(eg_clock_t *c) REQUIRES(WRITES(c)) REQUIRES(clock_ok(c))
    ASSIGNS(c->offset_us, c->uncounted_us, c->back_us) ENSURES(clock_ok(c))
    /* CLOCK-4 */ ENSURES(GAINED <= EG_CLOCK_EARNED_MAX_US &&
                          OLD(c->uncounted_us) - c->uncounted_us == GAINED * CLOCK_DRIFT_EVERY_US)
        ENSURES(c->uncounted_us < CLOCK_DRIFT_EVERY_US)
    /* CLOCK-4 */ ENSURES(c->back_us == MIN(OLD(c->back_us) + 2u * GAINED, EG_CLOCK_EARNED_MAX_US));

/*! enforce least */
void prove_least_of_two(void) {
  least(nondet_u32(), nondet_u32());
  REACHED;
}

/*! enforce gain; replace least; solver kissat; seconds 6 */
void prove_gain(void) {
  eg_clock_t c;
  gain(&c);
  REACHED;
}

/*! enforce eg_clock_measure */
void prove_clock_measure(void) {
  eg_clock_t c;
  eg_clock_measure(&c, nondet_u32(), nondet_u32(), nondet_u32());
  REACHED;
}

/*! enforce eg_clock_tick; replace least */
void prove_clock_tick(void) {
  eg_clock_t c;
  eg_clock_tick(&c, nondet_u32());
  REACHED;
}

/*! enforce eg_clock_age; replace least gain */
void prove_clock_age(void) {
  eg_clock_t c;
  uint32_t age_us;
  eg_clock_age(&c, nondet_u32(), nondet_u32(), &age_us);
  REACHED;
}

static uint32_t distance(uint32_t a, uint32_t b) {
  return a - b <= INT32_MAX ? a - b : b - a;
}

/* The other end's stamp was taken at some moment between ours; the clocks differ by anything. */
/*! solver kissat; seconds 9 */
void prove_clock_error(void) {
  eg_clock_t c;
  uint32_t sent_us = nondet_u32(), trip_us = nondet_u32(), at_us = nondet_u32();
  uint32_t true_offset_us = nondet_u32();
  ASSUME(at_us <= trip_us);
  bool measured =
      eg_clock_measure(&c, sent_us, sent_us + trip_us, sent_us + at_us - true_offset_us);
  CHECK(IMPLIES(measured, distance(c.offset_us, true_offset_us) <= c.error_us),
        "CLOCK-1 the offset is wrong by no more than the error");
  CHECK(IMPLIES(measured, c.error_us <= 10000), "CLOCK-1 which is at most 10 ms");
  CHECK(IMPLIES(trip_us > 20000, !measured), "CLOCK-2 nothing is measured over a slow round trip");
  REACHED;
}

/* One use of the clock, from any state, for all of them together. The offset moves by no more than
 * it gains; and it moves back by no more than it gains and `back_us` falls. So from when it was
 * measured (back_us is 0) the sum of the moves lies within the sum of the gains, both ways; and
 * each microsecond that it gains is paid for with 5000 that passed, which is 200 ppm. */
/*! replace least gain; solver kissat; seconds 20 */
void prove_clock_drift(void) {
  eg_clock_t c;
  ASSUME(clock_ok(&c));
  eg_clock_t before = c;
  uint32_t age_us, gained_us = nondet_u32();
  eg_clock_age(&c, nondet_u32(), nondet_u32(), &age_us);
  ASSUME(gained_us * CLOCK_DRIFT_EVERY_US == before.uncounted_us - c.uncounted_us &&
         gained_us <= EG_CLOCK_EARNED_MAX_US);
  uint32_t ahead_us = c.offset_us - (before.offset_us - EG_CLOCK_EARNED_MAX_US);
  CHECK(ahead_us <= EG_CLOCK_EARNED_MAX_US + gained_us, "CLOCK-4 no farther than drift earned");
  CHECK(c.back_us <= EG_CLOCK_EARNED_MAX_US &&
            ahead_us + gained_us + before.back_us >= EG_CLOCK_EARNED_MAX_US + c.back_us,
        "CLOCK-4 and back no farther than that");
  REACHED;
}

/* The true age is of a clock without end; the estimate is wrong by `wrong_us`, either way. What is
 * too old, and not yet 2^32 us old, is refused or has an age above the limit, wherever the clocks
 * wrap. */
/*! replace least gain */
void prove_clock_stale(void) {
  eg_clock_t c;
  uint32_t now_us = nondet_u32(), stamp_us = nondet_u32(), limit_us = nondet_u32(), age_us;
  int64_t true_us, wrong_us;
  ASSUME(clock_ok(&c) && wrong_us >= -1000000 && wrong_us <= 1000000 && limit_us <= 2000000);
  ASSUME(true_us >= 0 && true_us < INT64_C(4294967296) - c.error_us - wrong_us);
  bool told = eg_clock_age(&c, now_us, stamp_us, &age_us);
  ASSUME((uint32_t)(now_us - stamp_us - c.offset_us) == ((true_us + wrong_us) & UINT32_MAX));
  CHECK(IMPLIES(true_us > limit_us - wrong_us, !told || age_us > limit_us),
        "CLOCK-5 a stale frame never becomes fresh");
  CHECK(IMPLIES(told, age_us == (true_us + wrong_us < 0 ? 0 : true_us + wrong_us)),
        "CLOCK-5 an age is the true one but for the estimate's error");
  REACHED;
}
