/* SPDX-License-Identifier: Apache-2.0 */
#include "arith.h"
#include "edgeguard/core.h"
#include "edgeguard/flow.h"

#define DRAIN 8u /* absence drains 1/8 as fast as presence fills: see eg_debounce_step */

bool eg_debounce_step(const eg_cause_row_t *row, eg_debounce_t *d, bool active, bool present,
                      uint32_t elapsed_us) {
  if (present) {
    uint32_t level_us = eg_age_add(d->level_us, elapsed_us);
    bool full = level_us >= row->on_us;
    d->level_us = full ? row->on_us : level_us;
    d->quiet_us = 0;
    return active || full;
  }
  uint32_t drained = elapsed_us / DRAIN;
  d->level_us = d->level_us > drained ? d->level_us - drained : 0;
  d->quiet_us = eg_age_add(d->quiet_us, elapsed_us);
  if (!active || row->clears != EG_CLEARS_ITSELF || d->quiet_us < row->off_us) return active;
  d->level_us = 0;
  return false;
}

/* What was present counts for as long as it may have been; what was absent counts only for time
 * that was watched: a clock that stood, ran back or jumped proves no absence. */
static uint32_t credit_us(const eg_policy_t *p, bool present, uint32_t elapsed_us) {
  bool watched = elapsed_us != 0 && elapsed_us <= p->max_gap_us;
  if (watched) return elapsed_us;
  return present ? p->max_gap_us : 0;
}

void eg_causes_update(const eg_policy_t *p, eg_state_t *s, uint32_t present, uint32_t elapsed_us) {
  for (uint32_t c = 0; c < EG_CAUSES; c++) {
    bool was = (s->active & EG_BIT(c)) != 0, is = (present & EG_BIT(c)) != 0;
    uint32_t step_us = credit_us(p, is, elapsed_us);
    bool acts = eg_debounce_step(&p->cause[c], &s->debounce[c], was, is, step_us);
    s->active = acts ? s->active | EG_BIT(c) : s->active & ~EG_BIT(c);
  }
  s->present = present;
  eg_flow_fold(s, EG_CHECK_CAUSES, eg_crc_u32(eg_crc_u32(EG_CRC_START, s->active), present));
}

bool eg_asks_operator(const eg_policy_t *p, uint32_t causes) {
  for (uint32_t c = 0; c < EG_CAUSES; c++)
    if ((causes & EG_BIT(c)) && p->cause[c].asks_operator) return true;
  return false;
}

eg_mode_t eg_worst(const eg_policy_t *p, uint32_t causes) {
  uint8_t worst = EG_NOMINAL;
  for (uint32_t c = 0; c < EG_CAUSES; c++)
    if ((causes & EG_BIT(c)) && p->cause[c].severity > worst) worst = p->cause[c].severity;
  return (eg_mode_t)worst;
}

eg_mode_t eg_mode(const eg_policy_t *p, const eg_state_t *s) {
  return s->armed ? eg_worst(p, s->active) : EG_SAFE_STOP;
}

eg_rearm_t eg_rearm(const eg_policy_t *p, eg_state_t *s) {
  if (!s->armed) return EG_REARM_UNARMED;
  if (!s->standstill) return EG_REARM_MOVING;
  uint32_t waiting = 0;
  for (uint32_t c = 0; c < EG_CAUSES; c++) {
    const eg_cause_row_t *row = &p->cause[c];
    if (!(s->active & EG_BIT(c)) || row->clears != EG_CLEARS_BY_REARM) continue;
    if ((s->present & EG_BIT(c)) || s->debounce[c].quiet_us < row->off_us)
      return EG_REARM_CAUSE_PRESENT;
    waiting |= EG_BIT(c);
  }
  for (uint32_t c = 0; c < EG_CAUSES; c++)
    if (waiting & EG_BIT(c)) s->debounce[c].level_us = 0;
  s->active &= ~waiting;
  s->taken_over = 0;
  return EG_REARMED;
}
