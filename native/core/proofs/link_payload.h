/* SPDX-License-Identifier: Apache-2.0 */
/* Where the message set has each field: a byte of the payload is found without a walk. */
#ifndef EDGEGUARD_LINK_PAYLOAD_H
#define EDGEGUARD_LINK_PAYLOAD_H

#include "link_contracts.h"

/* Numbers stand there as the bytes of their bits, whatever their sign: these conversions are meant.
 */
#pragma CPROVER check push
#pragma CPROVER check disable "conversion"

static uint8_t part(uint32_t x, uint32_t i) {
  return (uint8_t)(x >> (8u * (i % 4u)));
}

/* Of one of `n` numbers: with an index that is not known, CBMC 6.6 loses numbers of a union. */
static uint8_t part_of(const int32_t *x, uint32_t n, uint32_t i) {
  for (uint32_t k = 0; k < n; k++)
    if (k == i / 4u) return part((uint32_t)x[k], i);
  return 0;
}

static uint8_t part_of_check(const uint32_t *x, uint32_t i) {
  for (uint32_t k = 0; k < EG_CHECKS; k++)
    if (k == i / 4u) return part(x[k], i);
  return 0;
}

static uint8_t byte_of_host(const eg_message_t *m, uint8_t i) {
  switch (m->type) {
  case EG_MSG_HELLO: return i < 8 ? m->as.hello.nonce[i] : m->as.hello.policy[i - 8];
  case EG_MSG_ARM:
    return i < 8    ? m->as.arm.nonce[i]
           : i < 16 ? m->as.arm.token[i - 8]
                    : part(m->as.arm.stamp_us, i);
  case EG_MSG_COMMAND:
    return i < 4     ? part(m->as.command.tick, i)
           : i < 8   ? part(m->as.command.stamp_us, i)
           : i == 8  ? m->as.command.mode
           : i == 9  ? m->as.command.engaged
           : i == 10 ? m->as.command.channels
                     : part_of(m->as.command.command, EG_MAX_CHANNELS, i - 11u);
  case EG_MSG_VERDICT:
    return i < 4     ? part(m->as.verdict.tick, i)
           : i < 8   ? part(m->as.verdict.causes, i)
           : i < 12  ? part(m->as.verdict.present, i)
           : i == 12 ? m->as.verdict.mode
           : i == 13 ? m->as.verdict.operator_request
           : i < 18  ? m->as.verdict.votes[i - 14]
                     : m->as.verdict.voters[i - 18];
  case EG_MSG_ANSWER:
    return i < 4    ? part(m->as.answer.tick, i)
           : i < 8  ? part(m->as.answer.question, i)
           : i < 12 ? part(m->as.answer.answer, i)
                    : part_of_check(m->as.answer.check, i - 12u);
  default: return i < 4 ? part(m->as.log_head.sequence, i) : m->as.log_head.hash[i - 4];
  }
}

static uint8_t byte_of_mcu(const eg_message_t *m, uint8_t i) {
  switch (m->type) {
  case EG_MSG_CHALLENGE:
    return i < 8     ? m->as.challenge.host_nonce[i]
           : i < 16  ? m->as.challenge.nonce[i - 8]
           : i == 16 ? m->as.challenge.policy_agrees
                     : m->as.challenge.authenticated;
  case EG_MSG_ARMED:
    return i == 0  ? m->as.armed.result
           : i < 5 ? part(m->as.armed.round_trip_us, i - 1u)
                   : part(m->as.armed.causes, i - 5u);
  case EG_MSG_STATE:
    return i < 4     ? part(m->as.state.stamp_us, i)
           : i < 8   ? part(m->as.state.causes, i)
           : i < 12  ? part(m->as.state.command_age_us, i)
           : i == 12 ? m->as.state.mode
           : i == 13 ? m->as.state.measured_valid
           : i < 18  ? part((uint32_t)m->as.state.speed, i - 14u)
           : i < 22  ? part((uint32_t)m->as.state.steering, i - 18u)
                     : part_of(m->as.state.output, 2, i - 22u);
  case EG_MSG_QUESTION:
    return i < 4   ? part(m->as.question.question, i)
           : i < 6 ? part(m->as.question.open_us, i - 4u)
                   : part(m->as.question.close_us, i - 6u);
  case EG_MSG_BOOT:
    return i == 0   ? m->as.boot.reason
           : i == 1 ? m->as.boot.first
           : i < 4  ? part(m->as.boot.resets, i - 2u)
           : i < 8  ? part(m->as.boot.self_test, i)
                    : m->as.boot.policy[i - 8];
  default: return i < 4 ? part(m->as.log_head.sequence, i) : m->as.log_head.hash[i - 4];
  }
}
#pragma CPROVER check pop

/* The byte that was chosen. */
static uint8_t byte_of(const eg_message_t *m) {
  return m->type < EG_MSG_CHALLENGE ? byte_of_host(m, (uint8_t)a_byte)
                                    : byte_of_mcu(m, (uint8_t)a_byte);
}

#endif
