/* SPDX-License-Identifier: Apache-2.0 */
/* Where it begins: at boot, and in the turn that finds its own memory changed. */
#include <string.h>

#include "rig.h"

#define PERIOD_US 12000u /* another one than where no policy can say it */

static void start_with_a_period(rig_t *r) {
  eg_mcu_config_t config = rig_config();
  config.policy.period_us = config.link.period_us = PERIOD_US;
  config.policy.controller_budget_us = 2 * PERIOD_US;
  rig_start_with(r, &config);
}

static void turn_after(rig_t *r, uint32_t elapsed_us) {
  r->twin.now_us += elapsed_us;
  eg_twin_step(&r->twin);
}

static void knows_no_suggestion(void) {
  rig_t r;
  rig_start(&r);
  rig_step(&r);
  CHECK(r.state.command_age_us == EG_AGE_MAX, "%u us old", r.state.command_age_us);
}

/* Late is what comes after one and a half of the table's periods. */
static void the_period_is_the_tables(void) {
  rig_t r;
  start_with_a_period(&r);
  CHECK(r.twin.mcu.kept.period_us == PERIOD_US, "%u us", r.twin.mcu.kept.period_us);
  turn_after(&r, PERIOD_US);
  uint32_t strokes = r.twin.strokes;
  turn_after(&r, PERIOD_US + PERIOD_US / 2);
  CHECK(r.twin.strokes == strokes + 1, "a turn in time is not stroked");
  turn_after(&r, PERIOD_US + PERIOD_US / 2 + 1);
  CHECK(r.twin.strokes == strokes + 1, "a late turn is stroked");
}

/* The clock is looked at five times: four of them after the turn began, and the second is what the
 * turn counts as its time. */
static uint32_t strokes_of_a_slow_turn(rig_t *r, uint32_t call_us) {
  turn_after(r, PERIOD_US);
  uint32_t strokes = r->twin.strokes;
  r->twin.call_us = call_us;
  turn_after(r, PERIOD_US - 2u * call_us);
  return r->twin.strokes - strokes;
}

static void a_turn_may_take_a_period(void) {
  rig_t r;
  start_with_a_period(&r);
  CHECK(strokes_of_a_slow_turn(&r, PERIOD_US / 4) == 1, "took a period, and is not stroked");
  start_with_a_period(&r);
  CHECK(strokes_of_a_slow_turn(&r, PERIOD_US / 4 + 1) == 0, "took longer, and is stroked");
}

static void the_controller_may_take_its_budget(void) {
  for (uint32_t more_us = 0; more_us < 2; more_us++) {
    rig_t r;
    eg_mcu_config_t config = rig_config();
    config.policy.controller_budget_us = 60;
    rig_start_with(&r, &config);
    uint32_t strokes = strokes_of_a_slow_turn(&r, 60 + more_us);
    CHECK(strokes == 1 - more_us, "%u us more: %u strokes", more_us, strokes);
  }
}

/* Whatever failed but the table itself. */
static void unless_the_table_is_not_right(void) {
  static const uint16_t fails[] = {EG_FAIL_STACK, EG_FAIL_RAM,    EG_FAIL_FLASH,
                                   EG_FAIL_CORE,  EG_FAIL_OUTPUT, EG_FAIL_POLICY};
  for (uint32_t i = 0; i < sizeof fails / sizeof fails[0]; i++) {
    rig_t r;
    start_with_a_period(&r);
    turn_after(&r, PERIOD_US);
    r.twin.record.failed = fails[i];
    eg_record_save(&r.twin.record, r.twin.saved);
    r.twin.mcu.kept.turns++; /* which makes it begin anew */
    turn_after(&r, PERIOD_US);
    uint32_t expected = fails[i] == EG_FAIL_POLICY ? EG_TURN_US : PERIOD_US;
    CHECK(r.twin.mcu.kept.period_us == expected, "%u: %u us", fails[i], r.twin.mcu.kept.period_us);
    CHECK(r.twin.mcu.kept.failed == (fails[i] | EG_FAIL_RAM), "forgets %u", fails[i]);
  }
}

