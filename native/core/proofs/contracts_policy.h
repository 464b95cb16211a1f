/* SPDX-License-Identifier: Apache-2.0 */
/* What policy.c promises. */
#ifndef EDGEGUARD_CONTRACTS_POLICY_H
#define EDGEGUARD_CONTRACTS_POLICY_H

#include "contracts_vote.h"
#include "well_formed.h"

const char *eg_policy_check(const eg_policy_t *p) REQUIRES(READS(p))
    REQUIRES(p->labels == 0 || p->label == NULL ||
             __CPROVER_r_ok(p->label, p->labels * sizeof *p->label)) ASSIGNS()
    /* POL-1 */ ENSURES(IMPLIES(RET == NULL, sizes_ok(p)))
    /* POL-1 */ ENSURES(IMPLIES(RET == NULL, causes_ok(p)))
    /* POL-1 */ ENSURES(IMPLIES(RET == NULL, detectors_ok(p) && members_ok(p) && camera_rows_ok(p)))
    /* POL-1 */ ENSURES(IMPLIES(RET == NULL && ONE_CHANNEL, channel_row_ok(p, a_channel)))
    /* POL-1 */ ENSURES(IMPLIES(RET == NULL && ONE_CHANNEL && ONE_MEMBER &&
                                    may(p, a_member, a_channel),
                                p->member[a_member].kind == p->channel[a_channel].kind))
    /* POL-1 */ ENSURES(
        IMPLIES(RET == NULL && ONE_CHANNEL,
                table_ok(&p->channel[a_channel].nominal, p->channel[a_channel].stop) &&
                    table_ok(&p->channel[a_channel].degraded, p->channel[a_channel].stop)))
    /* POL-1 */ ENSURES(IMPLIES(RET == NULL, label_ok(p, a_label)));

#endif
