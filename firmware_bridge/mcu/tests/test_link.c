/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "rig.h"

#define RAMP_US 50000u /* from the last good frame to the start of the ramp */

/* Turns until the speed target begins to fall, as microseconds since `from_us`. */
static uint32_t until_ramp_us(rig_t *r, uint32_t from_us) {
  int32_t at = rig_out(r, EG_SPEED);
  for (int t = 0; t < 100 && rig_out(r, EG_SPEED) >= at; t++) rig_turn(r);
  CHECK(rig_out(r, EG_SPEED) < at, "no ramp: causes %x", r->state.causes);
  return r->twin.now_us - from_us;
}

/* To a standstill, by no more than 4.0 m/s2, and never up again. */
static void stops(rig_t *r, uint32_t cause) {
  for (int t = 0; t < 300; t++) {
    int32_t before = rig_out(r, EG_SPEED);
    rig_turn(r);
    CHECK(rig_out(r, EG_SPEED) <= before && before - rig_out(r, EG_SPEED) <= Q(0.04) + 1,
          "from %d to %d", before, rig_out(r, EG_SPEED));
    CHECK(r->twin.mcu.out.causes & EG_BIT(cause), "causes %x", r->twin.mcu.out.causes);
    CHECK(r->twin.mcu.out.mode == EG_SAFE_STOP, "mode %u", r->twin.mcu.out.mode);
  }
  CHECK(rig_out(r, EG_SPEED) == 0, "stopped at %d", rig_out(r, EG_SPEED));
}

static void silence_stops(void) { /* at any time of the loop's period */
  for (uint32_t after_us = 1000; after_us < TURN_US; after_us += 500) {
    rig_t r;
    rig_steady(&r);
    r.answer_after_us = after_us;
    rig_turns(&r, 3);
    uint32_t last_us = r.twin.now_us - TURN_US + after_us;
    uint32_t strokes = r.twin.strokes;
    r.mute = 1;
    uint32_t us = until_ramp_us(&r, last_us);
    CHECK(us <= RAMP_US, "ramp %u us after the last good frame, at %u", us, after_us);
    CHECK(!r.twin.mcu.heard.link.in_session, "goes on listening to who is lost");
    stops(&r, EG_LINK_LOST);
    CHECK(r.twin.strokes > strokes + 300, "the hardware watchdog is stroked all the same");
    CHECK(!r.twin.mcu.heard.link.in_session, "the session is over");
  }
}

static void garbage_stops(void) { /* F13 */
  rig_t r;
  rig_steady(&r);
  uint8_t noise[40];
  for (uint32_t i = 0; i < sizeof noise; i++) noise[i] = (uint8_t)(i * 37u);
  uint32_t last_us = r.twin.now_us - TURN_US + r.answer_after_us;
  int32_t at = rig_out(&r, EG_SPEED);
  for (int t = 0; t < 6; t++) {
    eg_twin_receive(&r.twin, noise, sizeof noise);
    rig_step(&r);
  }
  CHECK(rig_out(&r, EG_SPEED) < at && r.twin.now_us - last_us <= 70000, "no ramp");
  r.mute = 1;
  stops(&r, EG_LINK_LOST);
}

static void old_commands_are_refused(void) { /* F12 */
  rig_t r;
  rig_steady(&r);
  uint32_t last_us = r.twin.now_us - TURN_US + r.answer_after_us;
  r.command_age_us = 30000;
  r.want[EG_SPEED] = Q(30);
  uint32_t us = until_ramp_us(&r, last_us);
  CHECK(us <= RAMP_US, "ramp after %u us", us);
  CHECK(r.twin.mcu.heard.link.counts.stale > 0, "not counted as stale");
  stops(&r, EG_LINK_LOST);
}

/* F19: each way of not having checked. `prepare` breaks the host. */
static void answers(void (*prepare)(rig_t *r), const char *what) {
  rig_t r;
  rig_steady(&r);
  prepare(&r);
  uint32_t last_us = r.twin.now_us;
  uint32_t strokes = r.twin.strokes;
  r.want[EG_SPEED] = Q(30); /* the rest of the link is as it should be */
  uint32_t us = 0;
  for (; r.twin.mcu.out.mode != EG_SAFE_STOP && us < 1000000; us += TURN_US) rig_turn(&r);
  CHECK(r.twin.mcu.out.causes & EG_BIT(EG_ANSWER_WRONG), "%s: %x", what, r.twin.mcu.out.causes);
  CHECK((r.twin.mcu.out.causes & EG_BIT(EG_NOT_ARMED)) == 0, "%s: not armed", what);
  CHECK(r.twin.now_us - last_us <= RAMP_US + TURN_US, "%s: %u us", what, us);
  stops(&r, EG_ANSWER_WRONG);
  CHECK(r.twin.strokes > strokes + 300, "%s: the hardware watchdog is stroked all the same", what);
}

