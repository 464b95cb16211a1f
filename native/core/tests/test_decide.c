/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "check.h"
#include "fixture.h"

static int32_t speed(const guard_t *g) {
  return g->out.channel[0].command;
}

static void until_nominal(guard_t *g, int32_t label) {
  guard_start(g);
  guard_run(g, 60, label, EG_ONE);
  CHECK(g->out.mode == EG_NOMINAL, "mode %d causes %x", g->out.mode, g->out.causes);
}

static void before_arming_it_stops(void) {
  guard_t g;
  guard_start(&g);
  g.state.armed = 0;
  int32_t before = Q(20);
  for (int t = 0; t < 600; t++) {
    guard_run(&g, 1, 3, EG_ONE);
    CHECK(g.out.mode == EG_SAFE_STOP, "mode %d", g.out.mode);
    CHECK(speed(&g) <= before && before - speed(&g) <= Q(0.04), "not a ramp: %d", speed(&g));
    before = speed(&g);
  }
  CHECK(speed(&g) == 0, "did not stop");
}

static void rules_drive_until_suggestions_hold(void) {
  guard_t g;
  guard_start(&g);
  guard_run(&g, 5, 3, EG_ONE);
  CHECK(g.out.mode == EG_FALLBACK && speed(&g) < Q(20), "armed: the rule commands");
  guard_run(&g, 60, 3, EG_ONE);
  int32_t now = speed(&g);
  CHECK(g.out.mode == EG_NOMINAL, "mode %d", g.out.mode);
  guard_run(&g, 30, 3, EG_ONE);
  CHECK(speed(&g) > now, "then the models do");
}

/* F23: every cause, alone and for long enough, at the actuator. */
static void silence_becomes_the_rule(void) {
  guard_t g;
  until_nominal(&g, 3);
  int ticks = 0;
  while (g.out.mode == EG_NOMINAL && ticks < 100) guard_tick(&g), ticks++;
  CHECK(ticks <= 10 + 5 + 2, "max age, debounce and two periods: %d ticks", ticks);
  int32_t at = speed(&g);
  for (int t = 0; t < 100; t++) guard_tick(&g);
  CHECK(speed(&g) <= at - Q(3.9), "the command follows the mode: %d", speed(&g));
}

static void ramps_both_ways(void) { /* F16 */
  guard_t g;
  until_nominal(&g, 3);
  int32_t before = speed(&g);
  for (int t = 0; t < 2000; t++) {
    guard_run(&g, 1, t / 300 % 2 ? 0 : 3, EG_ONE);
    CHECK(speed(&g) - before <= Q(0.015) + 1 && before - speed(&g) <= Q(0.04), "jump at %d", t);
    before = speed(&g);
  }
}

static void inactive_follows_measured(void) { /* F15 */
  guard_t g;
  until_nominal(&g, 3);
  g.input.engaged = 0;
  g.input.signal[0].value = Q(7);
  guard_run(&g, 200, 3, EG_ONE); /* winds up, were it to */
  CHECK(!g.out.active && speed(&g) == Q(7), "inactive: %d", speed(&g));
  g.input.engaged = 1;
  guard_run(&g, 1, 3, EG_ONE);
  CHECK(speed(&g) <= Q(7.015) + 1, "jumped to %d on engaging", speed(&g));
}

static void old_suggestion_is_not_resumed(void) {
  guard_t g;
  until_nominal(&g, 3);
  guard_run(&g, 400, 3, EG_ONE);
  for (int t = 0; t < 300; t++) guard_tick(&g); /* silent: the rule slows down */
  int32_t slow = speed(&g);
  guard_run(&g, 100, 4, EG_ONE); /* fresh votes that ask for nothing */
  CHECK(g.out.mode == EG_NOMINAL, "mode %d", g.out.mode);
  CHECK(speed(&g) <= slow, "went back to a target from before: %d > %d", speed(&g), slow);
}

/* F21: with any set of causes active, the mode is the worst of them; more never relaxes it. */
static void worst_is_kept(void) {
  eg_policy_t p = fixture_policy();
  for (uint32_t set = 0; set < 1u << EG_CAUSES; set++) {
    int worst = EG_NOMINAL;
    for (int c = 0; c < EG_CAUSES; c++)
      if (set >> c & 1u && p.cause[c].severity > worst) worst = p.cause[c].severity;
    CHECK((int)eg_worst(&p, set) == worst, "set %x", set);
  }
}

static void safe_stop_latches(void) { /* F27 */
  guard_t g;
  until_nominal(&g, 3);
  g.input.rule_ok = 0;
  guard_run(&g, 1, 3, EG_ONE);
  CHECK(g.out.mode == EG_SAFE_STOP && g.out.operator_request, "a lost controller stops");
  g.input.rule_ok = 1;
  guard_run(&g, 500, 3, EG_ONE);
  CHECK(g.out.mode == EG_SAFE_STOP, "left by itself");
  CHECK(eg_rearm(&g.policy, &g.state) == EG_REARM_MOVING, "re-armed at 20 m/s");
  g.input.signal[0].value = 0;
  guard_run(&g, 1, 3, EG_ONE);
  eg_arm(&g.policy, &g.state);
  guard_run(&g, 1, 3, EG_ONE);
  CHECK(g.out.mode == EG_SAFE_STOP, "arming again is no re-arm");
  CHECK(eg_rearm(&g.policy, &g.state) == EG_REARMED, "refused at standstill");
  guard_run(&g, 1, 3, EG_ONE);
  CHECK(g.out.mode == EG_NOMINAL, "mode %d", g.out.mode);
}

