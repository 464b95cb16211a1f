/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "check.h"
#include "fixture.h"

#define ALL (EG_BIT(EG_CAUSES) - 1u)
#define GAP_US 100000u

/* Every cause has times of its own, so that none passes for another. */
static eg_policy_t rows(void) {
  eg_policy_t p = fixture_policy();
  for (uint32_t c = 0; c < EG_CAUSES; c++)
    p.cause[c] =
        (eg_cause_row_t){EG_NOMINAL, EG_CLEARS_ITSELF, 0, 10000 * (c + 1), 20000 * (c + 1)};
  return p;
}

static bool acts(const eg_state_t *s, uint32_t cause) {
  return s->active >> cause & 1u;
}

static void each_cause_has_its_own_times(void) {
  eg_policy_t p = rows();
  for (uint32_t c = 0; c < EG_CAUSES; c++) {
    eg_state_t s;
    eg_init(&p, &s);
    for (uint32_t t = 1; t <= c + 2; t++) {
      eg_causes_update(&p, &s, EG_BIT(c), 10000);
      CHECK(s.active == (t > c ? EG_BIT(c) : 0), "cause %u after %u ticks: %x", c, t, s.active);
      CHECK(s.present == EG_BIT(c), "present %x", s.present);
    }
    for (uint32_t t = 1; t <= 2 * (c + 1); t++) {
      CHECK(acts(&s, c), "cause %u let go after %u ticks", c, t);
      eg_causes_update(&p, &s, 0, 10000);
    }
    CHECK(s.active == 0 && s.present == 0, "cause %u stays: %x", c, s.active);
  }
}

static void all_together(void) {
  eg_policy_t p = rows();
  eg_state_t s;
  eg_init(&p, &s);
  for (uint32_t t = 1; t <= EG_CAUSES; t++) {
    eg_causes_update(&p, &s, ALL, 10000);
    CHECK(s.active == EG_BIT(t) - 1u, "tick %u: %x", t, s.active);
  }
}

/* A clock that stood, ran back or jumped: presence counts for as long as it may have been, absence
 * for nothing. */
static void unwatched_time(void) {
  const uint32_t elapsed[] = {0, GAP_US + 1, EG_AGE_MAX};
  eg_policy_t p = rows();
  p.max_gap_us = GAP_US;
  for (int i = 0; i < 3; i++) {
    eg_state_t s;
    eg_init(&p, &s);
    eg_causes_update(&p, &s, ALL, elapsed[i]);
    CHECK(s.active == EG_BIT(10) - 1u, "elapsed %u: %x", elapsed[i], s.active);
    CHECK(s.debounce[22].level_us == GAP_US, "level %u", s.debounce[22].level_us);
    eg_causes_update(&p, &s, 0, elapsed[i]);
    CHECK(s.debounce[22].level_us == GAP_US && s.debounce[22].quiet_us == 0, "absence counted");
    CHECK(s.active == EG_BIT(10) - 1u, "let go unwatched");
  }
}

static void the_longest_gap_is_watched(void) {
  eg_policy_t p = rows();
  p.max_gap_us = GAP_US;
  eg_state_t s;
  eg_init(&p, &s);
  eg_causes_update(&p, &s, ALL, 20000);
  eg_causes_update(&p, &s, 0, GAP_US);
  CHECK(s.debounce[0].quiet_us == GAP_US, "quiet %u", s.debounce[0].quiet_us);
  CHECK(s.active == 0, "two ticks' causes have been quiet for long enough: %x", s.active);
  eg_causes_update(&p, &s, 0, 1);
  CHECK(s.debounce[0].quiet_us == GAP_US + 1, "a microsecond counts");
}

static void nothing_else_is_touched(void) {
  eg_policy_t p = rows();
  eg_state_t s, before;
  memset(&s, 0x5A, sizeof s);
  s.active = 0;
  before = s;
  eg_causes_update(&p, &s, ALL, 10000);
  CHECK(memcmp(s.member, before.member, sizeof s.member) == 0, "members");
  CHECK(memcmp(s.channel, before.channel, sizeof s.channel) == 0, "channels");
  CHECK(s.armed == before.armed && s.sequence == before.sequence, "what stands before them");
}

static void asking_for_a_person(void) {
  eg_policy_t p = rows();
  CHECK(!eg_asks_operator(&p, UINT32_MAX), "no cause asks");
  for (uint32_t c = 0; c < EG_CAUSES; c++) {
    p = rows();
    p.cause[c].asks_operator = 1;
    CHECK(eg_asks_operator(&p, EG_BIT(c)), "cause %u", c);
    CHECK(eg_asks_operator(&p, ALL), "cause %u among all", c);
    CHECK(!eg_asks_operator(&p, ALL & ~EG_BIT(c)), "every other one but %u", c);
    CHECK(!eg_asks_operator(&p, 0), "no cause is active");
  }
}

