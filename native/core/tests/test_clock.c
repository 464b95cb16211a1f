/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "check.h"
#include "edgeguard/link.h"

#define LONG_US 0x12345678u

/* Their clock reads 0 when ours reads `skew`; measured with a round trip, the stamp taken midway.
 */
static eg_clock_t measured(uint32_t skew, uint32_t trip_us) {
  eg_clock_t c;
  memset(&c, 0, sizeof c);
  CHECK(eg_clock_measure(&c, skew + 1000, skew + 1000 + trip_us, 1000 + trip_us / 2), "measured");
  return c;
}

/* Age of what they stamped `age` ago (negative: stamped in our future), a long time later. */
static bool age_is(eg_clock_t *c, uint32_t skew, int64_t age, uint32_t *out) {
  uint32_t now = skew + LONG_US;
  return eg_clock_age(c, now, (uint32_t)(LONG_US - age), out);
}

static const uint32_t skews[] = {0, 1, 5000, 0x7FFFFFFFu, 0x80000000u, 0xEDCBA000u, 0xFFFFFFFFu};

/* At any skew, so that each of the two clocks and both wrap somewhere. */
static void ages(void) {
  for (size_t i = 0; i < sizeof skews / sizeof *skews; i++) {
    const int64_t truth[] = {0, 1, 999, 1000, 1001, 20000, 20001, 1000000, 0x7FFFFFFF};
    for (size_t k = 0; k < sizeof truth / sizeof *truth; k++) {
      eg_clock_t c = measured(skews[i], 2000);
      uint32_t age = 77;
      CHECK(age_is(&c, skews[i], truth[k], &age), "skew %X, age %lld", skews[i],
            (long long)truth[k]);
      CHECK(age == truth[k], "skew %X: %u, not %lld", skews[i], age, (long long)truth[k]);
    }
  }
}

/* Younger than now by up to half the round trip is what the offset's error can make; more is not.
 */
static void future(void) {
  for (size_t i = 0; i < sizeof skews / sizeof *skews; i++) {
    eg_clock_t c = measured(skews[i], 2000);
    uint32_t age = 77;
    CHECK(age_is(&c, skews[i], -1, &age) && age == 0, "1 us ahead");
    CHECK(age_is(&c, skews[i], -1000, &age) && age == 0, "the error ahead");
    age = 77;
    CHECK(!age_is(&c, skews[i], -1001, &age), "beyond the error");
    CHECK(!age_is(&c, skews[i], -0x70000000, &age), "far ahead");
    CHECK(!age_is(&c, skews[i], 0x80000000, &age), "2^31 old: reads as the future, never as fresh");
    CHECK(!age_is(&c, skews[i], 0xFFFF0000, &age), "nearly 2^32 old");
    CHECK(age == 77, "a refused age is none");
  }
}

static void odd_round_trips(void) {
  eg_clock_t c;
  memset(&c, 0, sizeof c);
  uint32_t age;
  CHECK(eg_clock_measure(&c, 100, 103, 101), "3 us");
  CHECK(c.error_us == 2, "rounded up: %u", c.error_us);
  CHECK(eg_clock_age(&c, 200, 200, &age) && age == 0, "offset 0");
  CHECK(eg_clock_age(&c, 200, 202, &age), "2 us ahead");
  CHECK(!eg_clock_age(&c, 200, 203, &age), "3 us ahead");
  CHECK(eg_clock_measure(&c, 100, 100, 100) && c.error_us == 0, "no time at all");
  CHECK(eg_clock_age(&c, 200, 200, &age) && age == 0, "no error");
  CHECK(!eg_clock_age(&c, 200, 201, &age), "1 us ahead");
}

static void round_trip_limit(void) {
  eg_clock_t c, before;
  memset(&c, 0, sizeof c);
  uint32_t age;
  CHECK(!eg_clock_age(&c, 5, 5, &age), "nothing was measured");
  for (size_t i = 0; i < sizeof skews / sizeof *skews; i++) {
    c = measured(skews[i], EG_ROUND_TRIP_MAX_US - 1);
    c = measured(skews[i], EG_ROUND_TRIP_MAX_US);
    before = c;
    CHECK(!eg_clock_measure(&c, skews[i], skews[i] + EG_ROUND_TRIP_MAX_US + 1, 3), "1 us too long");
    CHECK(!eg_clock_measure(&c, skews[i], skews[i] - 1, 3), "ended before it began");
    CHECK(memcmp(&c, &before, sizeof c) == 0, "nothing is set");
  }
}

/* What 200 ppm earn: 2 us in 10 ms, and the rest is kept. */
static void gain(void) {
  eg_clock_t c = measured(0, 2000);
  uint32_t age;
  CHECK(age_is(&c, 0, 5000, &age) && age == 5000, "at first");
  eg_clock_tick(&c, 10000);
  CHECK(age_is(&c, 0, 5000, &age) && age == 4998, "10 ms: %u", age);
  CHECK(age_is(&c, 0, 5000, &age) && age == 4998, "once");
  eg_clock_tick(&c, 4999);
  CHECK(age_is(&c, 0, 5000, &age) && age == 4998, "0.9998 us are not one");
  eg_clock_tick(&c, 1);
  CHECK(age_is(&c, 0, 5000, &age) && age == 4997, "but are not forgotten");
  for (int i = 0; i < 5; i++) eg_clock_tick(&c, 1000);
  CHECK(age_is(&c, 0, 5000, &age) && age == 4996, "in pieces: %u", age);
}

