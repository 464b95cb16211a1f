/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of eg_policy_check promise it. */
#ifndef EDGEGUARD_POLICY_PARTS_H
#define EDGEGUARD_POLICY_PARTS_H

#include "contracts_policy.h"

#include "policy.c"

#define IS_NULL (RET == NULL)

static const char *check_causes_c(const eg_policy_t *p) REQUIRES(READS(p)) ASSIGNS()
    /* POL-1 */ ENSURES(IMPLIES(IS_NULL, causes_ok(p)));

static const char *check_channel_c(const eg_policy_t *p, uint8_t channel)
    REQUIRES(READS(p) && sizes_ok(p) && channel < p->channels) ASSIGNS()
    /* POL-1 */ ENSURES(IMPLIES(IS_NULL, channel_row_ok(p, channel)))
    /* POL-1 */ ENSURES(IMPLIES(IS_NULL && ONE_MEMBER && may(p, a_member, channel),
                                p->member[a_member].kind == p->channel[channel].kind))
    /* POL-1 */ ENSURES(
        IMPLIES(IS_NULL, table_ok(&p->channel[channel].nominal, p->channel[channel].stop) &&
                             table_ok(&p->channel[channel].degraded, p->channel[channel].stop)));

static const char *check_sizes_c(const eg_policy_t *p) REQUIRES(READS(p)) ASSIGNS()
    /* POL-1 */ ENSURES(IMPLIES(IS_NULL, sizes_ok(p)))
        ENSURES(IMPLIES(IS_NULL && p->labels > 0, p->label != NULL));

static const char *check_labels_c(const eg_policy_t *p) REQUIRES(READS(p) && sizes_ok(p))
    REQUIRES(p->labels == 0 || __CPROVER_r_ok(p->label, p->labels * sizeof *p->label)) ASSIGNS()
    /* POL-1 */ ENSURES(IMPLIES(IS_NULL &&a_label >= 0 && a_label < p->labels,
                                label_ok(p, a_label)));

static const char *check_parts_c(const eg_policy_t *p) REQUIRES(READS(p) && sizes_ok(p)) ASSIGNS()
    /* POL-1 */ ENSURES(IMPLIES(IS_NULL, detectors_ok(p) && members_ok(p) && camera_rows_ok(p)));

#endif
