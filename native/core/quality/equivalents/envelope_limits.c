/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: envelope.c
 * Stub: between
 * Unwind: 10
 * Mutants: bba6d4a31b 64b9bb6820 b52ad0ef7e d3b38a3f21 f74baa2b85
 * Why: a table has 1 to 8 rows, and the line through two rows meets both of them exactly: none of
 * the way is the first row's limit (x * 0 / w is 0), all of it the second's (x * w / w is x). */
int32_t __CPROVER_uninterpreted_between(int32_t a, int32_t b, int64_t part, int64_t whole);

int32_t STUB(between)(int32_t a, int32_t b, int64_t part, int64_t whole) {
  if (part == 0) return a;
  if (part == whole) return b;
  return __CPROVER_uninterpreted_between(a, b, part, whole);
}

void harness(void) {
  eg_limit_table_t t;
  eg_number_t v;
  bool given;
  GIVEN(t.rows >= 1 && t.rows <= EG_MAX_ROWS);
  for (uint8_t i = 1; i < t.rows; i++) GIVEN(t.row[i - 1].at < t.row[i].at);
  const eg_number_t *signal = given ? &v : NULL;
  eg_limits_t a = A(eg_limits_at)(&t, signal), b = B(eg_limits_at)(&t, signal);
  SAME(a.min == b.min && a.max == b.max && a.rise == b.rise && a.fall == b.fall);
}
