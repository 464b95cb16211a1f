/* SPDX-License-Identifier: Apache-2.0 */
#include "edgeguard/message.h"

/* One walk over a message's fields serves both directions, so that they cannot disagree. */
typedef struct {
  const uint8_t *from; /* where it is read, or NULL */
  uint8_t *to;         /* where it is written, or NULL */
  uint8_t at;
  bool wrong; /* a field has a value that there is not */
} walk_t;

/* Little-endian, `bytes` of it. */
static void number(walk_t *w, uint32_t *x, uint32_t bytes) {
  uint32_t got = 0;
  for (uint32_t i = 0; i < bytes; i++) {
    uint8_t byte = w->from ? w->from[w->at] : (uint8_t)(*x >> (8u * i));
    if (w->to) w->to[w->at] = byte;
    got |= (uint32_t)byte << (8u * i);
    w->at++;
  }
  *x = got;
}

/* At most `most`, or the message is wrong. */
static void u8(walk_t *w, uint8_t *x, uint32_t most) {
  uint32_t wide = *x;
  number(w, &wide, 1);
  *x = (uint8_t)wide;
  if (wide > most) w->wrong = true;
}

static void u16(walk_t *w, uint16_t *x) {
  uint32_t wide = *x;
  number(w, &wide, 2);
  *x = (uint16_t)wide;
}

static void u32(walk_t *w, uint32_t *x) {
  number(w, x, 4);
}

static void i32(walk_t *w, int32_t *x) {
  uint32_t wide = (uint32_t)*x;
  number(w, &wide, 4);
  *x = (int32_t)wide;
}

static void bytes(walk_t *w, uint8_t *x, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) u8(w, &x[i], UINT8_MAX);
}

/* ---------------------------------------------------------------- the types */

static void hello(walk_t *w, eg_message_t *m) {
  bytes(w, m->as.hello.nonce, EG_NONCE_BYTES);
  bytes(w, m->as.hello.policy, EG_HASH_BYTES);
}

static void arm(walk_t *w, eg_message_t *m) {
  bytes(w, m->as.arm.nonce, EG_NONCE_BYTES);
  bytes(w, m->as.arm.token, sizeof m->as.arm.token);
  u32(w, &m->as.arm.stamp_us);
}

static void command(walk_t *w, eg_message_t *m) {
  eg_command_msg_t *c = &m->as.command;
  u32(w, &c->tick);
  u32(w, &c->stamp_us);
  u8(w, &c->mode, EG_SAFE_STOP);
  u8(w, &c->engaged, 1);
  u8(w, &c->channels, EG_MAX_CHANNELS);
  for (uint32_t i = 0; i < EG_MAX_CHANNELS; i++) i32(w, &c->command[i]);
}

static void verdict(walk_t *w, eg_message_t *m) {
  eg_verdict_t *v = &m->as.verdict;
  u32(w, &v->tick);
  u32(w, &v->causes);
  u32(w, &v->present);
  u8(w, &v->mode, EG_SAFE_STOP);
  u8(w, &v->operator_request, 1);
  bytes(w, v->votes, EG_MAX_CHANNELS);
  bytes(w, v->voters, EG_MAX_CHANNELS);
}

static void answer(walk_t *w, eg_message_t *m) {
  eg_answer_t *a = &m->as.answer;
  u32(w, &a->tick);
  u32(w, &a->question);
  u32(w, &a->answer);
  for (uint32_t i = 0; i < EG_CHECKS; i++) u32(w, &a->check[i]);
}

static void log_head(walk_t *w, eg_message_t *m) {
  u32(w, &m->as.log_head.sequence);
  bytes(w, m->as.log_head.hash, EG_HASH_BYTES);
}

static void challenge(walk_t *w, eg_message_t *m) {
  bytes(w, m->as.challenge.host_nonce, EG_NONCE_BYTES);
  bytes(w, m->as.challenge.nonce, EG_NONCE_BYTES);
  u8(w, &m->as.challenge.policy_agrees, 1);
  u8(w, &m->as.challenge.authenticated, 1);
}

static void armed(walk_t *w, eg_message_t *m) {
  u8(w, &m->as.armed.result, EG_ARM_RESULTS - 1);
  u32(w, &m->as.armed.round_trip_us);
  u32(w, &m->as.armed.causes);
}

