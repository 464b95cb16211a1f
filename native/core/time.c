/* SPDX-License-Identifier: Apache-2.0 */
#include "arith.h"
#include "edgeguard/core.h"
#include "edgeguard/flow.h"

/* A step uses one period's worth of a rate, so braking weakens beyond. */
#define OVERRUN_PERIODS 2u

/* The core keeps ages, never stamps: an age only grows, so nothing stale can look fresh again when
 * a clock wraps or steps. After a step whose length nobody knows, everything is as old as can be.
 */
uint32_t eg_time_advance(const eg_policy_t *p, eg_state_t *s, uint32_t elapsed_us) {
  uint32_t step_us = elapsed_us ? elapsed_us : p->period_us; /* a clock that stands */
  for (uint8_t i = 0; i < p->members; i++) {
    s->member[i].age_us = eg_age_add(s->member[i].age_us, step_us);
    s->member[i].newest_us = eg_age_add(s->member[i].newest_us, step_us);
  }
  for (uint8_t i = 0; i < p->cameras; i++)
    s->camera[i].age_us = eg_age_add(s->camera[i].age_us, step_us);
  s->repeated_us = eg_age_add(s->repeated_us, step_us);
  uint32_t present = elapsed_us / OVERRUN_PERIODS > p->period_us ? EG_BIT(EG_OVERRUN) : 0;
  if (elapsed_us == 0 || elapsed_us > p->max_gap_us) present = EG_BIT(EG_TIME_FAULT);
  eg_flow_fold(s, EG_CHECK_TIME, eg_crc_u32(eg_crc_u32(EG_CRC_START, elapsed_us), present));
  return present;
}
