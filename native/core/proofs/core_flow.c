/* SPDX-License-Identifier: Apache-2.0 */
#include "contracts_flow.h"
#include "uninterpreted_crc.h"

#include "flow.c"

static uint32_t opening_c(uint32_t question, uint32_t tick) ASSIGNS()
    ENSURES(RET == CRC(CRC(EG_CRC_START, question), tick));

static uint32_t folded_c(uint32_t flow, uint32_t check, uint32_t crc) ASSIGNS()
    ENSURES(RET == CRC(CRC(flow, check), crc));

/*! enforce opening */
void prove_opening(void) {
  opening(nondet_u32(), nondet_u32());
  REACHED;
}

/*! enforce folded */
void prove_folded(void) {
  folded(nondet_u32(), nondet_u32(), nondet_u32());
  REACHED;
}

/*! enforce eg_flow_begin; replace opening */
void prove_flow_begin(void) {
  eg_state_t s;
  eg_flow_begin(&s, nondet_u32(), nondet_u32());
  REACHED;
}

/*! enforce eg_flow_fold; replace folded eg_crc_end */
void prove_flow_fold(void) {
  eg_state_t s;
  eg_check_t check;
  eg_flow_fold(&s, check, nondet_u32());
  REACHED;
}

/*! enforce eg_flow_answer; replace opening folded eg_crc_end */
void prove_flow_answer(void) {
  uint32_t check[EG_CHECKS];
  eg_flow_answer(nondet_u32(), nondet_u32(), check);
  REACHED;
}
