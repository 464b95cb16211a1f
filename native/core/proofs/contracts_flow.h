/* SPDX-License-Identifier: Apache-2.0 */
/* What crc.c and flow.c promises. */
#ifndef EDGEGUARD_CONTRACTS_FLOW_H
#define EDGEGUARD_CONTRACTS_FLOW_H

#include "spec.h"

uint32_t eg_crc(uint32_t crc, const uint8_t *data, uint32_t n)
    REQUIRES(n <= 65535 && __CPROVER_r_ok(data, n)) ASSIGNS() ENSURES(true);

uint32_t eg_crc_end(uint32_t crc) ASSIGNS() ENSURES(RET == CRC_END(crc));

void eg_flow_begin(eg_state_t *s, uint32_t question, uint32_t tick) REQUIRES(WRITES(s))
    ASSIGNS(s->flow, s->check) ENSURES(s->flow == CRC(CRC(EG_CRC_START, question), tick));

void eg_flow_fold(eg_state_t *s, eg_check_t check, uint32_t crc)
    REQUIRES(WRITES(s) && (uint32_t)check < EG_CHECKS) ASSIGNS(s->flow, s->check[check])
        ENSURES(s->check[check] == CRC_END(crc) && FOLDED(s, check));

#define CHAIN(flow, k, check) CRC(CRC(flow, k), (check)[k])
#define ANSWER(question, tick, check)                                                              \
  CRC_END(                                                                                         \
      CHAIN(CHAIN(CHAIN(CHAIN(CHAIN(CHAIN(CHAIN(CRC(CRC(EG_CRC_START, question), tick), 0, check), \
                                          1, check),                                               \
                                    2, check),                                                     \
                              3, check),                                                           \
                        4, check),                                                                 \
                  5, check),                                                                       \
            6, check))

uint32_t eg_flow_answer(uint32_t question, uint32_t tick, const uint32_t check[EG_CHECKS])
    REQUIRES(__CPROVER_r_ok(check, EG_CHECKS * sizeof *check)) ASSIGNS()
        ENSURES(RET == ANSWER(question, tick, check));

#endif
