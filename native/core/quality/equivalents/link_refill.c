/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: link.c
 * Unwind: 14
 * Mutants: 3e72d86dc4 c6e2605eed
 * Why: a credit that is full is set to full. */
void harness(void) {
  eg_link_t a, b;
  for (int t = 0; t < EG_MESSAGES; t++)
    GIVEN(a.credit[t] <= EG_RATE_MAX_PER_PERIOD * EG_RATE_PERIODS);
  b = a;
  A(refill)(&a);
  B(refill)(&b);
  for (int t = 0; t < EG_MESSAGES; t++) SAME(a.credit[t] == b.credit[t]);
}
