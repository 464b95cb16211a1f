/* SPDX-License-Identifier: Apache-2.0 */
/* What vote.c promises. */
#ifndef EDGEGUARD_CONTRACTS_VOTE_H
#define EDGEGUARD_CONTRACTS_VOTE_H

#include "contracts_perceive.h"
#include "well_formed.h"

static bool votable(const eg_policy_t *p, const eg_state_t *s, uint32_t channel) {
  const eg_channel_t *c = &p->channel[channel];
  return demand_ok(&c->demand[0]) && demand_ok(&c->demand[1]) && ALL_MEMBERS(SPEAKS_ITS_KIND) &&
         all_held_ok(p, s);
}

/* Members that say something on a channel. */
static uint8_t voting(const eg_policy_t *p, const eg_state_t *s, uint32_t channel) {
#define VOTES(i) ((i) < p->members && may(p, i, channel) && s->member[i].held)
  return VOTES(0) + VOTES(1) + VOTES(2) + VOTES(3) + VOTES(4) + VOTES(5) + VOTES(6) + VOTES(7);
}

#define CHANNEL p->channel[channel]
#define TARGET s->channel[channel].target

uint32_t eg_vote(const eg_policy_t *p, eg_state_t *s, uint8_t channel, bool trusted,
                 eg_command_t *out)
    REQUIRES(READS(p) && WRITES(s) && WRITES(out) && sizes_ok(p) && channel < p->channels)
        REQUIRES(votable(p, s, channel) && CHANNEL.kind <= EG_BY_VALUE && out->granted == 0)
            ASSIGNS(s->channel[channel].target, out->label, out->certainty, out->votes, out->voters,
                    out->granted)
    /* VOTE-2 */ ENSURES(out->voters == voting(p, s, channel))
        ENSURES(out->votes <= out->voters && out->granted <= 1)
    /* VOTE-3 */ ENSURES(IMPLIES(!trusted, out->granted == 0))
    /* VOTE-3 */ ENSURES(IMPLIES(out->granted == 0, TARGET == OLD(TARGET)))
    /* VOTE-5 */ ENSURES(IMPLIES(
        out->granted,
        out->votes >= LEAST_QUORUM(&CHANNEL) &&
            out->votes >= CHANNEL.demand[TARGET > OLD(TARGET) ? EG_RAISE : EG_LOWER].quorum &&
            TARGET != OLD(TARGET)))
    /* VOTE-4 */ ENSURES(IMPLIES(out->voters < LEAST_QUORUM(&CHANNEL),
                                 RET == EG_BIT(EG_STALE_MODEL)))
        ENSURES((RET &
                 ~(EG_BIT(EG_STALE_MODEL) | EG_BIT(EG_DISAGREEMENT) | EG_BIT(EG_LOW_CERTAINTY) |
                   EG_BIT(EG_OPERATION_DENIED) | EG_BIT(EG_UNAUTHORIZED_SUGGESTION))) == 0);

uint32_t eg_votes_update(const eg_policy_t *p, eg_state_t *s, bool trusted, eg_decision_t *out)
    REQUIRES(READS(p) && WRITES(s) && WRITES(out) && policy_ok(p) && all_held_ok(p, s))
        REQUIRES(out->channel[0].granted == 0 && out->channel[1].granted == 0 &&
                 out->channel[2].granted == 0 && out->channel[3].granted == 0)
            ASSIGNS(s->channel[0].target, s->channel[1].target, s->channel[2].target,
                    s->channel[3].target, out->channel, s->flow, s->check[EG_CHECK_VOTES])
    /* VOTE-3 */ ENSURES(IMPLIES(ONE_CHANNEL && !trusted, OUT.granted == 0))
    /* VOTE-3 */ ENSURES(IMPLIES(ONE_CHANNEL &&OUT.granted == 0, HERE.target == OLD(HERE.target)))
    /* VOTE-4 */ ENSURES(IMPLIES(ONE_CHANNEL &&OUT.voters < LEAST_QUORUM(&p->channel[a_channel]),
                                 HAS(RET, EG_STALE_MODEL)))
        ENSURES(IMPLIES(ONE_CHANNEL, OUT.voters == voting(p, s, a_channel)))
    /* FLOW-1 */ ENSURES(FOLDED(s, EG_CHECK_VOTES));

#endif
