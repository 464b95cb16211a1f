/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "check.h"
#include "fixture.h"

#define PERIOD_US 10000u
#define GAP_US 100000u

static void every_age_grows(void) {
  const uint32_t elapsed[] = {1, 9999, PERIOD_US, GAP_US, GAP_US + 1, 123456789};
  for (int i = 0; i < 6; i++) {
    eg_policy_t p = fixture_policy();
    eg_state_t s;
    eg_init(&p, &s);
    p.members = 2;
    p.cameras = 2;
    for (uint32_t m = 0; m < 3; m++) {
      s.member[m].age_us = 1000 * m;
      s.member[m].newest_us = 500 * m;
    }
    s.camera[0].age_us = 70;
    s.camera[1].age_us = 80;
    s.camera[2].age_us = 90;
    s.repeated_us = 60;
    eg_time_advance(&p, &s, elapsed[i]);
    for (uint32_t m = 0; m < 2; m++) {
      CHECK(s.member[m].age_us == 1000 * m + elapsed[i], "member %u: %u", m, s.member[m].age_us);
      CHECK(s.member[m].newest_us == 500 * m + elapsed[i], "newest of %u", m);
    }
    CHECK(s.camera[0].age_us == 70 + elapsed[i], "camera %u", s.camera[0].age_us);
    CHECK(s.member[2].age_us == 2000 && s.member[2].newest_us == 1000, "no third member");
    CHECK(s.camera[1].age_us == 80 + elapsed[i], "camera %u", s.camera[1].age_us);
    CHECK(s.camera[2].age_us == 90, "no third camera");
    CHECK(s.repeated_us == 60 + elapsed[i], "what was repeated: %u", s.repeated_us);
  }
}

/* A clock that stands: time passes all the same, one period a step. */
static void a_standing_clock_costs_a_period(void) {
  eg_policy_t p = fixture_policy();
  eg_state_t s;
  eg_init(&p, &s);
  s.member[0].age_us = s.member[0].newest_us = s.camera[0].age_us = s.repeated_us = 5;
  CHECK(eg_time_advance(&p, &s, 0) == EG_BIT(EG_TIME_FAULT), "not named");
  CHECK(s.member[0].age_us == PERIOD_US + 5 && s.member[0].newest_us == PERIOD_US + 5, "member");
  CHECK(s.camera[0].age_us == PERIOD_US + 5 && s.repeated_us == PERIOD_US + 5, "camera");
}

static void ages_saturate(void) {
  const uint32_t age[] = {0, 1, EG_AGE_MAX - 20000, EG_AGE_MAX - 10000, EG_AGE_MAX - 1, EG_AGE_MAX};
  for (int i = 0; i < 6; i++)
    for (uint32_t step = 9999; step <= 10001; step++) {
      eg_policy_t p = fixture_policy();
      eg_state_t s;
      eg_init(&p, &s);
      s.member[0].age_us = s.member[0].newest_us = s.camera[0].age_us = s.repeated_us = age[i];
      eg_time_advance(&p, &s, step);
      uint64_t sum = (uint64_t)age[i] + step, want = sum > EG_AGE_MAX ? EG_AGE_MAX : sum;
      CHECK(s.member[0].age_us == want && s.member[0].newest_us == want, "member %u + %u", age[i],
            step);
      CHECK(s.camera[0].age_us == want && s.repeated_us == want, "camera %u + %u", age[i], step);
    }
}

static void steps_are_named(void) {
  const struct {
    uint32_t elapsed_us, present;
  } row[] = {{1, 0},
             {PERIOD_US, 0},
             {2 * PERIOD_US, 0}, /* jitter */
             {2 * PERIOD_US + 2, EG_BIT(EG_OVERRUN)},
             {GAP_US, EG_BIT(EG_OVERRUN)},
             {GAP_US + 1, EG_BIT(EG_TIME_FAULT)},
             {EG_AGE_MAX, EG_BIT(EG_TIME_FAULT)}};
  for (int i = 0; i < 7; i++) {
    eg_policy_t p = fixture_policy();
    eg_state_t s;
    eg_init(&p, &s);
    uint32_t present = eg_time_advance(&p, &s, row[i].elapsed_us);
    CHECK(present == row[i].present, "%u us: %x", row[i].elapsed_us, present);
  }
}

int main(void) {
  every_age_grows();
  a_standing_clock_costs_a_period();
  ages_saturate();
  steps_are_named();
  return 0;
}
