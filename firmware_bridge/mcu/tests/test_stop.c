/* SPDX-License-Identifier: Apache-2.0 */
/* The minimum-risk manoeuvre. */
#include "rig.h"

#define LATERAL Q(2.2) /* m/s2; the table is made for 2, linear between its rows */

/* v^2 * angle / wheelbase, in Q16.16 m/s2; angles are small. */
static int32_t lateral(const rig_t *r) {
  int64_t v = r->speed, a = r->steering;
  return (int32_t)(v * v / 65536 * a / 65536 * 10 / 27);
}

static void curve(rig_t *r) {
  rig_steady(r);
  r->want[EG_STEERING] = Q(0.04);
  rig_turns(r, 100);
  CHECK(rig_out(r, EG_STEERING) == Q(0.04), "%d", rig_out(r, EG_STEERING));
}

static void keeps_to_the_path_in_a_curve(void) { /* F24 */
  rig_t r;
  curve(&r);
  r.mute = 1;
  for (uint32_t t = 0; t < 600; t++) {
    int32_t before = rig_out(&r, EG_STEERING), fast = rig_out(&r, EG_SPEED);
    rig_turn(&r);
    int32_t change = rig_out(&r, EG_STEERING) - before;
    CHECK(change <= Q(0.004) + 1 && change >= -Q(0.004) - 1, "steers at %d a turn", change);
    CHECK(t >= 190 || rig_out(&r, EG_STEERING) == Q(0.04), "leaves its path after %u turns", t);
    CHECK(lateral(&r) <= LATERAL, "lateral %d at %d", lateral(&r), r.speed);
    CHECK(fast - rig_out(&r, EG_SPEED) <= Q(0.04) + 1, "brakes harder than 4 m/s2");
  }
  CHECK(rig_out(&r, EG_STEERING) == 0 && r.speed < Q(0.1), "straight in the end");
}

static void holds_the_angle_after_a_reset(void) { /* F18, F24 */
  rig_t r;
  curve(&r);
  rig_turns(&r, 100);
  int32_t speed = rig_out(&r, EG_SPEED), angle = r.steering;
  eg_twin_boot(&r.twin);
  r.mute = 1;
  for (uint32_t t = 0; t < 150; t++) {
    int32_t before = rig_out(&r, EG_SPEED);
    rig_turn(&r);
    CHECK(rig_out(&r, EG_SPEED) <= before && before - rig_out(&r, EG_SPEED) <= Q(0.04) + 1,
          "a reset is a jump: %d", rig_out(&r, EG_SPEED));
    int32_t off = rig_out(&r, EG_STEERING) - angle;
    CHECK(off <= Q(0.001) && off >= -Q(0.001), "%d, measured %d", rig_out(&r, EG_STEERING), angle);
  }
  CHECK(speed == Q(10) && rig_out(&r, EG_SPEED) < Q(4.2), "%d", rig_out(&r, EG_SPEED));
  CHECK(r.twin.mcu.out.causes & EG_BIT(EG_NOT_ARMED), "causes %x", r.twin.mcu.out.causes);
}

static void stops_while_the_timer_stands(void) { /* F20 */
  rig_t r;
  rig_drive(&r, Q(10), 800);
  for (uint32_t t = 0; t < 10; t++) {
    int32_t before = rig_out(&r, EG_SPEED);
    eg_twin_step(&r.twin); /* at the same time as the turn before */
    CHECK(before - rig_out(&r, EG_SPEED) == Q(0.04), "%d", before - rig_out(&r, EG_SPEED));
  }
  CHECK(r.twin.mcu.out.causes & EG_BIT(EG_TIME_FAULT), "causes %x", r.twin.mcu.out.causes);
}

static void begins_at_what_is_measured_when_power_comes(void) {
  rig_t r;
  rig_start(&r);
  r.speed = Q(10);
  r.steering = Q(0.03);
  r.follows = 0;
  rig_step(&r);
  CHECK(rig_out(&r, EG_SPEED) >= Q(9.95) && rig_out(&r, EG_SPEED) < Q(10), "%d", rig_out(&r, 0));
  CHECK(rig_out(&r, EG_STEERING) == Q(0.03), "%d", rig_out(&r, EG_STEERING));
}

/* Nothing to go by: no angle was ever commanded or measured. */
static void without_a_sensor_it_does_not_steer(void) {
  rig_t r;
  rig_start(&r);
  r.twin.sensed.steering.validity = r.twin.sensed.speed.validity = EG_INVALID;
  rig_turns(&r, 10);
  CHECK(rig_out(&r, EG_STEERING) == 0 && rig_out(&r, EG_SPEED) == 0, "%d", rig_out(&r, 1));
  CHECK(!r.state.measured_valid && r.state.speed == 0, "measured without a sensor");
  curve(&r);
  eg_twin_boot(&r.twin);
  r.twin.sensed.steering.validity = EG_INVALID;
  rig_turns(&r, 10);
  CHECK(rig_out(&r, EG_STEERING) == Q(0.04), "the last output: %d", rig_out(&r, EG_STEERING));
}

