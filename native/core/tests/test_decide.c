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

/* One frame of rubble on which all members, nearly sure, see the same higher sign (F28). */
static void one_frame_raises_nothing(void) {
  for (uint8_t frames = 1; frames <= 2; frames++) {
    guard_t g;
    until_nominal(&g, 2);
    g.policy.channel[0].demand[EG_RAISE].frames = frames;
    guard_run(&g, 3, 3, EG_ONE); /* a frame is three ticks */
    CHECK((g.state.channel[0].target == Q(30)) == (frames == 1), "%d frames", frames);
    guard_run(&g, 3, 2, EG_ONE);
    CHECK(g.state.channel[0].target == Q(20) && g.out.mode == EG_NOMINAL, "as before");
    guard_run(&g, 3, 3, EG_ONE);
    guard_run(&g, 3, 3, EG_ONE);
    CHECK(g.state.channel[0].target == Q(30), "two frames of a real one do");
  }
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

/* ---------------------------------------------------- one step, seen from outside */

static void starts_as_old_as_can_be(void) {
  eg_policy_t p = fixture_policy();
  eg_state_t s;
  memset(&s, 0xA5, sizeof s);
  p.members = 2;
  p.cameras = 2;
  eg_init(&p, &s);
  CHECK(s.repeated_us == EG_AGE_MAX, "no frame was repeated");
  for (int i = 0; i < EG_MAX_MEMBERS; i++) {
    uint32_t age = i < 2 ? EG_AGE_MAX : 0;
    CHECK(s.member[i].age_us == age && s.member[i].newest_us == age, "member %d", i);
    CHECK(!s.member[i].held, "member %d votes", i);
  }
  for (int i = 0; i < EG_MAX_CAMERAS; i++)
    CHECK(s.camera[i].age_us == (i < 2 ? EG_AGE_MAX : 0) && s.camera[i].seen == 0, "camera %d", i);
  CHECK(!s.armed && !s.active && !s.sequence && !s.channel[0].started, "something was kept");
}

static void flags_are_one(void) { /* they are logged as numbers */
  guard_t g;
  guard_start(&g);
  CHECK(g.state.armed == 1, "armed: %d", g.state.armed);
  eg_takeover(&g.state);
  CHECK(g.state.taken_over == 1, "taken over: %d", g.state.taken_over);
  g.input.signal[0].value = 0;
  guard_run(&g, 1, 3, EG_ONE);
  CHECK(g.state.standstill == 1, "standstill: %d", g.state.standstill);
}

/* Nothing of the caller's memory is left in a decision, and nothing behind it is written. */
static void a_decision_is_whole(void) {
  struct {
    eg_decision_t out;
    uint32_t behind[4];
  } a, b;
  guard_t g, h;
  until_nominal(&g, 3);
  g.policy.members = 2;
  g.policy.cameras = 2;
  g.input.question = 0x12345678u;
  g.state.member[2].age_us = g.state.camera[2].age_us = 77; /* of none */
  h = g;
  memset(&a, 0xA5, sizeof a);
  memset(&b, 0x5A, sizeof b);
  eg_decide(&g.policy, &g.state, &g.input, &a.out);
  eg_decide(&h.policy, &h.state, &h.input, &b.out);
  CHECK(memcmp(&a.out, &b.out, sizeof a.out) == 0, "it depends on what was there before");
  for (int i = 0; i < 4; i++) CHECK(a.behind[i] == 0xA5A5A5A5u, "behind it: %x", a.behind[i]);
  for (int i = 0; i < EG_MAX_MEMBERS; i++)
    CHECK(a.out.member_age_us[i] == (i < 2 ? g.state.member[i].age_us : 0), "member %d", i);
  for (int i = 0; i < EG_MAX_CAMERAS; i++)
    CHECK(a.out.camera_age_us[i] == (i < 2 ? g.state.camera[i].age_us : 0), "camera %d", i);
  CHECK(a.out.member_age_us[1] > 0 && a.out.camera_age_us[1] > 0, "ages are told");
  CHECK(a.out.channel[2].command == 0 && a.out.channel[2].voters == 0, "no third channel");
  CHECK(a.out.sequence == g.state.sequence && a.out.causes == g.state.active, "as remembered");
}

static uint32_t seen(guard_t *g) {
  guard_run(g, 1, 3, EG_ONE);
  return g->out.present;
}

static void all_that_is_seen_is_told(void) {
  guard_t g;
  until_nominal(&g, 3);
  CHECK(seen(&g) == 0, "all is well: %x", g.out.present);
  for (uint32_t c = 0; c < EG_CAUSES; c++) {
    guard_t h = g;
    h.input.missed = EG_BIT(c); /* the link's causes enter here, and those of inputs replaced */
    CHECK(seen(&h) == EG_BIT(c), "missed %u: %x", c, h.out.present);
  }
  guard_t h = g;
  h.state.armed = 0;
  CHECK(seen(&h) == EG_BIT(EG_NOT_ARMED), "unarmed: %x", h.out.present);
  h = g;
  h.input.missed = EG_BIT(EG_LINK_LOST);
  h.input.elapsed_us = 30000;
  h.input.rule_ok = 0;
  h.input.signal[0].validity = EG_INVALID;
  h.input.member[0].pending_us = EG_AGE_MAX;
  h.policy.cameras = 2;
  h.state.camera[1].age_us = EG_AGE_MAX;
  h.state.conflict = 1;
  h.state.armed = 0;
  CHECK(seen(&h) == (EG_BIT(EG_LINK_LOST) | EG_BIT(EG_OVERRUN) | EG_BIT(EG_CONTROLLER_LOST) |
                     EG_BIT(EG_INPUT_INVALID) | EG_BIT(EG_LATE) | EG_BIT(EG_FRAME_LOST) |
                     EG_BIT(EG_ENVELOPE_CONFLICT) | EG_BIT(EG_NOT_ARMED)),
        "all at once: %x", h.out.present);
}

static void a_controller_has_its_budget(void) {
  const struct {
    uint8_t ok;
    uint32_t us;
    bool lost;
  } row[] = {{1, 0, false}, {1, 2000, false}, {1, 2001, true}, {1, EG_AGE_MAX, true}, {0, 0, true}};
  for (int i = 0; i < 5; i++) {
    guard_t g;
    until_nominal(&g, 3);
    g.input.rule_ok = row[i].ok;
    g.input.rule_us = row[i].us;
    bool lost = seen(&g) & EG_BIT(EG_CONTROLLER_LOST);
    CHECK(lost == row[i].lost, "row %d", i);
  }
}

static void standing_is_close_to_zero(void) {
  const int32_t below = Q(0.1);
  const struct {
    int32_t speed;
    bool stands;
  } row[] = {{0, true},          {below - 1, true}, {below, false},     {below + 1, false},
             {-below + 1, true}, {-below, false},   {-below - 1, false}};
  for (int i = 0; i < 7; i++) {
    guard_t g;
    until_nominal(&g, 3);
    g.policy.signal[0].min = -Q(70);
    g.input.signal[0].value = row[i].speed;
    seen(&g);
    CHECK(g.state.standstill == row[i].stands, "at %d", row[i].speed);
  }
  guard_t g;
  until_nominal(&g, 3);
  g.input.signal[0] = (eg_number_t){EG_INVALID, 0};
  seen(&g);
  CHECK(!g.state.standstill, "nobody knows the speed");
  g.input.signal[0].validity = EG_VALID;
  g.policy.standstill_signal = EG_NONE;
  seen(&g);
  CHECK(!g.state.standstill, "nothing says so");
}

/* Unarmed it stops, whatever the table says of NOT_ARMED. */
static void unarmed_is_safe_stop(void) {
  guard_t g;
  until_nominal(&g, 3);
  g.policy.cause[EG_NOT_ARMED] = (eg_cause_row_t){EG_NOMINAL, EG_CLEARS_ITSELF, 0, 0, 0};
  g.state.armed = 0;
  seen(&g);
  CHECK(g.out.mode == EG_SAFE_STOP, "mode %d", g.out.mode);
}

static void who_asks_for_commands(void) {
  const struct {
    uint8_t engaged, unknown, taken, active;
  } row[] = {{0, 0, 0, 0}, {1, 0, 0, 1}, {0, 1, 0, 1}, {1, 1, 0, 1}, {1, 0, 1, 0}, {0, 1, 1, 0}};
  for (int i = 0; i < 6; i++) {
    guard_t g;
    until_nominal(&g, 3);
    g.input.engaged = row[i].engaged;
    g.input.engaged_unknown = row[i].unknown;
    g.state.taken_over = row[i].taken;
    seen(&g);
    CHECK(g.out.active == row[i].active, "row %d: %d", i, g.out.active);
  }
}

/* What would ask for FALLBACK once debounced is not acted on before. */
static void nothing_is_granted_under_suspicion(void) {
  for (int severity = EG_NOMINAL; severity <= EG_SAFE_STOP; severity++) {
    guard_t g;
    until_nominal(&g, 3);
    g.state.channel[0].target = Q(10);
    g.policy.cause[EG_LINK_FAULTY] =
        (eg_cause_row_t){(uint8_t)severity, EG_CLEARS_BY_REARM, 0, 1000000, 1000000};
    g.input.missed = EG_BIT(EG_LINK_FAULTY);
    guard_run(&g, 1, 3, EG_ONE);
    CHECK(g.out.mode == EG_NOMINAL, "not yet: %d", g.out.mode);
    CHECK(g.out.channel[0].granted == (severity < EG_FALLBACK), "severity %d", severity);
    CHECK(g.state.channel[0].target == (severity < EG_FALLBACK ? Q(30) : Q(10)), "%d", severity);
  }
}

/* F21 at the actuator: each cause that acts brings its mode, and its command. */
static void each_cause_brings_its_mode(void) {
  for (uint32_t c = 0; c < EG_CAUSES; c++)
    for (int severity = EG_DEGRADED; severity <= EG_SAFE_STOP; severity++) {
      guard_t g;
      until_nominal(&g, 3);
      g.policy.cause[c] = (eg_cause_row_t){(uint8_t)severity, EG_CLEARS_BY_REARM, c % 2, 0, 0};
      g.input.missed = EG_BIT(c);
      int32_t before = speed(&g);
      guard_run(&g, 1, 3, EG_ONE);
      CHECK(g.out.mode == severity && g.out.causes == EG_BIT(c), "cause %u mode %d", c, g.out.mode);
      CHECK(g.out.operator_request == c % 2, "cause %u asks for a person", c);
      CHECK(severity == EG_DEGRADED || speed(&g) < before, "cause %u: %d", c, speed(&g));
    }
}

static void three_that_never_clear_are_kept(void) {
  guard_t g;
  guard_start(&g);
  g.state.armed = 0;
  const eg_cause_t never[] = {EG_FROZEN_INPUT, EG_INPUT_INVALID, EG_SELF_TEST};
  g.state.active = EG_BIT(EG_LATE);
  for (int i = 0; i < 3; i++) {
    g.policy.cause[never[i]].clears = EG_CLEARS_NEVER;
    g.state.active |= EG_BIT(never[i]);
  }
  eg_arm(&g.policy, &g.state);
  CHECK(g.state.active == (EG_BIT(EG_STALE_MODEL) | EG_BIT(EG_FROZEN_INPUT) |
                           EG_BIT(EG_INPUT_INVALID) | EG_BIT(EG_SELF_TEST)),
        "active %x", g.state.active);
}

int main(void) {
  starts_as_old_as_can_be();
  flags_are_one();
  a_decision_is_whole();
  all_that_is_seen_is_told();
  a_controller_has_its_budget();
  standing_is_close_to_zero();
  unarmed_is_safe_stop();
  who_asks_for_commands();
  nothing_is_granted_under_suspicion();
  each_cause_brings_its_mode();
  three_that_never_clear_are_kept();
  before_arming_it_stops();
  rules_drive_until_suggestions_hold();
  silence_becomes_the_rule();
  ramps_both_ways();
  inactive_follows_measured();
  old_suggestion_is_not_resumed();
  safe_stop_latches();
  rearm_needs_the_cause_gone();
  clock_faults();
  takeover_ends_by_rearm();
  standing_clock_ramps();
  slow_loop_is_named();
  only_a_restart_clears_never();
  out_of_range_is_followed_by_nobody();
  one_frame_raises_nothing();
  degraded_tightens();
  conflict_is_named();
  return 0;
}