/* F21: the mode is the worst active cause, and one more cause never relaxes it. */
static void worst_is_kept(void) {
  eg_policy_t p = rows();
  for (int i = 0; i < EG_MAX_MEMBERS; i++) p.member[i].kind = EG_BY_VALUE;
  CHECK(eg_worst(&p, UINT32_MAX) == EG_NOMINAL, "bits that are no cause have no severity");
  for (uint32_t c = 0; c < EG_CAUSES; c++) p.cause[c].severity = (uint8_t)((c * 7 + 3) % 4);
  uint32_t x = 1;
  for (int round = 0; round < 3000; round++) {
    x = x * 1664525u + 1013904223u;
    uint32_t set = (x >> 5 | x << 27) & ALL & (round % 3 ? x : UINT32_MAX);
    int worst = EG_NOMINAL;
    for (uint32_t c = 0; c < EG_CAUSES; c++)
      if (set >> c & 1u && p.cause[c].severity > worst) worst = p.cause[c].severity;
    CHECK((int)eg_worst(&p, set) == worst, "set %x", set);
    for (uint32_t c = 0; c < EG_CAUSES; c++)
      CHECK((int)eg_worst(&p, set | EG_BIT(c)) >= worst, "set %x and %u", set, c);
  }
  for (uint32_t c = 0; c < EG_CAUSES; c++)
    CHECK((int)eg_worst(&p, EG_BIT(c)) == p.cause[c].severity, "cause %u alone", c);
}

/* ------------------------------------------------------------------ re-arm */

/* Armed, standing, and these causes wait for a re-arm; all of them were quiet for their off time.
 */
static eg_policy_t waiting(eg_state_t *s, uint32_t causes) {
  eg_policy_t p = rows();
  eg_init(&p, s);
  s->armed = 1;
  s->standstill = 1;
  s->taken_over = 1;
  s->active = causes;
  for (uint32_t c = 0; c < EG_CAUSES; c++) {
    if (causes >> c & 1u) p.cause[c].clears = EG_CLEARS_BY_REARM;
    s->debounce[c].level_us = 77;
    s->debounce[c].quiet_us = p.cause[c].off_us;
  }
  return p;
}

static void refused(const eg_policy_t *p, eg_state_t *s, eg_rearm_t reason) {
  eg_state_t before = *s;
  eg_rearm_t said = eg_rearm(p, s);
  CHECK(said == reason, "said %d, not %d", (int)said, (int)reason);
  CHECK(memcmp(s, &before, sizeof before) == 0, "a refused re-arm changed something");
}

static void rearm_clears_all_or_none(void) {
  for (uint32_t c = 0; c < EG_CAUSES; c++) {
    eg_state_t s;
    uint32_t other = (c + 5) % EG_CAUSES;
    eg_policy_t p = waiting(&s, EG_BIT(c) | EG_BIT(other));
    s.present = EG_BIT(c);
    refused(&p, &s, EG_REARM_CAUSE_PRESENT);
    s.present = 0;
    s.debounce[c].quiet_us = p.cause[c].off_us - 1;
    refused(&p, &s, EG_REARM_CAUSE_PRESENT);
    s.debounce[c].quiet_us++;
    CHECK(eg_rearm(&p, &s) == EG_REARMED, "cause %u and %u", c, other);
    CHECK(s.active == 0 && !s.taken_over, "active %x", s.active);
    for (uint32_t i = 0; i < EG_CAUSES; i++)
      CHECK(s.debounce[i].level_us == (i == c || i == other ? 0 : 77), "level of %u", i);
  }
}

static void rearm_is_refused_by_name(void) {
  eg_state_t s;
  eg_policy_t p = waiting(&s, ALL);
  s.armed = 0;
  s.standstill = 0;
  refused(&p, &s, EG_REARM_UNARMED);
  s.armed = 1;
  refused(&p, &s, EG_REARM_MOVING);
  s.standstill = 1;
  CHECK(eg_rearm(&p, &s) == EG_REARMED && s.active == 0, "all of them");
}