static void stops_from_reverse_as_well(void) {
  rig_t r;
  eg_mcu_config_t config = rig_config();
  config.policy.signal[EG_SPEED].min = Q(-10);
  config.policy.channel[EG_SPEED].nominal.row[0].limits.min = Q(-5);
  rig_start_with(&r, &config);
  rig_arm(&r);
  r.want[EG_SPEED] = Q(-3);
  rig_turns(&r, 300);
  CHECK(rig_out(&r, EG_SPEED) == Q(-3), "%d", rig_out(&r, EG_SPEED));
  r.mute = 1;
  for (int t = 0; t < 400; t++) {
    int32_t before = rig_out(&r, EG_SPEED);
    rig_turn(&r);
    CHECK(rig_out(&r, EG_SPEED) >= before, "faster backwards");
  }
  CHECK(rig_out(&r, EG_SPEED) == 0, "%d", rig_out(&r, EG_SPEED));
}

/* Its rates leave the manoeuvre free. */
static void start_with_a_loose_table(rig_t *r) {
  eg_mcu_config_t config = rig_config();
  eg_limits_t *l = &config.policy.channel[EG_SPEED].nominal.row[0].limits;
  l->fall = l->rise = Q(9);
  l->min = Q(-5);
  config.policy.signal[EG_SPEED].min = Q(-10);
  rig_start_with(r, &config);
}

static void nor_when_it_goes_backwards(void) {
  rig_t r;
  start_with_a_loose_table(&r);
  rig_arm(&r);
  r.want[EG_SPEED] = Q(-3);
  rig_turns(&r, 300);
  r.mute = 1;
  rig_turns(&r, 20);
  int32_t before = rig_out(&r, EG_SPEED);
  rig_turn(&r);
  CHECK(rig_out(&r, EG_SPEED) - before == Q(0.04), "from %d to %d", before, rig_out(&r, EG_SPEED));
}

/* 4.0 m/s2 for as long as the turn was, to the last bit. */
static void by_the_length_of_the_turn(void) {
  static const uint32_t turns_us[] = {10000, 9079, 9037, 5000, 1};
  rig_t r;
  start_with_a_loose_table(&r);
  r.speed = Q(10); /* unarmed, as after a reset */
  r.follows = 0;
  rig_step(&r);
  for (uint32_t i = 0; i < sizeof turns_us / sizeof turns_us[0]; i++) {
    int32_t before = rig_out(&r, EG_SPEED);
    r.twin.now_us += turns_us[i];
    eg_twin_step(&r.twin);
    int32_t step = (int32_t)((int64_t)Q(4) * turns_us[i] / 1000000);
    CHECK(before - rig_out(&r, EG_SPEED) == step, "%d in %u us", before - rig_out(&r, EG_SPEED),
          turns_us[i]);
  }
}

/* From the least speed that there is. */
static void to_zero_and_no_further(void) {
  for (int32_t least = -1; least <= 1; least++) {
    rig_t r;
    start_with_a_loose_table(&r);
    r.speed = least;
    r.follows = 0;
    rig_step(&r);
    CHECK(rig_out(&r, EG_SPEED) == 0, "%d from %d", rig_out(&r, EG_SPEED), least);
  }
}

/* Where the actuators are, not where the vehicle is. */
static void goes_on_from_the_last_output_after_a_reset(void) {
  rig_t r;
  rig_steady(&r);
  r.speed = Q(12);
  r.follows = 0;
  eg_twin_boot(&r.twin);
  rig_step(&r);
  CHECK(rig_out(&r, EG_SPEED) == Q(10) - Q(0.04), "%d", rig_out(&r, EG_SPEED));
}

static void no_table_makes_it_brake_harder(void) {
  rig_t r;
  start_with_a_loose_table(&r);
  rig_arm(&r);
  r.want[EG_SPEED] = Q(10);
  rig_turns(&r, 800);
  r.mute = 1;
  for (int t = 0; t < 300; t++) {
    int32_t before = rig_out(&r, EG_SPEED);
    rig_turn(&r);
    CHECK(before - rig_out(&r, EG_SPEED) <= Q(0.04) + 1, "brakes at the table's 9 m/s2");
  }
  CHECK(rig_out(&r, EG_SPEED) == 0, "%d", rig_out(&r, EG_SPEED));
}

static void a_persons_path_is_kept_too(void) {
  rig_t r;
  curve(&r);
  r.engaged = 0;
  r.follows = 0;
  r.steering = Q(-0.02);
  rig_turns(&r, 5);
  CHECK(rig_out(&r, EG_STEERING) == Q(-0.02), "%d", rig_out(&r, EG_STEERING));
  r.engaged = 1;
  r.mode = EG_SAFE_STOP; /* stopped by the very command that engages */
  rig_turns(&r, 20);
  CHECK(rig_out(&r, EG_STEERING) == Q(-0.02), "%d", rig_out(&r, EG_STEERING));
}

int main(void) {
  keeps_to_the_path_in_a_curve();
  holds_the_angle_after_a_reset();
  stops_while_the_timer_stands();
  begins_at_what_is_measured_when_power_comes();
  without_a_sensor_it_does_not_steer();
  stops_from_reverse_as_well();
  no_table_makes_it_brake_harder();
  nor_when_it_goes_backwards();
  by_the_length_of_the_turn();
  to_zero_and_no_further();
  goes_on_from_the_last_output_after_a_reset();
  a_persons_path_is_kept_too();
  return 0;
}
