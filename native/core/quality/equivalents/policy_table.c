/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: policy.c
 * Stub: check_row
 * Unwind: 28
 * Mutants: ab2ed7034d
 * Why: the counter meets the number of rows, which is 1 to 8 by then. */
static const char *wrong_row[256];

const char *STUB(check_row)(const eg_policy_t *p, const eg_limit_table_t *t, uint8_t row,
                            int32_t stop) {
  (void)p, (void)t;
  call((uint64_t)row << 32 | (uint32_t)stop);
  return wrong_row[row];
}

static const char *any(void) {
  bool wrong;
  return wrong ? "wrong" : NULL;
}

void harness(void) {
  eg_policy_t p;
  eg_limit_table_t t;
  int32_t stop;
  for (int i = 0; i < EG_MAX_ROWS; i++) wrong_row[i] = any();
  const char *a = A(check_table)(&p, &t, stop);
  side = 1;
  SAME(same_text(a, B(check_table)(&p, &t, stop)));
  same_calls();
}
