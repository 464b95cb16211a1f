/* SPDX-License-Identifier: Apache-2.0 */
/* Instead of envelope.c's tables: limits that depend on table and signal alone. */
#include "spec.h"

#define eg_limits_at unused_limits_at
#define eg_rate_step unused_rate_step
#include "envelope.c"
#undef eg_limits_at
#undef eg_rate_step

int32_t __CPROVER_uninterpreted_limit(uint32_t which, const void *table, bool valid, int32_t value);

eg_limits_t eg_limits_at(const eg_limit_table_t *t, const eg_number_t *n) {
  bool valid = n != NULL && n->validity == EG_VALID;
  int32_t at = valid ? n->value : 0;
  eg_limits_t l = {__CPROVER_uninterpreted_limit(0, t, valid, at),
                   __CPROVER_uninterpreted_limit(1, t, valid, at),
                   __CPROVER_uninterpreted_limit(2, t, valid, at),
                   __CPROVER_uninterpreted_limit(3, t, valid, at)};
  ASSUME(l.min <= l.max && l.rise >= 1 && l.fall >= 1);
  return l;
}

int32_t __CPROVER_uninterpreted_rate(int32_t per_second, uint32_t elapsed_us, uint32_t period_us);

int32_t eg_rate_step(int32_t per_second, uint32_t elapsed_us, uint32_t period_us) {
  int32_t step = __CPROVER_uninterpreted_rate(per_second, elapsed_us, period_us);
  ASSUME(IMPLIES(per_second >= 0, step >= 0 && step <= per_second));
  return step;
}
