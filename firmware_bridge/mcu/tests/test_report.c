/* SPDX-License-Identifier: Apache-2.0 */
/* What the host is told. */
#include "rig.h"

static void what_is_measured(void) {
  rig_t r;
  rig_steady(&r);
  r.follows = 0;
  r.speed = Q(9.5);
  r.steering = Q(-0.01);
  rig_turn(&r);
  CHECK(r.state.measured_valid == 3 && r.state.speed == Q(9.5), "speed %d", r.state.speed);
  CHECK(r.state.steering == Q(-0.01), "steering %d", r.state.steering);
  CHECK(r.state.stamp_us == r.twin.now_us, "at %u, not %u", r.state.stamp_us, r.twin.now_us);
  CHECK(r.state.output[EG_SPEED] == Q(10), "output %d", r.state.output[EG_SPEED]);
}

static void nothing_where_nothing_is(void) {
  static const uint8_t unusable[] = {EG_ABSENT, EG_INVALID};
  for (uint32_t i = 0; i < 2; i++) {
    rig_t r;
    rig_steady(&r);
    r.twin.sensed.speed.validity = r.twin.sensed.steering.validity = unusable[i];
    r.follows = 0;
    r.speed = Q(9);
    r.steering = Q(0.01);
    rig_turn(&r);
    CHECK(!r.state.measured_valid, "says that it measures");
    CHECK(r.state.speed == 0 && r.state.steering == 0, "%d %d", r.state.speed, r.state.steering);
  }
}

/* A wire that breaks is no angle of 0. */
static void one_of_the_two(void) {
  for (uint32_t i = 0; i < 2; i++) {
    rig_t r;
    rig_steady(&r);
    if (i == 0) r.twin.sensed.steering.validity = EG_INVALID;
    if (i == 1) r.twin.sensed.speed.validity = EG_INVALID;
    r.follows = 0;
    r.speed = Q(9);
    r.steering = Q(0.01);
    rig_turn(&r);
    CHECK(r.state.measured_valid == i + 1u, "%u", r.state.measured_valid);
    CHECK(r.state.speed == (i ? 0 : Q(9)), "speed %d", r.state.speed);
    CHECK(r.state.steering == (i ? Q(0.01) : 0), "steering %d", r.state.steering);
  }
}

/* The speed's suggestion: with one channel there is no other. */
static void how_old_the_command_is(void) {
  rig_t r;
  eg_mcu_config_t config = rig_config();
  config.policy.channels = config.policy.members = config.policy.signals = 1;
  rig_start_with(&r, &config);
  r.channels = 1;
  CHECK(rig_arm(&r) == EG_ARM_OK, "result %u", r.armed.result);
  r.command_age_us = 3000;
  rig_turns(&r, 10);
  uint32_t age_us = 3000 + TURN_US - r.answer_after_us;
  uint32_t most_us = age_us + r.armed.round_trip_us; /* what nobody can know counts as age */
  CHECK(r.state.command_age_us >= age_us && r.state.command_age_us <= most_us, "%u us",
        r.state.command_age_us);
}

static void what_the_actuators_got(void) {
  rig_t r;
  rig_steady(&r);
  r.want[EG_STEERING] = Q(0.03);
  rig_turns(&r, 100);
  CHECK(r.state.output[EG_SPEED] == Q(10), "speed %d", r.state.output[EG_SPEED]);
  CHECK(r.state.output[EG_STEERING] == Q(0.03), "steering %d", r.state.output[EG_STEERING]);
}

static void until_when_to_answer(void) {
  rig_t r;
  rig_drive(&r, 0, 10);
  CHECK(r.asked.open_us == EG_ANSWER_OPEN_US, "%u us", r.asked.open_us);
  CHECK(r.asked.close_us == EG_ANSWER_CLOSE_US, "%u us", r.asked.close_us);
}

/* Bytes that one turn sends. */
static uint32_t sent_after(rig_t *r, uint32_t us) {
  r->twin.now_us += us;
  eg_twin_step(&r->twin);
  uint32_t n = r->twin.tx_used;
  r->twin.tx_used = 0;
  return n;
}

static uint32_t sent(rig_t *r) {
  return sent_after(r, TURN_US);
}

/* An open question is not asked in every turn: then there is nothing to ask. */
static void no_question_that_is_none(void) {
  rig_t r;
  rig_drive(&r, 0, 10);
  const uint32_t short_us = EG_QUESTION_AGAIN_US / 2u + 1u; /* asked again in every second turn */
  uint32_t one = sent_after(&r, short_us), next = sent_after(&r, short_us);
  CHECK(one > next + 8u || next > one + 8u, "%u bytes, then %u", one, next);
}

/* Without a session STATE and now and then BOOT, with one STATE and QUESTION. */
static void nothing_that_is_not_asked_for(void) {
  rig_t r;
  rig_start(&r);
  uint32_t first = sent(&r), state = sent(&r), boots = 1;
  CHECK(first > state + EG_HASH_BYTES, "%u bytes, then %u", first, state);
  for (int t = 3; t <= 60; t++) {
    uint32_t n = sent(&r);
    CHECK(n <= state + 2 || n + 2 >= first, "%u bytes in turn %d", n, t); /* stuffing */
    boots += n > state + 2;
  }
  CHECK(boots == 6, "%u times in 60 turns", boots);
  CHECK(r.twin.mcu.heard.watchdog.question == 0, "asks where nobody can answer");
  rig_drive(&r, 0, 10);
  for (int t = 0; t < 12; t++) {
    rig_turn(&r);
    CHECK(r.sent < first, "BOOT in a session: %u bytes", r.sent);
  }
}

/* Who is not there any more gets no answer. */
static void no_head_after_the_session(void) {
  rig_t r;
  rig_drive(&r, 0, 10);
  eg_message_t m = {.type = EG_MSG_LOG_HEAD};
  m.as.log_head.sequence = 7;
  rig_say(&r, &m);
  r.twin.tx_full = 1;
  r.mute = 1;
  rig_turns(&r, 20);
  r.twin.tx_full = 0;
  for (int t = 0; t < 20; t++) {
    rig_turn(&r);
    CHECK(!r.twin.mcu.heard.link.in_session && r.twin.mcu.heard.head_came, "said to nobody");
    CHECK(r.twin.mcu.heard.watchdog.question == 0, "asks nobody");
  }
}

int main(void) {
  what_is_measured();
  nothing_where_nothing_is();
  one_of_the_two();
  how_old_the_command_is();
  what_the_actuators_got();
  until_when_to_answer();
  no_question_that_is_none();
  nothing_that_is_not_asked_for();
  no_head_after_the_session();
  return 0;
}
