/* SPDX-License-Identifier: Apache-2.0 */
/* What time.c promises. */
#ifndef EDGEGUARD_CONTRACTS_TIME_H
#define EDGEGUARD_CONTRACTS_TIME_H

#include "contracts_flow.h"
#include "well_formed.h"

#define OF_MEMBER(s, i) (s)->member[i].age_us, (s)->member[i].newest_us
#define OF_FOUR(s, i)                                                                              \
  OF_MEMBER(s, i), OF_MEMBER(s, (i) + 1), OF_MEMBER(s, (i) + 2), OF_MEMBER(s, (i) + 3)
#ifdef EG_SMALL
#define AGES(s) OF_FOUR(s, 0), (s)->camera[0].age_us
#else
#define AGES(s)                                                                                    \
  OF_FOUR(s, 0), OF_FOUR(s, 4), (s)->camera[0].age_us, (s)->camera[1].age_us,                      \
      (s)->camera[2].age_us, (s)->camera[3].age_us
#endif

uint32_t eg_time_advance(const eg_policy_t *p, eg_state_t *s, uint32_t elapsed_us)
    REQUIRES(READS(p) && WRITES(s) && sizes_ok(p) && cameras_ok(p, s))
        ASSIGNS(AGES(s), s->repeated_us, s->flow, s->check[EG_CHECK_TIME]) ENSURES(cameras_ok(p, s))
    /* TIME-1 */ ENSURES(IMPLIES(a_member < p->members,
                                 s->member[a_member].age_us ==
                                     AGED(OLD(s->member[a_member].age_us), STEP_US(p, elapsed_us))))
    /* TIME-1 */ ENSURES(IMPLIES(a_member < p->members, s->member[a_member].newest_us ==
                                                            AGED(OLD(s->member[a_member].newest_us),
                                                                 STEP_US(p, elapsed_us))))
    /* TIME-1 */ ENSURES(IMPLIES(a_camera < p->cameras,
                                 s->camera[a_camera].age_us ==
                                     AGED(OLD(s->camera[a_camera].age_us), STEP_US(p, elapsed_us))))
    /* TIME-1 */ ENSURES(s->repeated_us == AGED(OLD(s->repeated_us), STEP_US(p, elapsed_us)))
    /* TIME-2 */ ENSURES(HAS(RET, EG_TIME_FAULT) == !WATCHED(p, elapsed_us))
    /* TIME-3 */ ENSURES(IMPLIES(WATCHED(p, elapsed_us),
                                 HAS(RET, EG_OVERRUN) == (elapsed_us / 2 > p->period_us)))
    /* FLOW-1 */ ENSURES(FOLDED(s, EG_CHECK_TIME));

#endif
