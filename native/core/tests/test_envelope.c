/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"
#include "fixture.h"

/* The law of the envelope, on every last, want and range of a small world and its int32 edges. */
static void law(const eg_limits_t *l, int32_t last, int32_t want) {
  int64_t next = eg_envelope_step(l, last, want);
  CHECK(next - last <= l->rise && last - next <= l->fall, "rate: %d -> %lld", last,
        (long long)next);
  bool was_in = last >= l->min && last <= l->max, is_in = next >= l->min && next <= l->max;
  CHECK(!was_in || is_in, "left the range: %d -> %lld", last, (long long)next);
  CHECK(last <= l->max || next == (last - l->fall > l->max ? last - l->fall : l->max) ||
            (next >= l->min && next <= l->max),
        "from above: %d -> %lld", last, (long long)next);
  CHECK(last <= l->max || next < last, "above and not coming back: %d", last);
  CHECK(last >= l->min || next > last, "below and not coming back: %d", last);
}

static void small_world(void) {
  for (int32_t min = -3; min <= 3; min++)
    for (int32_t max = min; max <= 3; max++)
      for (int32_t rise = 1; rise <= 3; rise++)
        for (int32_t fall = 1; fall <= 3; fall++)
          for (int32_t last = -8; last <= 8; last++)
            for (int32_t want = -8; want <= 8; want++) {
              eg_limits_t l = {min, max, rise, fall};
              law(&l, last, want);
            }
}

static void edges(void) {
  const int32_t edge[] = {INT32_MIN, INT32_MIN + 1, -1, 0, 1, INT32_MAX - 1, INT32_MAX};
  for (int a = 0; a < 7; a++)
    for (int b = 0; b < 7; b++) {
      eg_limits_t wide = {INT32_MIN, INT32_MAX, INT32_MAX, INT32_MAX}, slow = {-5, 5, 1, 1};
      law(&wide, edge[a], edge[b]);
      law(&slow, edge[a], edge[b]);
    }
}

static void rate_is_per_period_at_most(void) {
  CHECK(eg_rate_step(Q(4), 10000, 10000) == Q(0.04), "one period");
  CHECK(eg_rate_step(Q(4), 5000, 10000) == Q(0.02), "half a period");
  CHECK(eg_rate_step(Q(4), 900000, 10000) == Q(0.04), "late: no more than one period's worth");
  CHECK(eg_rate_step(INT32_MAX, UINT32_MAX, 1000000) == INT32_MAX, "no overflow");
  CHECK(eg_rate_step(Q(4), 0, 10000) == 0, "no time, no step");
}

static void table_interpolates(void) {
  eg_limit_table_t t = {
      .rows = 3,
      .row = {{Q(0), {-100, 100, 10, 10}}, {Q(10), {-50, 60, 4, 8}}, {Q(20), {-10, 20, 2, 2}}}};
  eg_number_t v = {EG_VALID, Q(5)};
  eg_limits_t l = eg_limits_at(&t, &v);
  CHECK(l.min == -75 && l.max == 80 && l.rise == 7 && l.fall == 9, "halfway: %d", l.min);
  v.value = Q(-3);
  CHECK(eg_limits_at(&t, &v).max == 100, "below the first row: the first row");
  v.value = Q(99);
  CHECK(eg_limits_at(&t, &v).max == 20, "above the last row: the last row");
  v.value = Q(10);
  CHECK(eg_limits_at(&t, &v).max == 60, "on a row");
  v.validity = EG_INVALID;
  l = eg_limits_at(&t, &v);
  CHECK(l.min == -10 && l.max == 20 && l.rise == 2 && l.fall == 2, "unknown speed: the strictest");
  CHECK(eg_limits_at(&t, 0).max == 20, "no signal: the strictest");
}

int main(void) {
  small_world();
  edges();
  rate_is_per_period_at_most();
  table_interpolates();
  return 0;
}
