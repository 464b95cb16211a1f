/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: envelope.c
 * Unwind: 10
 * Mutants: 76138ba68d 72b41672f4
 * Why: a row is never stricter than itself; the counter meets the number of rows, which is 1 to 8.
 */
void harness(void) {
  eg_limit_table_t t;
  GIVEN(t.rows >= 1 && t.rows <= EG_MAX_ROWS);
  eg_limits_t a = A(strictest)(&t), b = B(strictest)(&t);
  SAME(a.min == b.min && a.max == b.max && a.rise == b.rise && a.fall == b.fall);
}
