/* SPDX-License-Identifier: Apache-2.0 */
/* Evidence that every check ran, in order and in this step.
 *
 * The step opens with a question and its tick; each check, as its last act, folds its place and the
 * CRC of what it found into the running signature. The answer is what stands there after the last
 * check. Whoever knows question, tick and the CRCs can compute it; a loop that skips a check, runs
 * it twice or sends an old answer cannot hit it but by chance (2^-32). It finds faults, no
 * attackers: nothing here is secret. */
#ifndef EDGEGUARD_FLOW_H
#define EDGEGUARD_FLOW_H

#include "edgeguard/types.h"

/* CRC-32P4 of AUTOSAR (polynomial 0xF4ACFB13, reflected): start with EG_CRC_START, then feed
 * pieces; eg_crc_end gives the value. "123456789" gives 0x1697D06A. */
#define EG_CRC_START 0xFFFFFFFFu
uint32_t eg_crc(uint32_t crc, const uint8_t *data, uint32_t n);
uint32_t eg_crc_u32(uint32_t crc, uint32_t word); /* its bytes, lowest first */
uint32_t eg_crc_end(uint32_t crc);

void eg_flow_begin(eg_state_t *s, uint32_t question, uint32_t tick);
void eg_flow_fold(eg_state_t *s, eg_check_t check, uint32_t crc);

/* What the answer to `question` at `tick` must be, given what the checks found. */
uint32_t eg_flow_answer(uint32_t question, uint32_t tick, const uint32_t check[EG_CHECKS]);

#endif
