/* SPDX-License-Identifier: Apache-2.0 */
#include "edgeguard/flow.h"

static uint32_t opening(uint32_t question, uint32_t tick) {
  return eg_crc_u32(eg_crc_u32(EG_CRC_START, question), tick);
}

static uint32_t folded(uint32_t flow, uint32_t check, uint32_t crc) {
  return eg_crc_u32(eg_crc_u32(flow, check), crc);
}

void eg_flow_begin(eg_state_t *s, uint32_t question, uint32_t tick) {
  s->flow = opening(question, tick);
  for (uint32_t i = 0; i < EG_CHECKS; i++) s->check[i] = 0;
}

void eg_flow_fold(eg_state_t *s, eg_check_t check, uint32_t crc) {
  s->check[check] = eg_crc_end(crc);
  s->flow = folded(s->flow, (uint32_t)check, s->check[check]);
}

uint32_t eg_flow_answer(uint32_t question, uint32_t tick, const uint32_t check[EG_CHECKS]) {
  uint32_t flow = opening(question, tick);
  for (uint32_t i = 0; i < EG_CHECKS; i++) flow = folded(flow, i, check[i]);
  return eg_crc_end(flow);
}
