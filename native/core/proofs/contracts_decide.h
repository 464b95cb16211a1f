/* SPDX-License-Identifier: Apache-2.0 */
/* What decide.c promises. */
#ifndef EDGEGUARD_CONTRACTS_DECIDE_H
#define EDGEGUARD_CONTRACTS_DECIDE_H

#include "contracts_command.h"
#include "well_formed.h"

void eg_init(const eg_policy_t *p, eg_state_t *s) REQUIRES(READS(p) && WRITES(s) && sizes_ok(p))
    ASSIGNS(*s) ENSURES(all_held_ok(p, s) && cameras_ok(p, s))
    /* STOP-2 */ ENSURES(!s->armed && !s->taken_over && s->active == 0)
    /* TIME-1 */ ENSURES(IMPLIES(ONE_MEMBER, MEMBER.age_us == EG_AGE_MAX &&
                                                 MEMBER.newest_us == EG_AGE_MAX && !MEMBER.held));

#define LATCHED (HAS(OLD(s->active), a_cause) && p->cause[a_cause].clears != EG_CLEARS_ITSELF)

void eg_arm(const eg_policy_t *p, eg_state_t *s) REQUIRES(READS(p) && WRITES(s))
    ASSIGNS(s->armed, s->active, s->debounce)
    /* LATCH-2 */ ENSURES(IMPLIES(OLD(s->armed), s->active == OLD(s->active) &&
                                                     DEBOUNCE.level_us == OLD(DEBOUNCE.level_us) &&
                                                     s->armed == OLD(s->armed)))
    /* LATCH-4 */ ENSURES(IMPLIES(HAS(OLD(s->active), a_cause) && a_cause != EG_NOT_ARMED &&
                                      p->cause[a_cause].clears == EG_CLEARS_NEVER,
                                  HAS(s->active, a_cause)))
    /* STOP-2 */ ENSURES(IMPLIES(!OLD(s->armed), HAS(s->active, EG_STALE_MODEL))) ENSURES(s->armed);

void eg_takeover(eg_state_t *s) REQUIRES(WRITES(s)) ASSIGNS(s->taken_over)
    ENSURES(s->taken_over == 1);

#define MODE_OF_CAUSE p->cause[a_cause].severity
#define STOPPED (!OLD(s->armed) || (HAS(OLD(s->active), a_cause) && MODE_OF_CAUSE == EG_SAFE_STOP))
#define ACTS (HAS(s->active, a_cause))

