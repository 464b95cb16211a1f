/* SPDX-License-Identifier: Apache-2.0 */
/* What command.c promises. */
#ifndef EDGEGUARD_CONTRACTS_COMMAND_H
#define EDGEGUARD_CONTRACTS_COMMAND_H

#include "contracts_envelope.h"
#include "contracts_vote.h"
#include "well_formed.h"

#define MEASURED(p, in, i)                                                                         \
  ((p)->channel[i].measured != EG_NONE && SIGNAL_OK(p, in, (p)->channel[i].measured))
#define MEASURED_VALUE(p, in, i) SIGNAL_VALUE(in, (p)->channel[i].measured)

/* The limits of a channel in this step are what limits_now returns, by definition: it reads nothing
 * but its arguments, so they are some function of these. */
int32_t __CPROVER_uninterpreted_limit(uint32_t which, const eg_policy_t *p, const eg_input_t *in,
                                      const eg_channel_t *c, uint32_t mode);
#define LIMIT(which, c, mode) __CPROVER_uninterpreted_limit(which, p, in, c, mode)
#define LIMIT_OF(which, i) LIMIT(which, &p->channel[i], out->mode)
#define MIN_OF(i) LIMIT_OF(0, i)
#define MAX_OF(i) LIMIT_OF(1, i)
#define LOWEST(i, last) ((int64_t)(last) - LIMIT_OF(2, i))
#define HIGHEST(i, last) ((int64_t)(last) + LIMIT_OF(3, i))

/* The law of the envelope for channel i: from `last` to `next`, where `want` is wanted. */
#define BOUNDED(i, last, next) ((next) >= LOWEST(i, last) && (next) <= HIGHEST(i, last))
#define WITHIN(i, x) ((x) >= MIN_OF(i) && (x) <= MAX_OF(i))
#define POSSIBLE(i, last) (LOWEST(i, last) <= MAX_OF(i) && HIGHEST(i, last) >= MIN_OF(i))
#define RETURNS(i, last, next)                                                                     \
  (IMPLIES(LOWEST(i, last) > MAX_OF(i), (next) == LOWEST(i, last)) &&                              \
   IMPLIES(HIGHEST(i, last) < MIN_OF(i), (next) == HIGHEST(i, last)))
#define TO_BE_HAD(i, last, want) (WITHIN(i, want) && BOUNDED(i, last, want))
/* While nobody asks: what is measured; what it was, while that is lost; to its stop command, where
 * nothing measures it. */
#define IDLES(i, last, next)                                                                       \
  (MEASURED(p, in, i) ? (next) == MEASURED_VALUE(p, in, i)                                         \
   : p->channel[i].measured != EG_NONE                                                             \
       ? (next) == (last)                                                                          \
       : BOUNDED(i, last, next) &&                                                                 \
             IMPLIES(TO_BE_HAD(i, last, p->channel[i].stop), (next) == p->channel[i].stop))

void eg_channels_start(const eg_policy_t *p, eg_state_t *s, const eg_input_t *in)
    REQUIRES(READS(p) && WRITES(s) && READS(in) && policy_ok(p)) ASSIGNS(s->channel)
    /* ENV-4 */ ENSURES(IMPLIES(ONE_CHANNEL &&OLD(HERE.started),
                                HERE.last == OLD(HERE.last) && HERE.target == OLD(HERE.target) &&
                                    HERE.started))
    /* ENV-4 */ ENSURES(IMPLIES(ONE_CHANNEL && !OLD(HERE.started),
                                HERE.target == HERE.last &&
                                    HERE.last == (MEASURED(p, in, a_channel)
                                                      ? MEASURED_VALUE(p, in, a_channel)
                                                      : p->channel[a_channel].stop)));

void eg_commands_update(const eg_policy_t *p, eg_state_t *s, const eg_input_t *in,
                        eg_decision_t *out)
    REQUIRES(READS(p) && WRITES(s) && READS(in) && WRITES(out) && policy_ok(p))
        REQUIRES(out->mode <= EG_SAFE_STOP)
            ASSIGNS(s->channel, s->conflict, out->channel, s->flow, s->check[EG_CHECK_COMMANDS])
    /* ENV-4 */ ENSURES(IMPLIES(ONE_CHANNEL && !out->active,
                                HERE.target == HERE.last && OUT.want == HERE.last &&
                                    IDLES(a_channel, OLD(HERE.last), HERE.last)))
    /* ENV-3 */ ENSURES(IMPLIES(!out->active, s->conflict == 0))
    /* ENV-5 */ ENSURES(IMPLIES(ONE_CHANNEL && out->active,
                                BOUNDED(a_channel, OLD(HERE.last), HERE.last)))
    /* ENV-1 */ ENSURES(IMPLIES(ONE_CHANNEL && out->active && POSSIBLE(a_channel, OLD(HERE.last)),
                                WITHIN(a_channel, HERE.last)))
    /* ENV-2 */ ENSURES(IMPLIES(ONE_CHANNEL && out->active,
                                RETURNS(a_channel, OLD(HERE.last), HERE.last)))
    /* ENV-3 */ ENSURES(IMPLIES(ONE_CHANNEL && out->active && !WITHIN(a_channel, HERE.last),
                                s->conflict))
    /* ENV-6 */ ENSURES(IMPLIES(ONE_CHANNEL && out->active &&
                                    TO_BE_HAD(a_channel, OLD(HERE.last), OUT.want),
                                HERE.last == OUT.want))
        ENSURES(IMPLIES(ONE_CHANNEL, OUT.command == HERE.last))
            ENSURES(IMPLIES(ONE_CHANNEL, OUT.voters == OLD(OUT.voters) &&
                                             (OUT.granted == 0 || OUT.granted == OLD(OUT.granted))))
    /* CMD-1 */ ENSURES(IMPLIES(ONE_CHANNEL && out->active && out->mode == EG_SAFE_STOP,
                                OUT.want == (p->channel[a_channel].manoeuvre && in->rule_ok
                                                 ? in->rule[a_channel]
                                                 : p->channel[a_channel].stop)))
    /* CMD-1 */ ENSURES(IMPLIES(ONE_CHANNEL && out->active && out->mode == EG_FALLBACK,
                                OUT.want == (in->rule_ok ? in->rule[a_channel]
                                                         : p->channel[a_channel].stop)))
    /* CMD-2 */ ENSURES(IMPLIES(ONE_CHANNEL && out->active && out->mode < EG_FALLBACK,
                                OUT.want == OLD(HERE.target)))
    /* CMD-2 */ ENSURES(IMPLIES(ONE_CHANNEL && (!out->active || out->mode >= EG_FALLBACK),
                                HERE.target == HERE.last && OUT.granted == 0))
    /* FLOW-1 */ ENSURES(FOLDED(s, EG_CHECK_COMMANDS));

#endif
