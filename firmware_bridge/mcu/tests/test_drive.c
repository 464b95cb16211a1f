/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "rig.h"

#define RISE_A_TURN Q(0.015)
#define FALL_A_TURN Q(0.04)

/* One turn, and that the speed target moved no faster than the table says. */
static void gentle_turn(rig_t *r) {
  int32_t before = rig_out(r, EG_SPEED);
  rig_turn(r);
  int32_t change = rig_out(r, EG_SPEED) - before;
  CHECK(change <= RISE_A_TURN && change >= -FALL_A_TURN, "jump of %d", change);
}

static void ramps_both_ways(void) { /* F16 */
  rig_t r;
  rig_drive(&r, Q(20), 1500);
  CHECK(rig_out(&r, EG_SPEED) == Q(20), "got to %d", rig_out(&r, EG_SPEED));
  for (int t = 0; t < 900; t++) {
    r.want[EG_SPEED] = t / 150 % 2 ? Q(33) : 0;
    gentle_turn(&r);
  }
}

static void clamps_to_its_own_table(void) {
  rig_t r;
  rig_drive(&r, Q(300), 3000);
  CHECK(rig_out(&r, EG_SPEED) == Q(33.4), "above its range: %d", rig_out(&r, EG_SPEED));
  r.want[EG_SPEED] = Q(-300);
  rig_turns(&r, 3000);
  CHECK(rig_out(&r, EG_SPEED) == 0, "below its range: %d", rig_out(&r, EG_SPEED));
}

static void follows_what_is_measured_while_inactive(void) { /* F15 */
  rig_t r;
  rig_drive(&r, Q(5), 600);
  r.follows = 0;
  r.engaged = 0;
  r.want[EG_SPEED] = Q(33); /* winds up */
  for (int t = 0; t < 300; t++) {
    r.speed -= r.speed > Q(2) ? Q(0.02) : 0;
    rig_turn(&r);
    CHECK(t < 1 || rig_out(&r, EG_SPEED) == r.speed, "%d at %d", rig_out(&r, EG_SPEED), r.speed);
  }
  r.engaged = 1;
  gentle_turn(&r);
  CHECK(rig_out(&r, EG_SPEED) <= r.speed + RISE_A_TURN, "jumps to what wound up");
}

static void the_hosts_fallback_drives_too(void) {
  rig_t r;
  rig_drive(&r, Q(10), 300);
  r.mode = EG_FALLBACK;
  rig_turns(&r, 100);
  CHECK(r.state.mode == EG_NOMINAL && rig_out(&r, EG_SPEED) > Q(5), "mode %u", r.state.mode);
}

static void a_channel_that_is_not_sent_is_not_heard(void) {
  rig_t r;
  rig_drive(&r, Q(10), 300);
  r.channels = 1;
  rig_turns(&r, 100);
  CHECK(r.state.causes & EG_BIT(EG_SCORE_INSANE), "causes %x", r.state.causes);
  CHECK(r.state.mode == EG_FALLBACK && rig_out(&r, EG_SPEED) < Q(1), "the manoeuvre commands");
}

static void channels_may_come_in_any_order(void) {
  rig_t r;
  eg_mcu_config_t config = rig_config();
  config.host_channel[EG_SPEED] = 1;
  config.host_channel[EG_STEERING] = 0;
  rig_start_with(&r, &config);
  rig_arm(&r);
  r.want[1] = Q(3);
  r.want[0] = Q(0.01);
  rig_turns(&r, 300);
  CHECK(rig_out(&r, EG_SPEED) == Q(3) && rig_out(&r, EG_STEERING) == Q(0.01), "%d %d",
        rig_out(&r, EG_SPEED), rig_out(&r, EG_STEERING));
}

static void one_channel_is_enough(void) {
  rig_t r;
  eg_mcu_config_t config = rig_config();
  config.policy.channels = config.policy.members = config.policy.signals = 1;
  config.host_channel[EG_STEERING] = EG_NONE;
  rig_start_with(&r, &config);
  r.channels = 1;
  rig_arm(&r);
  r.want[0] = Q(3);
  rig_turns(&r, 300);
  CHECK(rig_out(&r, EG_SPEED) == Q(3) && rig_out(&r, EG_STEERING) == 0, "%d", rig_out(&r, 0));
  CHECK(r.boot.self_test == 0, "self test %x", r.boot.self_test);
}

static void lateral_limits_hold_over_speed(void) {
  rig_t r;
  rig_drive(&r, Q(20), 1600);
  r.want[EG_STEERING] = Q(0.5);
  rig_turns(&r, 200);
  CHECK(rig_out(&r, EG_STEERING) <= Q(0.0136), "%d at 20 m/s", rig_out(&r, EG_STEERING));
}