void eg_decide(const eg_policy_t *p, eg_state_t *s, const eg_input_t *in, eg_decision_t *out)
    REQUIRES(READS(p) && WRITES(s) && READS(in) && WRITES(out))
        REQUIRES(policy_ok(p) && said_ok(p, in) && all_held_ok(p, s) && cameras_ok(p, s))
            ASSIGNS(*s, *out) ENSURES(all_held_ok(p, s) && cameras_ok(p, s))
                ENSURES(s->armed == OLD(s->armed) && s->taken_over == OLD(s->taken_over))
                    ENSURES(out->sequence == s->sequence &&
                            s->sequence == (uint32_t)(OLD(s->sequence) + 1u))
    /* MODE-1 */ ENSURES(out->causes == s->active && IMPLIES(ACTS, out->mode >= MODE_OF_CAUSE))
    /* MODE-1 */ ENSURES(out->mode == mode_of(p, s))
    /* STOP-1 */ ENSURES(IMPLIES(STOPPED, out->mode == EG_SAFE_STOP))
    /* LATCH-1 */ ENSURES(IMPLIES(LATCHED, ACTS))
    /* MODE-2 */ ENSURES(IMPLIES(HAS(in->missed, a_cause), HAS(out->present, a_cause)))
    /* MODE-2 */ ENSURES(IMPLIES(HAS(out->present, a_cause) && p->cause[a_cause].on_us == 0, ACTS))
    /* MODE-2 */ ENSURES(IMPLIES(!s->armed,
                                 HAS(out->present, EG_NOT_ARMED) && out->mode == EG_SAFE_STOP))
    /* MODE-3 */ ENSURES(IMPLIES(!in->rule_ok || in->rule_us > p->controller_budget_us,
                                 HAS(out->present, EG_CONTROLLER_LOST)))
    /* TIME-2 */ ENSURES(HAS(out->present, EG_TIME_FAULT) || WATCHED(p, in->elapsed_us))
    /* ENV-3 */ ENSURES(IMPLIES(OLD(s->conflict), HAS(out->present, EG_ENVELOPE_CONFLICT)))
    /* TIME-1 */ ENSURES(IMPLIES(ONE_MEMBER &&MEMBER.held,
                                 MEMBER.age_us <= p->member[a_member].max_age_us))
    /* TIME-1 */ ENSURES(IMPLIES(
        ONE_MEMBER, MEMBER.age_us == AGED(OLD(MEMBER.age_us), STEP_US(p, in->elapsed_us)) ||
                        (NEW_INFERENCE(s, in, a_member) && MEMBER.age_us == SAYS.age_us &&
                         LIVES(p, in, a_member) &&
                         SAYS.age_us <= AGED(OLD(MEMBER.newest_us), STEP_US(p, in->elapsed_us)))))
    /* TIME-1 */ ENSURES(IMPLIES(ONE_MEMBER &&MEMBER.held && !OLD(MEMBER.held),
                                 NEW_INFERENCE(s, in, a_member) && MEMBER.age_us == SAYS.age_us))
    /* VOTE-3 */ ENSURES(IMPLIES(ONE_CHANNEL &&HAS(in->missed, a_cause) &&
                                     MODE_OF_CAUSE >= EG_FALLBACK,
                                 OUT.granted == 0))
    /* VOTE-4 */ ENSURES(IMPLIES(ONE_CHANNEL &&OUT.voters < LEAST_QUORUM(&p->channel[a_channel]),
                                 HAS(out->present, EG_STALE_MODEL)))
    /* ENV-4 */ ENSURES(out->active == ((in->engaged || in->engaged_unknown) && !s->taken_over))
    /* ENV-4 */ ENSURES(IMPLIES(ONE_CHANNEL && !out->active && OLD(HERE.started),
                                IDLES(a_channel, OLD(HERE.last), OUT.command)))
    /* ENV-5 */ ENSURES(IMPLIES(ONE_CHANNEL && out->active && OLD(HERE.started),
                                BOUNDED(a_channel, OLD(HERE.last), OUT.command)))
    /* ENV-1 */ ENSURES(IMPLIES(ONE_CHANNEL && out->active && OLD(HERE.started) &&
                                    POSSIBLE(a_channel, OLD(HERE.last)),
                                WITHIN(a_channel, OUT.command)))
    /* ENV-2 */ ENSURES(IMPLIES(ONE_CHANNEL && out->active && OLD(HERE.started),
                                RETURNS(a_channel, OLD(HERE.last), OUT.command)))
    /* ENV-3 */ ENSURES(IMPLIES(ONE_CHANNEL && out->active && OLD(HERE.started) &&
                                    !WITHIN(a_channel, OUT.command),
                                s->conflict))
    /* ENV-6 */ ENSURES(IMPLIES(ONE_CHANNEL && out->active && OLD(HERE.started) &&
                                    TO_BE_HAD(a_channel, OLD(HERE.last), OUT.want),
                                OUT.command == OUT.want))
    /* CMD-1 */ ENSURES(IMPLIES(ONE_CHANNEL && out->active && out->mode == EG_SAFE_STOP,
                                OUT.want == (p->channel[a_channel].manoeuvre && in->rule_ok
                                                 ? in->rule[a_channel]
                                                 : p->channel[a_channel].stop)))
    /* FLOW-1 */ ENSURES(out->question == in->question &&
                         out->answer == ANSWER(in->question, out->sequence, out->check));

#endif
