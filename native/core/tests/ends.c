/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ends.h"

static const uint8_t key[EG_KEY_BYTES] = {7, 1, 2, 3, 4, 5, 6, 9, 8, 10, 11, 12, 13, 14, 15, 16};
static const uint8_t host_nonce[EG_NONCE_BYTES] = {1, 2, 3, 4, 5, 6, 7, 8};
static const uint8_t mcu_nonce[EG_NONCE_BYTES] = {21, 32, 43, 54, 65, 76, 87, 98};

ends_t ends_apart(uint8_t authenticated) {
  ends_t e;
  memset(&e, 0xA5, sizeof e); /* whatever was in memory */
  e.tick = 0;
  eg_link_config_t config = {
      .authenticated = authenticated, .period_us = PERIOD_US, .max_age_us = 2 * PERIOD_US};
  memcpy(config.key, key, sizeof key);
  eg_link_init(&e.host, &config);
  config.mcu = 1;
  eg_link_init(&e.mcu, &config);
  e.now_us = 1000000;
  return e;
}

ends_t ends_together(uint8_t authenticated) {
  ends_t e = ends_apart(authenticated);
  uint32_t mcu_us = e.now_us + SKEW_US;
  (void)eg_clock_measure(&e.mcu.clock, mcu_us - TRIP_US / 2, mcu_us + TRIP_US / 2, e.now_us);
  eg_link_open(&e.mcu, host_nonce, mcu_nonce);
  eg_link_open(&e.host, host_nonce, mcu_nonce);
  return e;
}

static eg_message_t of_host(uint8_t type) {
  eg_message_t m = {.type = type};
  switch (type) {
  case EG_MSG_HELLO:
    m.as.hello = (eg_hello_t){{1, 2, 3, 4, 5, 6, 7, 8}, {9, 10, 11, [31] = 12}};
    break;
  case EG_MSG_ARM: m.as.arm = (eg_arm_t){{1, [7] = 2}, {3, [7] = 4}, 0x05060708}; break;
  case EG_MSG_COMMAND:
    m.as.command = (eg_command_msg_t){0x01020304, 0x05060708, EG_FALLBACK, 1, 2, {-9, 10, 11, -12}};
    break;
  case EG_MSG_VERDICT:
    m.as.verdict = (eg_verdict_t){0x01020304, 0x05060708,   0x090A0B0C,    EG_DEGRADED,
                                  1,          {1, 2, 3, 4}, {5, 6, 7, 255}};
    break;
  case EG_MSG_ANSWER:
    m.as.answer = (eg_answer_t){0x01020304, 0x05060708, 0x090A0B0C, {1, 2, 3, 4, 5, 6, 0x80000007}};
    break;
  default: m.as.log_head = (eg_log_head_t){0x01020304, {5, 6, 7, [31] = 8}}; break;
  }
  return m;
}

static eg_message_t of_mcu(uint8_t type) {
  eg_message_t m = {.type = type};
  switch (type) {
  case EG_MSG_CHALLENGE: m.as.challenge = (eg_challenge_t){{1, [7] = 2}, {3, [7] = 4}, 1, 0}; break;
  case EG_MSG_ARMED: m.as.armed = (eg_armed_t){EG_ARM_TOKEN, 0x01020304, 0x05060708}; break;
  case EG_MSG_STATE:
    m.as.state =
        (eg_state_msg_t){0x01020304, 0x05060708, 0x090A0B0C, EG_SAFE_STOP, 1, -5, 6, {7, -8}};
    break;
  case EG_MSG_QUESTION: m.as.question = (eg_question_t){0x01020304, 0x0506, 0x0708}; break;
  case EG_MSG_BOOT:
    m.as.boot = (eg_boot_t){EG_RESET_FAULT, EG_RESET_WATCHDOG, 0x0102, 0x03040506, {7, [31] = 8}};
    break;
  default: m.as.log_head = (eg_log_head_t){0x01020304, {5, 6, 7, [31] = 8}}; break;
  }
  return m;
}

eg_message_t ends_message(uint8_t type) {
  return ends_is_of_host(type) ? of_host(type) : of_mcu(type);
}

bool ends_is_of_host(uint8_t type) {
  return type < EG_MSG_CHALLENGE;
}

eg_link_t *ends_sender(ends_t *e, uint8_t type) {
  return ends_is_of_host(type) ? &e->host : &e->mcu;
}

eg_link_t *ends_receiver(ends_t *e, uint8_t type) {
  return ends_is_of_host(type) ? &e->mcu : &e->host;
}

uint32_t ends_clock(const ends_t *e, uint8_t type) {
  return ends_is_of_host(type) ? e->now_us + SKEW_US : e->now_us;
}

eg_message_t ends_command(const ends_t *e) {
  eg_message_t m = ends_message(EG_MSG_COMMAND);
  m.as.command.tick = e->tick;
  m.as.command.stamp_us = e->now_us;
  return m;
}

uint16_t ends_frame(ends_t *e, const eg_message_t *m, uint8_t frame[EG_FRAME_MAX]) {
  return eg_link_frame(ends_sender(e, m->type), m, frame);
}

bool ends_accept(ends_t *e, uint8_t type, const uint8_t *frame, uint16_t length) {
  eg_message_t said;
  return eg_link_accept(ends_receiver(e, type), frame, length, ends_clock(e, type), &said);
}

bool ends_pass(ends_t *e, const eg_message_t *m) {
  uint8_t frame[EG_FRAME_MAX];
  return ends_accept(e, m->type, frame, ends_frame(e, m, frame));
}

void ends_seal(const eg_link_t *sender, uint8_t type, uint16_t counter, uint8_t *frame,
               uint16_t length) {
  eg_e2e_protect(frame, length, counter, eg_message_data_id((eg_message_type_t)type));
  uint8_t fresh[EG_FRESH_BYTES] = {0};
  memcpy(fresh, sender->session, EG_SESSION_BYTES);
  eg_cmac(sender->config.key, fresh, sizeof fresh, frame, length, frame + length);
}

uint32_t ends_tick(eg_link_t *l, uint32_t elapsed_us) {
  eg_link_pass(l, elapsed_us);
  return eg_link_tick(l);
}

uint32_t ends_period(ends_t *e, uint8_t type) {
  e->now_us += PERIOD_US;
  e->tick++;
  uint32_t of_mcu = ends_tick(&e->mcu, PERIOD_US), of_host = ends_tick(&e->host, PERIOD_US);
  return ends_is_of_host(type) ? of_mcu : of_host;
}

uint32_t ends_counted(const eg_link_counts_t *c) {
  return c->accepted + c->repeated + c->reordered + c->corrupted + c->masked + c->forged +
         c->malformed + c->stale + c->future + c->excess + c->unarmed;
}
