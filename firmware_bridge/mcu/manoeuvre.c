/* SPDX-License-Identifier: Apache-2.0 */
/* The minimum-risk manoeuvre: stop, at no more than 4.0 m/s2 (UN R157), in the lane that the last
 * trusted command was steering along. */
#include "arith.h"
#include "mcu.h"

/* Towards 0 from either side. */
static int32_t slower(int32_t from, int32_t step) {
  return from > 0 ? eg_clamp(0, (int64_t)from - step, from)
                  : eg_clamp(0, from, (int64_t)from + step);
}

/* The angle of the last trusted command, or after a reset the one that was measured then, up to an
 * age limit; then straight on, as fast as the policy's envelope lets it. Its limits over speed are
 * what bounds the lateral acceleration. */
static int32_t steer(const eg_mcu_t *m) {
  const eg_kept_t *k = &m->kept;
  if (!k->path_known) return board_memory()->record->output[EG_STEERING];
  return k->path_us <= EG_PATH_AGE_MAX_US ? k->path : 0;
}

static void find_path(eg_mcu_t *m) {
  eg_kept_t *k = &m->kept;
  if (k->path_known || m->sensed.steering.validity != EG_VALID) return;
  k->path = m->sensed.steering.value;
  k->path_us = 0;
  k->path_known = 1;
}

void eg_manoeuvre(eg_mcu_t *m, uint32_t elapsed_us) {
  uint32_t began_us = board_now_us();
  uint32_t step_us = elapsed_us ? elapsed_us : m->kept.period_us; /* a clock that stands */
  int32_t step = eg_rate_step(EG_STOP_RATE, step_us, m->kept.period_us);
  find_path(m);
  m->in.rule[EG_SPEED] = slower(board_memory()->record->output[EG_SPEED], step);
  m->in.rule[EG_STEERING] = steer(m);
  m->in.rule_ok = 1;
  m->in.rule_us = board_now_us() - began_us;
}

/* While a person drives, the path is the one they drive. */
void eg_path_update(eg_mcu_t *m, uint32_t elapsed_us) {
  eg_kept_t *k = &m->kept;
  k->path_us = eg_age_add(k->path_us, elapsed_us);
  if (m->out.active && m->out.mode >= EG_FALLBACK) return;
  k->path = m->out.channel[EG_STEERING].command;
  k->path_us = 0;
  k->path_known = 1;
}
