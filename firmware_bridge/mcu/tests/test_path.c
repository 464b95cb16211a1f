/* SPDX-License-Identifier: Apache-2.0 */
/* Which path a stop keeps to, and for how long. */
#include "rig.h"

#define HOLDS_US 2000000u /* EG_PATH_AGE_MAX_US */

static int32_t rule(const rig_t *r) {
  return r->twin.mcu.in.rule[EG_STEERING];
}

/* A stop that began with the turn before: `path` up to its age limit, to the microsecond, then
 * straight on. `more_us` puts the turns off the limit. */
static void holds(rig_t *r, int32_t path, uint32_t more_us) {
  uint32_t age_us = 0;
  r->twin.now_us += more_us;
  for (int t = 0; t < 230; t++) {
    rig_step(r);
    age_us += TURN_US + (t == 0 ? more_us : 0);
    CHECK(rule(r) == (age_us <= HOLDS_US ? path : 0), "%d after %u us", rule(r), age_us);
  }
}

static void a_trusted_command(void) {
  for (uint32_t more_us = 0; more_us < 2; more_us++) {
    rig_t r;
    rig_steady(&r);
    r.want[EG_STEERING] = Q(0.04);
    rig_turns(&r, 100);
    r.mute = 1;
    while (r.twin.mcu.out.mode < EG_SAFE_STOP) rig_turn(&r);
    CHECK(rule(&r) == Q(0.04), "%d", rule(&r));
    holds(&r, Q(0.04), more_us);
  }
}

/* Nothing trusted since the reset: the angle that was measured first. */
static void what_was_measured_after_a_reset(void) {
  rig_t r;
  rig_steady(&r);
  r.follows = 0;
  r.steering = Q(0.03); /* the actuators were told another one */
  eg_twin_boot(&r.twin);
  rig_step(&r);
  CHECK(rule(&r) == Q(0.03), "%d", rule(&r));
  r.steering = Q(-0.03);
  rig_turns(&r, 10);
  CHECK(rule(&r) == Q(0.03), "follows what it measures: %d", rule(&r));
}

/* The sensor comes late, and says something else before it does. */
static void what_is_measured_at_last(void) {
  static const uint8_t unusable[] = {EG_ABSENT, EG_INVALID};
  for (uint32_t i = 0; i < 2; i++) {
    rig_t r;
    rig_steady(&r);
    int32_t angle = rig_out(&r, EG_STEERING);
    r.follows = 0;
    r.steering = Q(0.3);
    eg_twin_boot(&r.twin);
    r.twin.sensed.steering.validity = unusable[i];
    rig_turns(&r, 150);
    CHECK(rule(&r) == angle, "%d", rule(&r));
    r.steering = Q(0.03);
    r.twin.sensed.steering.validity = EG_VALID;
    rig_step(&r);
    CHECK(rule(&r) == Q(0.03), "%d", rule(&r));
    holds(&r, Q(0.03), 0);
  }
}

/* Tighter limits, and no sensor for the angle: the host is trusted all the same. */
static void a_trusted_command_in_degraded(void) {
  rig_t r;
  eg_mcu_config_t config = rig_config();
  config.policy.cause[EG_INPUT_INVALID].severity = EG_DEGRADED;
  config.policy.cause[EG_INPUT_INVALID].clears = EG_CLEARS_ITSELF;
  rig_start_with(&r, &config);
  r.twin.sensed.steering.validity = EG_INVALID;
  CHECK(rig_arm(&r) == EG_ARM_OK, "result %u", r.armed.result);
  r.want[EG_STEERING] = Q(0.04);
  rig_turns(&r, 100);
  CHECK(r.twin.mcu.out.mode == EG_DEGRADED, "causes %x", r.twin.mcu.out.causes);
  CHECK(rig_out(&r, EG_STEERING) == Q(0.04), "%d", rig_out(&r, EG_STEERING));
  r.mute = 1;
  rig_turns(&r, 100);
  CHECK(r.twin.mcu.out.mode == EG_SAFE_STOP && rule(&r) == Q(0.04), "%d", rule(&r));
  rig_turns(&r, 120);
  CHECK(rule(&r) == 0, "%d", rule(&r));
}

/* FALLBACK keeps to the path like a stop: what the manoeuvre says is no new path. */
static void not_its_own_command(void) {
  rig_t r;
  rig_steady(&r);
  r.want[EG_STEERING] = Q(0.04);
  rig_turns(&r, 100);
  r.channels = 1;
  rig_turns(&r, 100);
  CHECK(r.twin.mcu.out.mode == EG_FALLBACK && rule(&r) == Q(0.04), "%d", rule(&r));
  rig_turns(&r, 120);
  CHECK(r.twin.mcu.out.mode == EG_FALLBACK && rule(&r) == 0, "%d", rule(&r));
}

static void a_persons_path_whatever_the_mode(void) {
  rig_t r;
  rig_steady(&r);
  r.engaged = 0;
  rig_turns(&r, 3);
  r.follows = 0;
  r.mute = 1;
  rig_turns(&r, 20);
  CHECK(r.twin.mcu.out.mode == EG_SAFE_STOP && !r.twin.mcu.out.active, "%u", r.twin.mcu.out.mode);
  r.steering = Q(-0.02);
  rig_turns(&r, 2);
  CHECK(rule(&r) == Q(-0.02), "%d", rule(&r));
}

int main(void) {
  a_trusted_command();
  what_was_measured_after_a_reset();
  what_is_measured_at_last();
  a_trusted_command_in_degraded();
  not_its_own_command();
  a_persons_path_whatever_the_mode();
  return 0;
}