static void state(walk_t *w, eg_message_t *m) {
  eg_state_msg_t *s = &m->as.state;
  u32(w, &s->stamp_us);
  u32(w, &s->causes);
  u32(w, &s->command_age_us);
  u8(w, &s->mode, EG_SAFE_STOP);
  u8(w, &s->measured_valid, 3);
  i32(w, &s->speed);
  i32(w, &s->steering);
  for (uint32_t i = 0; i < 2; i++) i32(w, &s->output[i]);
}

static void question(walk_t *w, eg_message_t *m) {
  u32(w, &m->as.question.question);
  u16(w, &m->as.question.open_us);
  u16(w, &m->as.question.close_us);
  if (m->as.question.question == 0) w->wrong = true;
}

static void boot(walk_t *w, eg_message_t *m) {
  u8(w, &m->as.boot.reason, EG_RESETS - 1);
  u8(w, &m->as.boot.first, EG_RESETS - 1);
  u16(w, &m->as.boot.resets);
  u32(w, &m->as.boot.self_test);
  bytes(w, m->as.boot.policy, EG_HASH_BYTES);
}

/* -------------------------------------------------------------- all of them */

static void of_host(walk_t *w, eg_message_t *m) {
  switch ((eg_message_type_t)m->type) {
  case EG_MSG_HELLO: hello(w, m); break;
  case EG_MSG_ARM: arm(w, m); break;
  case EG_MSG_COMMAND: command(w, m); break;
  case EG_MSG_VERDICT: verdict(w, m); break;
  case EG_MSG_ANSWER: answer(w, m); break;
  default: log_head(w, m); break;
  }
}

static void of_mcu(walk_t *w, eg_message_t *m) {
  switch ((eg_message_type_t)m->type) {
  case EG_MSG_CHALLENGE: challenge(w, m); break;
  case EG_MSG_ARMED: armed(w, m); break;
  case EG_MSG_STATE: state(w, m); break;
  case EG_MSG_QUESTION: question(w, m); break;
  case EG_MSG_LOG_ACK: log_head(w, m); break;
  default: boot(w, m); break;
  }
}

static void walk(walk_t *w, eg_message_t *m) {
  if (m->type < EG_MSG_CHALLENGE)
    of_host(w, m);
  else
    of_mcu(w, m);
}

#define ID_BASE (0x45470000u | (EG_LINK_VERSION << 8)) /* "EG", version, code */

/* The codes are words of the extended Hamming code (8, 4): any two differ in at least 4 bits. */
static const struct {
  uint8_t size, code;
} types[EG_MESSAGES] = {
    [EG_MSG_HELLO] = {40, 0x0F},     [EG_MSG_ARM] = {20, 0x33},    [EG_MSG_COMMAND] = {27, 0x3C},
    [EG_MSG_VERDICT] = {22, 0x55},   [EG_MSG_ANSWER] = {40, 0x5A}, [EG_MSG_LOG_HEAD] = {36, 0x66},
    [EG_MSG_CHALLENGE] = {18, 0x69}, [EG_MSG_ARMED] = {9, 0x96},   [EG_MSG_STATE] = {30, 0x99},
    [EG_MSG_QUESTION] = {8, 0xA5},   [EG_MSG_BOOT] = {40, 0xAA},   [EG_MSG_LOG_ACK] = {36, 0xC3},
};

uint16_t eg_message_size(uint8_t type) {
  return type < EG_MESSAGES ? types[type].size : 0;
}

uint16_t eg_message_pack(const eg_message_t *m, uint8_t payload[EG_PAYLOAD_MAX]) {
  uint16_t n = eg_message_size(m->type);
  if (n == 0) return 0;
  eg_message_t copy = *m; /* a walk may write, though this one does not */
  walk_t w = {.to = payload};
  walk(&w, &copy);
  return n;
}

bool eg_message_unpack(const uint8_t *payload, uint16_t n, eg_message_t *m) {
  uint16_t size = eg_message_size(m->type);
  if (size == 0 || n != size) return false;
  walk_t w = {.from = payload};
  walk(&w, m);
  return !w.wrong;
}

uint32_t eg_message_data_id(eg_message_type_t type) {
  return ID_BASE | types[type].code;
}

uint8_t eg_message_type(uint32_t data_id) {
  uint8_t t = 0;
  while (t < EG_MESSAGES && data_id != eg_message_data_id((eg_message_type_t)t)) t++;
  return t;
}