static void rearm_leaves_other_causes(void) {
  const uint8_t clears[] = {EG_CLEARS_ITSELF, EG_CLEARS_NEVER};
  for (int i = 0; i < 2; i++) {
    eg_state_t s;
    eg_policy_t p = waiting(&s, EG_BIT(EG_LATE) | EG_BIT(EG_NOT_ARMED));
    p.cause[EG_NOT_ARMED].clears = clears[i];
    s.present = EG_BIT(EG_NOT_ARMED) | EG_BIT(EG_OVERRUN);
    s.debounce[EG_NOT_ARMED].quiet_us = 0;
    s.active |= EG_BIT(31); /* no cause: whatever it is, it is not a reason */
    p.cause[EG_OVERRUN].clears = EG_CLEARS_BY_REARM; /* present, but it did not act */
    CHECK(eg_rearm(&p, &s) == EG_REARMED, "refused for a cause that does not wait");
    CHECK(s.active == (EG_BIT(EG_NOT_ARMED) | EG_BIT(31)), "active %x", s.active);
    CHECK(s.debounce[EG_NOT_ARMED].level_us == 77, "level");
  }
}

static void beyond_the_last_cause_is_nothing(void) {
  eg_state_t s;
  eg_policy_t p = waiting(&s, EG_BIT(0));
  memset(p.member, EG_CLEARS_BY_REARM, sizeof p.member); /* what stands behind the table */
  s.active |= EG_BIT(EG_CAUSES);
  CHECK(eg_rearm(&p, &s) == EG_REARMED && s.active == EG_BIT(EG_CAUSES), "took it for a cause");
}

/* ------------------------------------------------------------------- arming */

static void arming_starts_from_nothing(void) {
  eg_policy_t p = rows();
  eg_state_t s;
  eg_init(&p, &s);
  for (int t = 0; t < EG_CAUSES; t++) eg_causes_update(&p, &s, ALL, 10000);
  CHECK(s.active == ALL, "active %x", s.active);
  s.channel[0].last = 99;
  eg_arm(&p, &s);
  CHECK(s.armed && s.active == EG_BIT(EG_STALE_MODEL), "active %x", s.active);
  for (uint32_t c = 0; c < EG_CAUSES; c++) {
    uint32_t level = c == EG_STALE_MODEL ? p.cause[c].on_us : 0;
    CHECK(s.debounce[c].level_us == level && s.debounce[c].quiet_us == 0, "cause %u", c);
  }
  CHECK(s.channel[0].last == 99, "arming moves no command");
}

/* Only a restart clears these, but for NOT_ARMED, which arming ends by definition. */
static void arming_keeps_what_never_clears(void) {
  for (uint32_t c = 0; c < EG_CAUSES; c++) {
    eg_policy_t p = rows();
    eg_state_t s;
    eg_init(&p, &s);
    p.cause[c].clears = EG_CLEARS_NEVER;
    s.active = ALL;
    eg_arm(&p, &s);
    uint32_t kept = c == EG_NOT_ARMED ? 0 : EG_BIT(c);
    CHECK(s.active == (kept | EG_BIT(EG_STALE_MODEL)), "cause %u: %x", c, s.active);
    s.armed = 0;
    s.active = 0;
    eg_arm(&p, &s);
    CHECK(s.active == EG_BIT(EG_STALE_MODEL), "cause %u never acted: %x", c, s.active);
  }
}

static void arming_keeps_no_more_than_causes(void) {
  eg_policy_t p = rows();
  eg_state_t s;
  eg_init(&p, &s);
  memset(p.member, EG_CLEARS_NEVER, sizeof p.member); /* what stands behind the table */
  s.active = UINT32_MAX;
  eg_arm(&p, &s);
  CHECK(s.active == EG_BIT(EG_STALE_MODEL), "active %x", s.active);
}

static void arming_is_once(void) {
  eg_policy_t p = rows();
  eg_state_t s, before;
  eg_init(&p, &s);
  eg_arm(&p, &s);
  eg_causes_update(&p, &s, ALL, 50000);
  before = s;
  eg_arm(&p, &s);
  CHECK(memcmp(&s, &before, sizeof s) == 0, "armed twice");
}

int main(void) {
  each_cause_has_its_own_times();
  all_together();
  unwatched_time();
  the_longest_gap_is_watched();
  nothing_else_is_touched();
  asking_for_a_person();
  worst_is_kept();
  rearm_clears_all_or_none();
  rearm_is_refused_by_name();
  rearm_leaves_other_causes();
  beyond_the_last_cause_is_nothing();
  arming_starts_from_nothing();
  arming_keeps_what_never_clears();
  arming_keeps_no_more_than_causes();
  arming_is_once();
  return 0;
}
