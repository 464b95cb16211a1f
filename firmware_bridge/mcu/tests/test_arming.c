/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "rig.h"

static void boots_safe_and_says_so(void) {
  rig_t r;
  rig_start(&r);
  rig_step(&r);
  CHECK(r.seen[EG_MSG_BOOT] == 1 && r.seen[EG_MSG_STATE] == 1, "first turn says nothing");
  CHECK(r.boot.reason == EG_RESET_POWER && r.boot.self_test == 0, "reason %u", r.boot.reason);
  CHECK(memcmp(r.boot.policy, r.hash, EG_HASH_BYTES) == 0, "another table");
  CHECK(r.state.mode == EG_SAFE_STOP && (r.state.causes & EG_BIT(EG_NOT_ARMED)), "not safe");
  rig_turns(&r, 20);
  CHECK(r.seen[EG_MSG_BOOT] == 3, "BOOT every 100 ms, got %u", r.seen[EG_MSG_BOOT]);
  CHECK(rig_out(&r, EG_SPEED) == 0 && r.twin.strokes == 21, "%u strokes", r.twin.strokes);
}

static void arms_and_obeys(void) {
  rig_t r;
  rig_drive(&r, Q(5), 100);
  CHECK(r.challenge.policy_agrees && r.challenge.authenticated, "challenge");
  CHECK(memcmp(r.challenge.host_nonce, r.nonce, EG_NONCE_BYTES) == 0, "answers another HELLO");
  CHECK(r.armed.round_trip_us == r.arm_delay_us, "round trip %u", r.armed.round_trip_us);
  CHECK(r.state.mode == EG_NOMINAL && r.state.causes == 0, "causes %x", r.state.causes);
  CHECK(rig_out(&r, EG_SPEED) > Q(1.3) && rig_out(&r, EG_SPEED) <= Q(1.5), "rise is the table's");
  CHECK(r.state.output[0] == rig_out(&r, EG_SPEED), "STATE says another output");
  CHECK(r.seen[EG_MSG_QUESTION] > 90, "%u questions", r.seen[EG_MSG_QUESTION]);
}

static void refused(uint32_t expected, rig_t *r) {
  CHECK(rig_arm(r) == expected, "result %u, not %u", r->armed.result, expected);
  CHECK(r->state.mode == EG_SAFE_STOP, "mode %u", r->state.mode);
  r->want[EG_SPEED] = Q(5);
  rig_turns(r, 50);
  CHECK(rig_out(r, EG_SPEED) == 0, "moves unarmed: %d", rig_out(r, EG_SPEED));
}

static void refuses_what_is_not_right(void) {
  rig_t r;
  rig_start(&r);
  r.operator_key[0] ^= 1u;
  refused(EG_ARM_TOKEN, &r);
  rig_start(&r);
  r.hash[31] ^= 1u;
  refused(EG_ARM_POLICY, &r);
  CHECK(!r.challenge.policy_agrees, "CHALLENGE does not say that tables differ");
  rig_start(&r);
  r.arm_delay_us = 24000;
  refused(EG_ARM_SLOW, &r);
  rig_start(&r);
  r.speed = Q(1);
  r.follows = 0;
  refused(EG_ARM_MOVING, &r);
  rig_start(&r);
  r.twin.sensed.speed.validity = EG_INVALID;
  refused(EG_ARM_CAUSE, &r);
  CHECK(r.armed.causes & EG_BIT(EG_INPUT_INVALID), "causes %x", r.armed.causes);
}

/* Any byte of the hash, in either direction. */
static void tables_must_agree_in_every_byte(void) {
  rig_t r;
  rig_start(&r);
  for (uint32_t i = 0; i < EG_HASH_BYTES; i++) {
    for (uint8_t bit = 1; bit <= 4; bit = (uint8_t)(bit * 4u)) {
      r.hash[i] ^= bit;
      rig_hello(&r);
      rig_step(&r);
      CHECK(!r.challenge.policy_agrees, "byte %u", i);
      r.hash[i] ^= bit;
    }
  }
  rig_hello(&r);
  rig_step(&r);
  CHECK(r.challenge.policy_agrees, "they do");
}

/* An ARM as it comes, with the nonce of the last CHALLENGE. */
static uint32_t arm_alone(rig_t *r) {
  r->armed.result = EG_ARM_TOO_OFTEN + 1;
  rig_ask_arm(r);
  rig_step(r);
  return r->armed.result;
}

static void a_nonce_is_good_once(void) {
  rig_t r;
  rig_start(&r);
  CHECK(arm_alone(&r) == EG_ARM_NONCE, "nothing was asked");
  CHECK(r.armed.round_trip_us == 0, "%u us since no challenge", r.armed.round_trip_us);
  r.operator_key[0] ^= 1u;
  CHECK(rig_arm(&r) == EG_ARM_TOKEN, "token");
  r.operator_key[0] ^= 1u;
  CHECK(arm_alone(&r) == EG_ARM_NONCE, "a second try with the same nonce");
  rig_hello(&r);
  rig_step(&r);
  r.challenge.nonce[3] ^= 1u;
  CHECK(arm_alone(&r) == EG_ARM_NONCE, "another nonce");
  rig_hello(&r);
  rig_step(&r);
  rig_hello(&r);
  CHECK(arm_alone(&r) == EG_ARM_NONCE, "a new HELLO ends the old challenge");
  CHECK(rig_arm(&r) == EG_ARM_OK, "result %u", r.armed.result);
}