static void no_answer(rig_t *r) {
  r->no_answer = 1;
}
static void wrong_answer(rig_t *r) {
  r->flip = 0x80;
}
static void old_answer(rig_t *r) {
  r->answer_old = 1;
}
static void early_answer(rig_t *r) {
  r->answer_after_us = 100;
}
/* What the turn that asked took by itself is no time in which anybody answers. */
static void early_answer_after_a_long_turn(rig_t *r) {
  r->twin.call_us = 20;
  rig_turns(r, 5);
  r->answer_after_us = 20; /* taking it in takes time, too */
}

/* One frame that does not get there is no fault of the host. */
static void one_lost_frame_is_nothing(void) {
  const uint8_t types[] = {EG_MSG_COMMAND, EG_MSG_VERDICT, EG_MSG_ANSWER, EG_MSG_QUESTION};
  for (uint32_t i = 0; i < sizeof types; i++) {
    rig_t r;
    rig_steady(&r);
    for (int t = 0; t < 40; t++) {
      if (t % 10 == 0) r.lose = 1u << types[i];
      rig_turn(&r);
      CHECK(r.twin.mcu.out.mode == EG_NOMINAL, "type %u, turn %d: causes %x", types[i], t,
            r.twin.mcu.out.causes);
    }
    CHECK(r.lose == 0 && rig_out(&r, EG_SPEED) == Q(10), "type %u", types[i]);
  }
}

/* The answer was late, not lost, and the question was asked again meanwhile. */
static void an_answer_that_comes_twice_is_one(void) {
  rig_t r;
  rig_steady(&r);
  uint32_t asked = r.question;
  rig_turn(&r);
  CHECK(r.twin.mcu.heard.watchdog.last == asked, "not accepted");
  r.question = asked;
  rig_turns(&r, 50);
  CHECK(r.twin.mcu.out.mode == EG_NOMINAL, "causes %x", r.twin.mcu.out.causes);
}

static void a_host_that_answers_again_may_rearm(void) {
  rig_t r;
  rig_steady(&r);
  wrong_answer(&r);
  stops(&r, EG_ANSWER_WRONG);
  rig_turns(&r, 200);
  rig_arm(&r); /* one that does not is stopped again before it gets anywhere */
  rig_turns(&r, 20);
  CHECK(r.twin.mcu.out.mode == EG_SAFE_STOP && rig_out(&r, EG_SPEED) < Q(0.1), "drives");
  rig_turns(&r, 100);
  r.flip = 0;
  rig_turns(&r, 10);
  CHECK(rig_arm(&r) == EG_ARM_OK, "result %u", r.armed.result);
  rig_turns(&r, 100);
  CHECK(rig_out(&r, EG_SPEED) > Q(1) && r.state.mode == EG_NOMINAL, "causes %x", r.state.causes);
}

static void the_hosts_stop_is_a_stop(void) {
  rig_t r;
  rig_steady(&r);
  r.mode = EG_SAFE_STOP;
  rig_turn(&r);
  stops(&r, EG_PEER_STOPPED);
  r.mode = EG_NOMINAL;
  r.want[EG_SPEED] = Q(10);
  rig_turns(&r, 100);
  CHECK(rig_out(&r, EG_SPEED) == 0 && r.state.mode == EG_SAFE_STOP, "left without a re-arm");
}

static void good_and_bad_alternate(void) { /* F14, F22 */
  rig_t r;
  rig_steady(&r);
  int32_t at = rig_out(&r, EG_SPEED);
  int t = 0;
  for (; t < 64 && r.twin.mcu.out.mode != EG_SAFE_STOP; t++) {
    r.twice = t % 3 == 0; /* a fourth of them is a repetition */
    rig_turn(&r);
  }
  CHECK(t <= 32, "32 frames with 25 %% bad ones, and nothing: causes %x", r.state.causes);
  CHECK(r.twin.mcu.out.causes & EG_BIT(EG_LINK_FAULTY), "causes %x", r.twin.mcu.out.causes);
  r.twice = 0;
  stops(&r, EG_LINK_FAULTY);
  CHECK(at == Q(10), "drove");
}