static void the_clock_may_wrap(void) { /* F20 */
  rig_t r;
  rig_start(&r);
  r.twin.now_us = r.twin.turn_us = UINT32_MAX - 3000000u;
  r.host_ahead_us = 1500000u; /* the host's wraps at another time */
  eg_twin_boot(&r.twin);
  CHECK(rig_arm(&r) == EG_ARM_OK, "result %u", r.armed.result);
  r.want[EG_SPEED] = Q(10);
  uint32_t strokes = r.twin.strokes;
  for (int t = 0; t < 600; t++) {
    gentle_turn(&r);
    CHECK(r.state.mode == EG_NOMINAL, "trips at the wrap: causes %x", r.state.causes);
  }
  CHECK(r.twin.strokes == strokes + 600, "%u strokes", r.twin.strokes);
  CHECK(rig_out(&r, EG_SPEED) > Q(8.5), "does not drive");
}

static void a_babbling_host_starves_nothing(void) { /* F17 */
  rig_t r;
  rig_drive(&r, Q(10), 300);
  uint8_t noise[700];
  memset(noise, 0x55, sizeof noise);
  uint32_t strokes = r.twin.strokes;
  for (int t = 0; t < 100; t++) {
    uint32_t before = r.twin.rx_used;
    uint32_t came = eg_twin_receive(&r.twin, noise, sizeof noise);
    eg_twin_listen(&r.twin);
    rig_step(&r);
    uint32_t taken = before + came - r.twin.rx_used;
    CHECK(taken <= 2 * EG_RX_PER_TURN, "%u bytes in a turn", taken);
  }
  CHECK(r.twin.strokes == strokes + 100, "%u strokes", r.twin.strokes - strokes);
  CHECK(r.twin.mcu.out.mode == EG_SAFE_STOP && rig_out(&r, EG_SPEED) < Q(1), "%d", rig_out(&r, 0));
}

static void a_full_transmitter_delays_nothing(void) {
  rig_t r;
  rig_drive(&r, Q(10), 300);
  r.twin.tx_full = 1;
  uint32_t strokes = r.twin.strokes;
  rig_turns(&r, 20);
  CHECK(r.twin.strokes == strokes + 20, "strokes %u", r.twin.strokes - strokes);
  CHECK(rig_out(&r, EG_SPEED) < Q(4.5), "questions that nobody can answer: it stops");
}

static void the_log_head_comes_back(void) {
  rig_t r;
  rig_drive(&r, 0, 10);
  eg_message_t m = {.type = EG_MSG_LOG_HEAD};
  m.as.log_head.sequence = 77;
  m.as.log_head.hash[5] = 9;
  rig_say(&r, &m);
  r.twin.tx_full = 1;
  rig_turn(&r);
  CHECK(r.seen[EG_MSG_LOG_ACK] == 0, "said it without a transmitter");
  r.twin.tx_full = 0;
  rig_turns(&r, 2);
  CHECK(r.seen[EG_MSG_LOG_ACK] == 1, "%u acknowledgements", r.seen[EG_MSG_LOG_ACK]);
  CHECK(r.head.sequence == 77 && r.head.hash[5] == 9, "another head");
}

/* Whoever arms next is told once how far the log of the host before went. */
static void the_next_session_hears_of_the_log_head(void) {
  rig_t r;
  rig_drive(&r, 0, 10);
  CHECK(r.seen[EG_MSG_LOG_ACK] == 0, "of a head that nobody sent");
  eg_message_t m = {.type = EG_MSG_LOG_HEAD};
  m.as.log_head.sequence = 77;
  m.as.log_head.hash[5] = 9;
  rig_say(&r, &m);
  rig_turns(&r, 2);
  memset(&r.head, 0, sizeof r.head);
  r.speed = 0;
  CHECK(rig_arm(&r) == EG_ARM_OK, "does not arm again");
  rig_turns(&r, 20);
  CHECK(r.seen[EG_MSG_LOG_ACK] == 2, "%u acknowledgements", r.seen[EG_MSG_LOG_ACK]);
  CHECK(r.head.sequence == 77 && r.head.hash[5] == 9, "another head");
}

int main(void) {
  ramps_both_ways();
  clamps_to_its_own_table();
  follows_what_is_measured_while_inactive();
  the_hosts_fallback_drives_too();
  a_channel_that_is_not_sent_is_not_heard();
  channels_may_come_in_any_order();
  one_channel_is_enough();
  lateral_limits_hold_over_speed();
  the_clock_may_wrap();
  a_babbling_host_starves_nothing();
  a_full_transmitter_delays_nothing();
  the_log_head_comes_back();
  the_next_session_hears_of_the_log_head();
  return 0;
}