static void nonces_differ(void) {
  rig_t r;
  uint8_t first[EG_NONCE_BYTES];
  rig_start(&r);
  rig_arm(&r);
  memcpy(first, r.challenge.nonce, sizeof first);
  rig_arm(&r);
  CHECK(memcmp(first, r.challenge.nonce, sizeof first) != 0, "the same nonce twice");
  rig_start(&r);
  r.twin.entropy[0] ^= 1u; /* another boot */
  eg_twin_boot(&r.twin);
  rig_arm(&r);
  CHECK(memcmp(first, r.challenge.nonce, sizeof first) != 0, "the same nonce after a reset");
}

static void put32(uint8_t *at, uint32_t x) {
  for (uint32_t i = 0; i < 4; i++) at[i] = (uint8_t)(x >> 8 * i);
}

/* All of the seed, all of the count and all of the time are in it, under the link's key. */
static void a_nonce_is_of_seed_count_and_time(void) {
  rig_t r;
  uint8_t seed[EG_ENTROPY_BYTES], count[8], nonce[EG_TAG_BYTES];
  rig_start(&r);
  for (uint32_t i = 0; i < sizeof seed; i++) r.twin.entropy[i] = seed[i] = (uint8_t)(0xA0u + i);
  r.twin.now_us = r.twin.turn_us = 0xB1C2D3E4u - TURN_US;
  eg_twin_boot(&r.twin);
  r.twin.mcu.heard.arming.nonces = 0x05060708u;
  eg_heard_seal(&r.twin.mcu);
  rig_hello(&r);
  rig_step(&r);
  put32(count, 0x05060709u);
  put32(count + 4, 0xB1C2D3E4u);
  eg_cmac(r.link_key, seed, sizeof seed, count, sizeof count, nonce);
  CHECK(memcmp(r.challenge.nonce, nonce, EG_NONCE_BYTES) == 0, "another nonce");
}

static void questions_begin_with_the_nonce(void) {
  rig_t r;
  eg_watchdog_t w;
  rig_start(&r);
  CHECK(rig_arm(&r) == EG_ARM_OK, "result %u", r.armed.result);
  eg_watchdog_init(&w, eg_crc_of(r.challenge.nonce, EG_NONCE_BYTES));
  CHECK(r.question == eg_watchdog_ask(&w), "question %x", r.question);
}

static void a_challenge_that_cannot_be_sent_is_none(void) {
  rig_t r;
  rig_start(&r);
  rig_hello(&r);
  r.twin.tx_full = 1;
  rig_step(&r);
  r.twin.tx_full = 0;
  CHECK(r.seen[EG_MSG_CHALLENGE] == 0 && arm_alone(&r) == EG_ARM_NONCE, "armed blindly");
}

static void three_a_minute(void) { /* F18 */
  rig_t r;
  rig_start(&r);
  for (int i = 0; i < 3; i++) CHECK(rig_arm(&r) == EG_ARM_OK, "%d: %u", i, r.armed.result);
  CHECK(rig_arm(&r) == EG_ARM_TOO_OFTEN, "a fourth: %u", r.armed.result);
  eg_twin_boot(&r.twin); /* a reset is no way around it */
  eg_link_close(&r.host);
  CHECK(rig_arm(&r) == EG_ARM_TOO_OFTEN, "after a reset: %u", r.armed.result);
  rig_turns(&r, 6000);
  CHECK(rig_arm(&r) == EG_ARM_OK, "a minute later: %u", r.armed.result);
}

/* To the microsecond; the turn of the ARM is the second after this. */
static void a_minute_is_a_minute(void) {
  for (uint32_t early_us = 0; early_us < 2; early_us++) {
    rig_t r;
    rig_start(&r);
    r.twin.record.arm_us[EG_ARMS_PER_MINUTE - 1u] = EG_ARM_SPAN_US - 2 * TURN_US - early_us;
    eg_record_save(&r.twin.record, r.twin.saved);
    uint32_t expected = early_us ? EG_ARM_TOO_OFTEN : EG_ARM_OK;
    CHECK(rig_arm(&r) == expected, "%u us early: %u", early_us, r.armed.result);
    CHECK(early_us || r.twin.record.arm_us[0] == 0, "armed %u us ago", r.twin.record.arm_us[0]);
  }
}

static void stop_by_link(rig_t *r) {
  r->mute = 1;
  rig_turns(r, 1000);
  eg_link_close(&r->host);
  rig_turns(r, 2);
  CHECK(r->state.causes & EG_BIT(EG_LINK_LOST), "causes %x", r->state.causes);
  CHECK(r->state.mode == EG_SAFE_STOP && rig_out(r, EG_SPEED) == 0, "out %d", rig_out(r, 0));
  r->mute = 0;
}

