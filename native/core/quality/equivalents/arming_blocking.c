/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: arming.c
 * Unwind: 34
 * Mutants: fc72edd489 83df0542f3
 * Why: the first cause is NOT_ARMED, which is taken out at the end; no table clears in another way
 * than the three (eg_policy_check). */
void harness(void) {
  eg_policy_t p;
  eg_state_t s;
  for (uint32_t c = 0; c < EG_CAUSES; c++) GIVEN(p.cause[c].clears <= EG_CLEARS_NEVER);
  SAME(A(blocking)(&p, &s) == B(blocking)(&p, &s));
}