static void another_key_is_not_heard(void) {
  rig_t r;
  rig_steady(&r);
  r.host.config.key[0] ^= 1u;
  rig_turns(&r, 8);
  CHECK(r.twin.mcu.heard.link.counts.forged > 0, "not counted as forged");
  r.mute = 1;
  stops(&r, EG_LINK_LOST);
}

static void flapping_does_not_chatter(void) { /* F22: gone for 60 ms, back for 60 ms, ... */
  rig_t r;
  rig_steady(&r);
  int32_t before = rig_out(&r, EG_SPEED);
  for (int t = 0; t < 600; t++) {
    r.mute = t / 6 % 2 == 0;
    rig_turn(&r);
    CHECK(rig_out(&r, EG_SPEED) <= before, "accelerates on a link that flaps");
    before = rig_out(&r, EG_SPEED);
  }
  CHECK(before == 0, "%d", before);
}

static void silence_while_a_person_drives_changes_nothing(void) {
  rig_t r;
  rig_steady(&r);
  r.engaged = 0;
  r.follows = 0;
  rig_turns(&r, 5);
  r.mute = 1;
  for (int t = 0; t < 200; t++) {
    r.speed += Q(0.01);
    rig_turn(&r);
    CHECK(rig_out(&r, EG_SPEED) == r.speed, "%d at %d", rig_out(&r, EG_SPEED), r.speed);
  }
}

/* A loop that stood for longer than the link may be silent finds a good frame at the end of that,
 * but no answer in time. */
static void a_good_frame_after_a_standstill_does_not_help(void) {
  rig_t r;
  rig_steady(&r);
  r.twin.now_us += 60000;
  rig_turn(&r);
  CHECK(r.twin.mcu.heard.link.in_session, "causes %x", r.twin.mcu.out.causes);
  CHECK(rig_out(&r, EG_SPEED) < Q(10), "%d", rig_out(&r, EG_SPEED));
  stops(&r, EG_ANSWER_WRONG);
}

/* The loop stood between hearing a frame and looking at it, until the link was lost. */
static void a_frame_from_the_turn_that_lost_it_counts_for_nothing(void) {
  rig_t r;
  rig_steady(&r);
  eg_message_t m = {.type = EG_MSG_COMMAND};
  m.as.command = (eg_command_msg_t){.tick = r.tick + 1u, /* and a person drives */
                                    .stamp_us = r.twin.now_us + r.host_ahead_us,
                                    .mode = EG_NOMINAL,
                                    .channels = r.channels};
  rig_say(&r, &m);
  CHECK(r.twin.mcu.heard.inbox.command.engaged == 0, "not heard");
  r.twin.now_us += 60000;
  rig_step(&r);
  CHECK(!r.twin.mcu.heard.link.in_session, "causes %x", r.twin.mcu.out.causes);
  CHECK(r.twin.mcu.out.active && rig_out(&r, EG_SPEED) < Q(10), "%d", rig_out(&r, EG_SPEED));
}

/* Silence counts from the last frame, not from the turn before it: from 9 ms on for `gap_us`. */
static void silence_for(uint32_t gap_us, bool lost) {
  rig_t r;
  rig_steady(&r);
  r.answer_after_us = 9000;
  rig_turns(&r, 3);
  uint32_t at_us = 9000 + gap_us;
  r.mute = 1;
  rig_turns(&r, at_us / TURN_US - 1);
  r.mute = 0;
  r.answer_after_us = at_us % TURN_US;
  rig_turn(&r);
  bool found = (r.twin.mcu.out.causes & EG_BIT(EG_LINK_LOST)) != 0;
  CHECK(found == lost, "%u us of silence: causes %x", gap_us, r.twin.mcu.out.causes);
  CHECK((r.twin.mcu.out.mode == EG_SAFE_STOP) == lost, "mode %u", r.twin.mcu.out.mode);
}

static void two_lost_frames_and_a_late_one_are_nothing(void) {
  for (uint32_t late_us = 0; late_us < 6000; late_us += 500) silence_for(30000 + late_us, false);
  silence_for(45000, true);
}

