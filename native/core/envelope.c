/* SPDX-License-Identifier: Apache-2.0 */
#include "arith.h"
#include "edgeguard/core.h"

int32_t eg_envelope_step(const eg_limits_t *l, int32_t last, int32_t want) {
  int32_t goal = eg_clamp(want, l->min, l->max);
  return eg_clamp(goal, (int64_t)last - l->fall, (int64_t)last + l->rise);
}

int32_t eg_rate_step(int32_t per_second, uint32_t elapsed_us, uint32_t period_us) {
  uint32_t used_us = elapsed_us < period_us ? elapsed_us : period_us;
  return (int32_t)eg_part(per_second, used_us, 1000000);
}

static int32_t between(int32_t a, int32_t b, int64_t part, int64_t whole) {
  return (int32_t)(a + eg_part((int64_t)b - a, part, whole));
}

static eg_limits_t strictest(const eg_limit_table_t *t) {
  eg_limits_t all = t->row[0].limits;
  for (uint8_t i = 1; i < t->rows; i++) {
    const eg_limits_t *l = &t->row[i].limits;
    if (l->min > all.min) all.min = l->min;
    if (l->max < all.max) all.max = l->max;
    if (l->rise < all.rise) all.rise = l->rise;
    if (l->fall < all.fall) all.fall = l->fall;
  }
  if (all.min > all.max) all.min = all.max; /* rows that do not overlap: the lower end */
  return all;
}

eg_limits_t eg_limits_at(const eg_limit_table_t *t, const eg_number_t *signal) {
  if (t->rows == 1) return t->row[0].limits;
  if (!signal || signal->validity != EG_VALID) return strictest(t);
  uint8_t i = 0;
  while (i + 1 < t->rows && t->row[i + 1].at <= signal->value) i++;
  const eg_limit_row_t *a = &t->row[i];
  if (signal->value <= a->at || i + 1 == t->rows) return a->limits;
  const eg_limit_row_t *b = a + 1;
  int64_t part = (int64_t)signal->value - a->at, whole = (int64_t)b->at - a->at;
  eg_limits_t l = {between(a->limits.min, b->limits.min, part, whole),
                   between(a->limits.max, b->limits.max, part, whole),
                   between(a->limits.rise, b->limits.rise, part, whole),
                   between(a->limits.fall, b->limits.fall, part, whole)};
  return l;
}