static void rearm_needs_the_cause_gone(void) {
  guard_t g;
  until_nominal(&g, 3);
  g.input.signal[0].value = 0;
  g.input.rule_us = 2001;
  guard_run(&g, 10, 3, EG_ONE);
  CHECK(eg_rearm(&g.policy, &g.state) == EG_REARM_CAUSE_PRESENT, "still late");
  CHECK(g.out.mode == EG_SAFE_STOP, "mode %d", g.out.mode);
}

static void clock_faults(void) { /* F20 */
  const uint32_t elapsed[] = {0, 100001, EG_AGE_MAX};
  for (int i = 0; i < 3; i++) {
    guard_t g;
    until_nominal(&g, 3);
    g.input.elapsed_us = elapsed[i];
    guard_tick(&g);
    CHECK(g.out.present & EG_BIT(EG_TIME_FAULT), "elapsed %u not noticed", elapsed[i]);
    for (int t = 0; t < 10; t++) guard_tick(&g);
    CHECK(g.out.mode >= EG_FALLBACK, "a clock that does %u for ever", elapsed[i]);
  }
}

static void standing_clock_ramps(void) { /* F23: noticed is not enough */
  guard_t g;
  until_nominal(&g, 3);
  g.input.elapsed_us = 0;
  for (int t = 0; t < 500; t++) guard_tick(&g);
  CHECK(speed(&g) == Q(5), "did not follow the rule: %d", speed(&g));
}

static void slow_loop_is_named(void) {
  guard_t g;
  until_nominal(&g, 3);
  g.input.elapsed_us = 20000;
  guard_tick(&g);
  CHECK(!(g.out.present & EG_BIT(EG_OVERRUN)), "two periods are jitter");
  g.input.elapsed_us = 20002;
  guard_tick(&g);
  CHECK(g.out.present & EG_BIT(EG_OVERRUN), "more is an overrun");
}

static void only_a_restart_clears_never(void) {
  guard_t g;
  guard_start(&g);
  g.state.armed = 0;
  g.policy.cause[EG_INPUT_INVALID].clears = EG_CLEARS_NEVER;
  g.input.signal[0].validity = EG_INVALID;
  for (int t = 0; t < 10; t++) guard_tick(&g);
  g.input.signal[0].validity = EG_VALID;
  eg_arm(&g.policy, &g.state);
  guard_run(&g, 200, 3, EG_ONE);
  CHECK(g.out.causes & EG_BIT(EG_INPUT_INVALID), "arming cleared it");
}

static void out_of_range_is_followed_by_nobody(void) {
  guard_t g;
  guard_start(&g);
  g.input.signal[0].value = Q(300); /* declared 0 to 70 */
  g.input.engaged = 0;
  guard_tick(&g);
  CHECK(speed(&g) == 0, "started from it: %d", speed(&g));
  until_nominal(&g, 3);
  int32_t before = speed(&g);
  g.input.signal[0].value = -Q(300);
  g.input.engaged = 0;
  guard_tick(&g);
  CHECK(speed(&g) == before, "followed it: %d", speed(&g));
}

static void takeover_ends_by_rearm(void) {
  guard_t g;
  until_nominal(&g, 3);
  eg_takeover(&g.state);
  g.input.signal[0].value = Q(3);
  guard_run(&g, 1, 3, EG_ONE);
  CHECK(!g.out.active && speed(&g) == Q(3), "a person drives");
  eg_arm(&g.policy, &g.state);
  guard_run(&g, 1, 3, EG_ONE);
  CHECK(!g.out.active, "arming took the wheel");
  g.input.signal[0].value = 0;
  guard_run(&g, 1, 3, EG_ONE);
  CHECK(eg_rearm(&g.policy, &g.state) == EG_REARMED, "refused");
  guard_run(&g, 1, 3, EG_ONE);
  CHECK(g.out.active, "gave it back");
}

static void degraded_tightens(void) {
  guard_t g;
  until_nominal(&g, 3);
  g.policy.channel[0].demand[EG_RAISE].quorum = 2;
  g.input.member[2].present = 0;
  int32_t top = 0;
  for (int t = 0; t < 3000; t++) {
    guard_run(&g, 1, 3, EG_ONE);
    if (t > 10) CHECK(g.out.mode == EG_DEGRADED, "mode %d", g.out.mode);
    if (speed(&g) > top) top = speed(&g);
  }
  CHECK(top == Q(22), "the tightened range: %d", top);
}

static void conflict_is_named(void) { /* measured outside the range */
  guard_t g;
  guard_start(&g);
  g.input.signal[0].value = Q(50);
  guard_run(&g, 2, 3, EG_ONE);
  CHECK(g.out.present & EG_BIT(EG_ENVELOPE_CONFLICT), "not named");
  CHECK(speed(&g) <= Q(50) - 2 * Q(0.04) + 2, "does not come back: %d", speed(&g));
}

int main(void) {
  before_arming_it_stops();
  rules_drive_until_suggestions_hold();
  silence_becomes_the_rule();
  ramps_both_ways();
  inactive_follows_measured();
  old_suggestion_is_not_resumed();
  worst_is_kept();
  safe_stop_latches();
  rearm_needs_the_cause_gone();
  clock_faults();
  takeover_ends_by_rearm();
  standing_clock_ramps();
  slow_loop_is_named();
  only_a_restart_clears_never();
  out_of_range_is_followed_by_nobody();
  degraded_tightens();
  conflict_is_named();
  return 0;
}