static void armed_is_engaged_until_a_command_says_otherwise(void) {
  rig_t r;
  rig_start(&r);
  rig_step(&r);
  CHECK(r.twin.mcu.kept.engaged == 1, "%u", r.twin.mcu.kept.engaged);
  CHECK(rig_arm(&r) == EG_ARM_OK, "result %u", r.armed.result);
  rig_step(&r);
  CHECK(r.twin.mcu.out.active, "inactive before the first command");
  r.engaged = 0;
  rig_turns(&r, 2);
  CHECK(!r.twin.mcu.out.active, "active after it");
}

static void everything_twice(rig_t *r) {
  r->twice = 1;
}

/* It gave cause for the stop: that nobody asks for commands any more would end it. */
static void a_host_that_was_found_wrong_does_not_end_the_stop(void) {
  static const struct {
    void (*prepare)(rig_t *r);
    uint32_t cause;
  } wrong[] = {{no_answer, EG_ANSWER_WRONG}, {everything_twice, EG_LINK_FAULTY}};
  for (uint32_t i = 0; i < 2; i++) {
    rig_t r;
    rig_steady(&r);
    wrong[i].prepare(&r);
    for (int t = 0; t < 30 && r.twin.mcu.out.mode != EG_SAFE_STOP; t++) rig_turn(&r);
    CHECK(r.twin.mcu.out.causes & EG_BIT(wrong[i].cause), "causes %x", r.twin.mcu.out.causes);
    r.engaged = 0;
    stops(&r, wrong[i].cause);
    CHECK(r.twin.mcu.heard.inbox.command.engaged == 0, "it was not heard");
    CHECK(r.twin.mcu.out.active && rig_out(&r, EG_SPEED) == 0, "out %d", rig_out(&r, EG_SPEED));
  }
}

/* Nor in the very turn in which it is found. */
static void not_even_at_once(void) {
  rig_t r;
  rig_steady(&r);
  r.flip = 0x80;
  r.engaged = 0;
  stops(&r, EG_ANSWER_WRONG);
}

/* One that stops by itself is right. */
static void a_person_may_take_over_in_the_hosts_stop(void) {
  rig_t r;
  rig_steady(&r);
  r.mode = EG_SAFE_STOP;
  rig_turns(&r, 5);
  r.engaged = 0;
  rig_turns(&r, 2);
  CHECK(!r.twin.mcu.out.active, "the person fights the stop: causes %x", r.state.causes);
}

/* Nothing of the old session counts. */
static void a_new_session_is_engaged_again(void) {
  rig_t r;
  rig_drive(&r, 0, 10);
  r.engaged = 0;
  rig_turns(&r, 5);
  CHECK(rig_arm(&r) == EG_ARM_OK, "result %u", r.armed.result);
  rig_step(&r);
  CHECK(r.twin.mcu.out.active, "inactive before the first command");
  CHECK(r.twin.mcu.kept.engaged == 1, "%u", r.twin.mcu.kept.engaged);
}

/* A person who drove when it was found wrong may hand over to the stop. */
static void but_it_may_begin_it(void) {
  rig_t r;
  rig_steady(&r);
  r.engaged = 0;
  rig_turns(&r, 5);
  no_answer(&r);
  rig_turns(&r, 20);
  CHECK(!r.twin.mcu.out.active, "takes the vehicle from the person");
  r.engaged = 1;
  rig_turns(&r, 2);
  CHECK(r.twin.mcu.out.active && r.twin.mcu.out.mode == EG_SAFE_STOP, "does not stop");
}

int main(void) {
  silence_stops();
  garbage_stops();
  old_commands_are_refused();
  answers(no_answer, "no answer");
  answers(wrong_answer, "wrong answer");
  answers(old_answer, "old answer");
  answers(early_answer, "early answer");
  answers(early_answer_after_a_long_turn, "early answer after a long turn");
  one_lost_frame_is_nothing();
  an_answer_that_comes_twice_is_one();
  a_host_that_answers_again_may_rearm();
  the_hosts_stop_is_a_stop();
  good_and_bad_alternate();
  another_key_is_not_heard();
  flapping_does_not_chatter();
  silence_while_a_person_drives_changes_nothing();
  a_good_frame_after_a_standstill_does_not_help();
  a_frame_from_the_turn_that_lost_it_counts_for_nothing();
  two_lost_frames_and_a_late_one_are_nothing();
  armed_is_engaged_until_a_command_says_otherwise();
  a_host_that_was_found_wrong_does_not_end_the_stop();
  not_even_at_once();
  a_person_may_take_over_in_the_hosts_stop();
  a_new_session_is_engaged_again();
  but_it_may_begin_it();
  return 0;
}