/* The record is not what changed: it stays. And the turn is as long as any. */
static void keeps_a_record_that_is_right(void) {
  rig_t r;
  rig_start(&r);
  eg_twin_boot(&r.twin);
  CHECK(rig_arm(&r) == EG_ARM_OK, "result %u", r.armed.result);
  rig_turns(&r, 5);
  for (uint32_t i = 1; i < EG_ARMS_PER_MINUTE; i++)
    CHECK(r.twin.record.arm_us[i] == EG_AGE_MAX, "armed %u us ago", r.twin.record.arm_us[i]);
  CHECK(r.twin.record.arm_us[0] == 5 * TURN_US, "armed %u us ago", r.twin.record.arm_us[0]);
  r.twin.mcu.kept.turns++;
  rig_step(&r);
  CHECK(r.twin.mcu.kept.failed == EG_FAIL_RAM, "%x", r.twin.mcu.kept.failed);
  CHECK(r.twin.record.resets == 1, "%u resets", r.twin.record.resets);
  CHECK(r.twin.record.arm_us[0] == 6 * TURN_US, "armed %u us ago", r.twin.record.arm_us[0]);
}

/* Nothing of the decision before it: the manoeuvre's speed, the angle that the actuators have. */
static void stops_on_the_bare_manoeuvre(void) {
  rig_t r;
  eg_decision_t bare;
  rig_steady(&r);
  r.want[EG_STEERING] = Q(0.03);
  rig_turns(&r, 100);
  r.twin.canary[0] ^= 1u;
  rig_turn(&r);
  memset(&bare, 0, sizeof bare);
  bare.mode = EG_SAFE_STOP;
  bare.active = bare.operator_request = 1;
  bare.causes = bare.present = EG_BIT(EG_SELF_TEST);
  bare.channel[EG_SPEED].command = Q(10) - Q(0.04);
  bare.channel[EG_STEERING].command = Q(0.03);
  CHECK(!r.twin.mcu.in.member[EG_SPEED].present, "listens to the host");
  CHECK(memcmp(&bare, &r.twin.mcu.out, sizeof bare) == 0, "says more");
  CHECK(rig_out(&r, EG_STEERING) == Q(0.03), "%d", rig_out(&r, EG_STEERING));
}

/* Power comes while it drives, and a check fails: from what is measured, as far as it is. */
static void stops_from_what_is_measured(uint8_t validity, int32_t speed, int32_t steering) {
  rig_t r;
  eg_mcu_config_t config = rig_config();
  config.policy.members = 0; /* no table that it could do */
  rig_start_with(&r, &config);
  r.follows = 0;
  r.speed = Q(10);
  r.steering = Q(0.03);
  r.twin.sensed.speed.validity = r.twin.sensed.steering.validity = validity;
  rig_step(&r);
  CHECK(r.twin.mcu.kept.failed == EG_FAIL_POLICY, "%x", r.twin.mcu.kept.failed);
  CHECK(rig_out(&r, EG_SPEED) == speed, "%d", rig_out(&r, EG_SPEED));
  CHECK(rig_out(&r, EG_STEERING) == steering, "%d", rig_out(&r, EG_STEERING));
}

/* So soon after power came that it may not move at all: not even towards a speed that was made up.
 */
static void nothing_measured_is_standstill(void) {
  rig_t r;
  eg_mcu_config_t config = rig_config();
  config.policy.members = 0;
  rig_start_with(&r, &config);
  r.twin.sensed.speed.validity = r.twin.sensed.steering.validity = EG_ABSENT;
  turn_after(&r, 1);
  CHECK(rig_out(&r, EG_SPEED) == 0 && rig_out(&r, EG_STEERING) == 0, "%d", rig_out(&r, EG_SPEED));
}

/* The manoeuvre itself says that it ran, and for how long. */
static void a_controller_that_did_not_run_is_none(void) {
  rig_t r;
  rig_start(&r);
  rig_step(&r); /* from here on this is the board */
  eg_sense(&r.twin.mcu, r.twin.now_us, TURN_US);
  CHECK(!r.twin.mcu.in.rule_ok && r.twin.mcu.in.rule_us == EG_AGE_MAX, "%u", r.twin.mcu.in.rule_us);
}

int main(void) {
  knows_no_suggestion();
  the_period_is_the_tables();
  a_turn_may_take_a_period();
  the_controller_may_take_its_budget();
  unless_the_table_is_not_right();
  keeps_a_record_that_is_right();
  stops_on_the_bare_manoeuvre();
  stops_from_what_is_measured(EG_VALID, Q(10) - Q(0.04), Q(0.03));
  stops_from_what_is_measured(EG_ABSENT, 0, 0);
  stops_from_what_is_measured(EG_INVALID, 0, 0);
  nothing_measured_is_standstill();
  a_controller_that_did_not_run_is_none();
  return 0;
}