static void rearms_after_a_stop(void) {
  rig_t r;
  rig_drive(&r, Q(5), 100);
  stop_by_link(&r);
  rig_turns(&r, 100);
  CHECK(r.state.mode == EG_SAFE_STOP, "leaves SAFE_STOP by itself");
  CHECK(rig_arm(&r) == EG_ARM_OK, "result %u", r.armed.result);
  rig_turns(&r, 100);
  CHECK(r.state.mode == EG_NOMINAL && rig_out(&r, EG_SPEED) > Q(1), "causes %x", r.state.causes);
}

/* The session is new: what the host said in the old one counts no more. */
static void an_old_stop_of_the_host_is_over(void) {
  rig_t r;
  rig_drive(&r, 0, 10);
  r.mode = EG_SAFE_STOP;
  rig_turns(&r, 5);
  stop_by_link(&r);
  r.mode = EG_NOMINAL;
  CHECK(rig_arm(&r) == EG_ARM_OK, "result %u", r.armed.result);
  rig_step(&r);
  CHECK((r.state.causes & EG_BIT(EG_PEER_STOPPED)) == 0, "causes %x", r.state.causes);
}

static void rearming_needs_the_causes_gone(void) {
  rig_t r;
  rig_drive(&r, 0, 10);
  r.mode = EG_SAFE_STOP; /* PEER_STOPPED, for as long as the host says so */
  rig_turns(&r, 5);
  CHECK(r.state.causes & EG_BIT(EG_PEER_STOPPED), "causes %x", r.state.causes);
  CHECK(rig_arm(&r) == EG_ARM_CAUSE, "result %u", r.armed.result);
  CHECK(r.armed.causes & EG_BIT(EG_PEER_STOPPED), "causes %x", r.armed.causes);
  r.mode = EG_FALLBACK;
  rig_turns(&r, 2);
  CHECK(rig_arm(&r) == EG_ARM_OK, "result %u", r.armed.result);
  r.twin.sensed.speed.validity = EG_INVALID;
  rig_turns(&r, 20);
  r.twin.sensed.speed.validity = EG_VALID;
  rig_turns(&r, 1); /* absent, but not for its off time */
  CHECK(rig_arm(&r) == EG_ARM_CAUSE, "result %u", r.armed.result);
  rig_turns(&r, 10);
  CHECK(rig_arm(&r) == EG_ARM_OK, "result %u", r.armed.result);
}

static void what_never_clears_keeps_it_stopped(void) {
  rig_t r;
  eg_mcu_config_t config = rig_config();
  config.policy.cause[EG_INPUT_INVALID].clears = EG_CLEARS_NEVER;
  rig_start_with(&r, &config);
  CHECK(rig_arm(&r) == EG_ARM_OK, "result %u", r.armed.result);
  r.twin.sensed.speed.validity = EG_INVALID;
  rig_turns(&r, 20);
  r.twin.sensed.speed.validity = EG_VALID;
  rig_turns(&r, 100);
  CHECK(rig_arm(&r) == EG_ARM_CAUSE, "result %u", r.armed.result);
}

static void whichever_never_clears(void) {
  for (uint32_t c = 1; c < EG_CAUSES; c++) {
    rig_t r;
    eg_mcu_config_t config = rig_config();
    config.policy.cause[c].severity = EG_SAFE_STOP;
    config.policy.cause[c].clears = EG_CLEARS_NEVER;
    rig_start_with(&r, &config);
    r.twin.mcu.kept.state.active |= EG_BIT(c);
    r.twin.mcu.kept_crc = eg_crc_of(&r.twin.mcu.kept, sizeof r.twin.mcu.kept);
    CHECK(rig_arm(&r) == EG_ARM_CAUSE, "cause %u: result %u", c, r.armed.result);
  }
}

static void a_failed_self_test_does_not_arm(void) {
  rig_t r;
  rig_start(&r);
  r.twin.seal.known_answers ^= 1u;
  eg_twin_boot(&r.twin);
  CHECK(rig_arm(&r) == EG_ARM_CAUSE, "result %u", r.armed.result);
  CHECK(r.boot.self_test == EG_FAIL_CORE, "self test %x", r.boot.self_test);
}

int main(void) {
  boots_safe_and_says_so();
  arms_and_obeys();
  refuses_what_is_not_right();
  tables_must_agree_in_every_byte();
  a_nonce_is_good_once();
  nonces_differ();
  a_nonce_is_of_seed_count_and_time();
  questions_begin_with_the_nonce();
  a_challenge_that_cannot_be_sent_is_none();
  three_a_minute();
  a_minute_is_a_minute();
  an_old_stop_of_the_host_is_over();
  rearms_after_a_stop();
  rearming_needs_the_causes_gone();
  what_never_clears_keeps_it_stopped();
  whichever_never_clears();
  a_failed_self_test_does_not_arm();
  return 0;
}
