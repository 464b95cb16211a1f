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

static void same(const eg_limits_t *got, int32_t min, int32_t max, int32_t rise, int32_t fall) {
  CHECK(got->min == min && got->max == max && got->rise == rise && got->fall == fall,
        "%d %d %d %d, not %d %d %d %d", got->min, got->max, got->rise, got->fall, min, max, rise,
        fall);
}

/* Every limit on its own, wherever the strictest one stands. */
static void strictest_of_any_order(void) {
  static const uint8_t order[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                      {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
  for (int o = 0; o < 6; o++) {
    const uint8_t *k = order[o];
    eg_limit_table_t t = {.rows = 3};
    for (int i = 0; i < 3; i++)
      t.row[i] =
          (eg_limit_row_t){10 * i, {-10 * k[i], 50 + k[i], 5 + k[(i + 1) % 3], 7 + k[2 - i]}};
    t.row[3] = (eg_limit_row_t){99, {1, 2, 1, 1}}; /* no row */
    eg_limits_t l = eg_limits_at(&t, 0);
    same(&l, 0, 50, 5, 7);
  }
}

static void rows_that_do_not_overlap(void) { /* the lower end, so that it is still a range */
  eg_limit_table_t t = {.rows = 2, .row = {{0, {0, 10, 1, 1}}, {1, {20, 30, 1, 1}}}};
  eg_limits_t l = eg_limits_at(&t, 0);
  same(&l, 10, 10, 1, 1);
  t.row[1].limits.min = 10;
  l = eg_limits_at(&t, 0);
  same(&l, 10, 10, 1, 1);
}

static void one_row_needs_no_signal(void) {
  eg_limit_table_t t = {.rows = 1, .row = {{500, {20, 10, 3, 4}}, {600, {0, 5, 1, 1}}}};
  const eg_number_t v[] = {{EG_VALID, 0}, {EG_VALID, 500}, {EG_VALID, 550}, {EG_INVALID, 0}};
  for (int i = 0; i < 4; i++) {
    eg_limits_t l = eg_limits_at(&t, &v[i]);
    same(&l, 20, 10, 3, 4); /* as it stands, even where the range is empty */
  }
  eg_limits_t l = eg_limits_at(&t, 0);
  same(&l, 20, 10, 3, 4);
}

/* Against the same line drawn in 64 bits; rows at odd places, values on, between and beyond them.
 */
static void between_all_rows(void) {
  eg_limit_table_t t = {.rows = 4,
                        .row = {{-1000, {-700, 900, 100, 10}},
                                {7, {-500, 800, 10, 100}},
                                {108, {0, 300, 1000, 1}},
                                {2000, {-3, 4, 5, 6}},
                                {2001, {0, 0, 1, 1}}}}; /* no row */
  for (int32_t at = -1100; at < 2200; at++) {
    eg_number_t v = {EG_VALID, at};
    int32_t place = at < -1000 ? -1000 : at > 2000 ? 2000 : at;
    int i = place < 7 ? 0 : place < 108 ? 1 : 2;
    const eg_limits_t *a = &t.row[i].limits, *b = &t.row[i + 1].limits;
    int64_t part = (int64_t)place - t.row[i].at, whole = (int64_t)t.row[i + 1].at - t.row[i].at;
    eg_limits_t l = eg_limits_at(&t, &v);
    same(&l, (int32_t)(a->min + ((int64_t)b->min - a->min) * part / whole),
         (int32_t)(a->max + ((int64_t)b->max - a->max) * part / whole),
         (int32_t)(a->rise + ((int64_t)b->rise - a->rise) * part / whole),
         (int32_t)(a->fall + ((int64_t)b->fall - a->fall) * part / whole));
  }
}

static void unknown_signals_give_the_strictest(void) {
  eg_limit_table_t t = {.rows = 2, .row = {{0, {0, 10, 4, 5}}, {10, {0, 8, 6, 3}}}};
  const uint8_t not_valid[] = {EG_ABSENT, EG_INVALID, 255};
  for (int i = 0; i < 3; i++) {
    eg_number_t v = {not_valid[i], 0};
    eg_limits_t l = eg_limits_at(&t, &v);
    same(&l, 0, 8, 4, 3);
  }
}

int main(void) {
  strictest_of_any_order();
  rows_that_do_not_overlap();
  one_row_needs_no_signal();
  between_all_rows();
  unknown_signals_give_the_strictest();
  small_world();
  edges();
  rate_is_per_period_at_most();
  table_interpolates();
  return 0;
}
