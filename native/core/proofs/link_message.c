/* SPDX-License-Identifier: Apache-2.0 */
#include "link_contracts.h"

/* Numbers are written as the bytes of their bits, whatever their sign: these conversions are meant.
 */
#pragma CPROVER check push
#pragma CPROVER check disable "conversion"
#include "message.c"
#pragma CPROVER check pop

/*! enforce eg_message_size */
void prove_message_size(void) {
  eg_message_size(nondet_u8());
  REACHED;
}

/*! enforce eg_message_data_id */
void prove_message_data_id(void) {
  eg_message_data_id((eg_message_type_t)nondet_u8());
  REACHED;
}

/*! enforce eg_message_type; unwind 14 */
void prove_message_type(void) {
  eg_message_type(nondet_u32());
  REACHED;
}

static uint32_t bits(uint32_t x) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < 32; i++) n += (x >> i) & 1u;
  return n;
}

/*! unwind 34 */
void prove_message_ids(void) {
  uint8_t a = nondet_u8(), b = nondet_u8();
  ASSUME(a < EG_MESSAGES && b < EG_MESSAGES && a != b);
  uint32_t id = eg_message_data_id((eg_message_type_t)a);
  CHECK(bits(id ^ eg_message_data_id((eg_message_type_t)b)) >= 4, "MESSAGE-4 far apart");
  CHECK(eg_message_type(id) == a, "MESSAGE-4 an id is of one type");
  uint32_t other = nondet_u32();
  ASSUME(other >> 8 != id >> 8);
  CHECK(eg_message_type(other) == EG_MESSAGES, "MESSAGE-4 another version has no types");
  REACHED;
}

/*! enforce eg_message_pack; replace eg_message_size; unwind 34; seconds 27 */
void prove_message_pack(void) {
  eg_message_t m;
  uint8_t payload[EG_PAYLOAD_MAX];
  eg_message_pack(&m, payload);
  REACHED;
}

/*! enforce eg_message_unpack; replace eg_message_size; unwind 34; seconds 31 */
void prove_message_unpack(void) {
  uint16_t n;
  uint8_t *payload = malloc(n);
  ASSUME(payload != NULL);
  eg_message_t m;
  eg_message_unpack(payload, n, &m);
  REACHED;
}

/* ------------------------------------------------------ one undoes the other */

/* Every field, by name. */
#define EQ(field) (a->as.field == b->as.field)
#define EQ2(f, i) (EQ(f[i]) && EQ(f[i + 1]))
#define EQ4(f, i) (EQ2(f, i) && EQ2(f, i + 2))
#define EQ8(f, i) (EQ4(f, i) && EQ4(f, i + 4))
#define EQ32(f) (EQ8(f, 0) && EQ8(f, 8) && EQ8(f, 16) && EQ8(f, 24))

static bool same_of_host(const eg_message_t *a, const eg_message_t *b) {
  switch (a->type) {
  case EG_MSG_HELLO: return EQ8(hello.nonce, 0) && EQ32(hello.policy);
  case EG_MSG_ARM: return EQ8(arm.nonce, 0) && EQ8(arm.token, 0) && EQ(arm.stamp_us);
  case EG_MSG_COMMAND:
    return EQ(command.tick) && EQ(command.stamp_us) && EQ(command.mode) && EQ(command.engaged) &&
           EQ(command.channels) && EQ4(command.command, 0);
  case EG_MSG_VERDICT:
    return EQ(verdict.tick) && EQ(verdict.causes) && EQ(verdict.present) && EQ(verdict.mode) &&
           EQ(verdict.operator_request) && EQ4(verdict.votes, 0) && EQ4(verdict.voters, 0);
  case EG_MSG_ANSWER:
    return EQ(answer.tick) && EQ(answer.question) && EQ(answer.answer) && EQ4(answer.check, 0) &&
           EQ2(answer.check, 4) && EQ(answer.check[6]);
  default: return EQ(log_head.sequence) && EQ32(log_head.hash);
  }
}

static bool same_of_mcu(const eg_message_t *a, const eg_message_t *b) {
  switch (a->type) {
  case EG_MSG_CHALLENGE:
    return EQ8(challenge.host_nonce, 0) && EQ8(challenge.nonce, 0) && EQ(challenge.policy_agrees) &&
           EQ(challenge.authenticated);
  case EG_MSG_ARMED: return EQ(armed.result) && EQ(armed.round_trip_us) && EQ(armed.causes);
  case EG_MSG_STATE:
    return EQ(state.stamp_us) && EQ(state.causes) && EQ(state.command_age_us) && EQ(state.mode) &&
           EQ(state.measured_valid) && EQ(state.speed) && EQ(state.steering) &&
           EQ2(state.output, 0);
  case EG_MSG_QUESTION:
    return EQ(question.question) && EQ(question.open_us) && EQ(question.close_us);
  case EG_MSG_BOOT:
    return EQ(boot.reason) && EQ(boot.first) && EQ(boot.resets) && EQ(boot.self_test) &&
           EQ32(boot.policy);
  default: return EQ(log_head.sequence) && EQ32(log_head.hash);
  }
}

/* Of a type that is known: as a number that is not, it costs far more. */
static bool inverse(uint8_t type) {
  eg_message_t m, back;
  uint8_t payload[EG_PAYLOAD_MAX];
  m.type = back.type = type;
  uint16_t n = eg_message_pack(&m, payload);
  bool good = eg_message_unpack(payload, n, &back);
  if (good != fields_ok(&m)) return false;
  return !good || (type < EG_MSG_CHALLENGE ? same_of_host(&m, &back) : same_of_mcu(&m, &back));
}

static bool one_form(uint8_t type) {
  eg_message_t m;
  uint8_t payload[EG_PAYLOAD_MAX], again[EG_PAYLOAD_MAX], i = nondet_u8();
  m.type = type;
  ASSUME(i < size_of(type));
  bool good = eg_message_unpack(payload, size_of(type), &m);
  eg_message_pack(&m, again);
  return !good || again[i] == payload[i];
}

/* Not with `fields` below 64: CBMC 6.6 then loses parts of a union of arrays. */
/*! unwind 34; object-bits 12; seconds 12 */
void prove_message_inverse(void) {
  for (uint8_t type = 0; type < EG_MESSAGES; type++)
    CHECK(inverse(type), "MESSAGE-1, MESSAGE-3 refused for a field out of range, or it comes back");
  REACHED;
}

/*! unwind 34; object-bits 12; seconds 17 */
void prove_message_one_form(void) {
  for (uint8_t type = 0; type < EG_MESSAGES; type++)
    CHECK(one_form(type), "MESSAGE-1 every byte comes back");
  REACHED;
}
