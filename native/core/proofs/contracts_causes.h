/* SPDX-License-Identifier: Apache-2.0 */
/* What causes.c promises. */
#ifndef EDGEGUARD_CONTRACTS_CAUSES_H
#define EDGEGUARD_CONTRACTS_CAUSES_H

#include "contracts_time.h"
#include "well_formed.h"

#define CREDIT(p, present, elapsed)                                                                \
  (WATCHED(p, elapsed) ? (elapsed) : (present) ? (p)->max_gap_us : 0)

bool eg_debounce_step(const eg_cause_row_t *row, eg_debounce_t *d, bool active, bool present,
                      uint32_t elapsed_us) REQUIRES(READS(row) && WRITES(d)) ASSIGNS(*d)
    /* DEB-1 */ ENSURES(IMPLIES(!active && !RET,
                                8 * (uint64_t)d->level_us + (present ? 0 : elapsed_us) >=
                                    8 * ((uint64_t)OLD(d->level_us) + (present ? elapsed_us : 0))))
    /* DEB-1 */ ENSURES(IMPLIES(present && !RET, d->level_us < row->on_us))
    /* DEB-1 */ ENSURES(IMPLIES(!RET, d->level_us <= OLD(d->level_us) || present))
    /* DEB-2 */ ENSURES(IMPLIES(active && !RET, !present && row->clears == EG_CLEARS_ITSELF &&
                                                    d->quiet_us >= row->off_us && d->level_us == 0))
    /* DEB-2 */ ENSURES(d->quiet_us == (present ? 0 : AGED(OLD(d->quiet_us), elapsed_us)))
    /* DEB-3 */ ENSURES(IMPLIES(!active && RET, present && d->level_us >= row->on_us))
    /* LATCH-1 */ ENSURES(IMPLIES(active && row->clears != EG_CLEARS_ITSELF, RET));

#define DEBOUNCE s->debounce[a_cause]
#define IS_PRESENT HAS(present, a_cause)
#define CREDIT_US CREDIT(p, IS_PRESENT, elapsed_us)

void eg_causes_update(const eg_policy_t *p, eg_state_t *s, uint32_t present, uint32_t elapsed_us)
    REQUIRES(READS(p) && WRITES(s))
        ASSIGNS(s->active, s->present, s->debounce, s->flow, s->check[EG_CHECK_CAUSES])
            ENSURES(s->present == present)
    /* LATCH-1 */ ENSURES(IMPLIES(HAS(OLD(s->active), a_cause) &&
                                      p->cause[a_cause].clears != EG_CLEARS_ITSELF,
                                  HAS(s->active, a_cause)))
    /* DEB-1 */ ENSURES(IMPLIES(!HAS(OLD(s->active), a_cause) && !HAS(s->active, a_cause),
                                8 * (uint64_t)DEBOUNCE.level_us + (IS_PRESENT ? 0 : CREDIT_US) >=
                                    8 * ((uint64_t)OLD(DEBOUNCE.level_us) +
                                         (IS_PRESENT ? CREDIT_US : 0))))
    /* DEB-2 */ ENSURES(IMPLIES(HAS(OLD(s->active), a_cause) && !HAS(s->active, a_cause),
                                !IS_PRESENT && AGED(OLD(DEBOUNCE.quiet_us), CREDIT_US) >=
                                                   p->cause[a_cause].off_us))
    /* DEB-3 */ ENSURES(IMPLIES(!HAS(OLD(s->active), a_cause) && HAS(s->active, a_cause),
                                IS_PRESENT))
    /* DEB-4 */ ENSURES(IMPLIES(IS_PRESENT && p->cause[a_cause].on_us == 0,
                                HAS(s->active, a_cause)))
    /* FLOW-1 */ ENSURES(FOLDED(s, EG_CHECK_CAUSES));

static bool somebody_asks(const eg_policy_t *p, uint32_t causes) {
#define ASKS_NOBODY(c) (!HAS(causes, c) || !p->cause[c].asks_operator)
  return !(ALL_CAUSES(ASKS_NOBODY));
}

bool eg_asks_operator(const eg_policy_t *p, uint32_t causes) REQUIRES(READS(p)) ASSIGNS()
    ENSURES(RET == somebody_asks(p, causes));

static bool has_severity(const eg_policy_t *p, uint32_t causes, uint32_t severity) {
#define OTHER_THAN_THAT(c) (!HAS(causes, c) || p->cause[c].severity != severity)
  return !(ALL_CAUSES(OTHER_THAN_THAT));
}

eg_mode_t eg_mode(const eg_policy_t *p, const eg_state_t *s)
    REQUIRES(READS(p) && READS(s) && causes_ok(p)) ASSIGNS()
    /* STOP-2 */ ENSURES(IMPLIES(!s->armed, RET == EG_SAFE_STOP))
    /* MODE-1 */ ENSURES(RET == mode_of(p, s) && RET <= EG_SAFE_STOP);

eg_mode_t eg_worst(const eg_policy_t *p, uint32_t causes) REQUIRES(READS(p) && causes_ok(p))
    ASSIGNS()
    /* MODE-1 */ ENSURES(IMPLIES(HAS(causes, a_cause), RET >= p->cause[a_cause].severity))
    /* MODE-1 */ ENSURES(RET == EG_NOMINAL || has_severity(p, causes, (uint32_t)RET))
        ENSURES(RET == worst_of(p, causes) && RET <= EG_SAFE_STOP);

#define WAITS (HAS(OLD(s->active), a_cause) && p->cause[a_cause].clears == EG_CLEARS_BY_REARM)

eg_rearm_t eg_rearm(const eg_policy_t *p, eg_state_t *s) REQUIRES(READS(p) && WRITES(s))
    ASSIGNS(s->active, s->taken_over, s->debounce)
    /* LATCH-2 */ ENSURES(IMPLIES(RET != EG_REARMED,
                                  s->active == OLD(s->active) &&
                                      s->taken_over == OLD(s->taken_over) &&
                                      DEBOUNCE.level_us == OLD(DEBOUNCE.level_us)))
    /* LATCH-2 */ ENSURES(IMPLIES(RET == EG_REARMED, s->armed && s->standstill))
    /* LATCH-2 */ ENSURES(IMPLIES(RET == EG_REARMED && WAITS,
                                  !HAS(s->present, a_cause) &&
                                      OLD(DEBOUNCE.quiet_us) >= p->cause[a_cause].off_us &&
                                      !HAS(s->active, a_cause)))
    /* LATCH-3 */ ENSURES(IMPLIES(!WAITS, HAS(s->active, a_cause) == HAS(OLD(s->active), a_cause)));

#endif