static void gain_is_bounded(void) {
  const uint32_t steps[] = {9995000, 9999999, 10000000, 10000001, 0x7FFFFFFF, 0xFFFFFFFF};
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
    eg_clock_t c = measured(0, 2000);
    uint32_t age, want = steps[i] < 10000000 ? 1999 : 2000;
    eg_clock_tick(&c, steps[i]);
    CHECK(age_is(&c, 0, 50000, &age) && age == 50000 - want, "%u us: %u", steps[i], age);
  }
  eg_clock_t c = measured(0, 2000);
  uint32_t age;
  for (int i = 0; i < 30; i++) eg_clock_tick(&c, 1000000);
  CHECK(age_is(&c, 0, 50000, &age) && age == 48000, "30 s in pieces: %u", age);
  eg_clock_tick(&c, 4999);
  CHECK(age_is(&c, 0, 50000, &age) && age == 48000, "and nothing on top");
  eg_clock_tick(&c, 1);
  CHECK(age_is(&c, 0, 50000, &age) && age == 47999, "but what is earned then");
}

/* A frame younger than half the round trip takes the offset back, by at most twice what was gained.
 */
static void taken_back(void) {
  eg_clock_t c = measured(0, 2000);
  uint32_t age;
  CHECK(age_is(&c, 0, 500, &age) && age == 500, "nothing earned, nothing taken");
  eg_clock_tick(&c, 500000); /* gains 100, may go back 200 */
  CHECK(age_is(&c, 0, 1100, &age) && age == 1000, "exactly half: stays");
  CHECK(age_is(&c, 0, 1050, &age) && age == 1000, "50 of 200 taken: %u", age);
  CHECK(age_is(&c, 0, 1050, &age) && age == 1000, "and it holds");
  CHECK(age_is(&c, 0, 2000, &age) && age == 1950, "for all frames");
  CHECK(age_is(&c, 0, 850, &age) && age == 950, "150 left, 200 wanted: %u", age);
  CHECK(age_is(&c, 0, 850, &age) && age == 950, "nothing left");
  eg_clock_tick(&c, 10000000); /* gains 2000; 4000 back, of which 2000 at once */
  CHECK(age_is(&c, 0, 1000, &age) && age == 1000, "1900 taken: %u", age);
  CHECK(age_is(&c, 0, 700, &age) && age == 800, "100 left: %u", age);
}

/* A new measurement is a new beginning. */
static void measured_anew(void) {
  eg_clock_t c = measured(0, 2000);
  uint32_t age;
  eg_clock_tick(&c, 10000000);
  CHECK(eg_clock_measure(&c, 1000, 3000, 2000), "again");
  CHECK(age_is(&c, 0, 5000, &age) && age == 5000, "nothing was earned: %u", age);
  eg_clock_tick(&c, 10000000);
  CHECK(age_is(&c, 0, 5000, &age) && age == 3000, "gained, and may go back");
  CHECK(eg_clock_measure(&c, 1000, 3000, 2000), "again");
  CHECK(age_is(&c, 0, 500, &age) && age == 500, "nothing may go back: %u", age);
}

static void taken_back_from_the_future(void) {
  eg_clock_t c = measured(0, 2000);
  uint32_t age;
  eg_clock_tick(&c, 500000); /* 100 us further, 200 back */
  CHECK(age_is(&c, 0, -1100, &age) && age == 0, "-1200 becomes -1000: in the error");
  c = measured(0, 2000);
  eg_clock_tick(&c, 500000);
  CHECK(!age_is(&c, 0, -1101, &age), "-1201 becomes -1001");
}

/* Their clock runs `ppm` fast against ours. One frame in 10 ms, delayed by 1 to 4 ms at random. */
static void follows_drift(int32_t ppm) {
  const uint32_t delay_min_us = 1000;
  eg_clock_t c = measured(0, 2 * delay_min_us);
  uint32_t random = 1;
  for (int64_t t = 0; t < 3600 * 100; t++) { /* an hour */
    int64_t sent = 1000000 + t * 10000, stamp = sent + sent * ppm / 1000000;
    random = random * 1664525u + 1013904223u;
    uint32_t age, delay = delay_min_us + (t % 50 ? (random >> 16) % 3000 : 0);
    eg_clock_tick(&c, 10000);
    CHECK(eg_clock_age(&c, (uint32_t)(sent + delay), (uint32_t)stamp, &age), "%d ppm, at %lld ms",
          ppm, (long long)t * 10);
    CHECK(age + 400 >= delay, "%d ppm, at %lld: %u looks like %u", ppm, (long long)t, delay, age);
    CHECK(age <= delay + 400, "%d ppm, at %lld: %u looks like %u", ppm, (long long)t, delay, age);
  }
}

int main(void) {
  ages();
  future();
  odd_round_trips();
  round_trip_limit();
  gain();
  gain_is_bounded();
  taken_back();
  measured_anew();
  taken_back_from_the_future();
  follows_drift(0);
  follows_drift(190);
  follows_drift(-190);
  return 0;
}
