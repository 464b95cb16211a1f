/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: decide.c
 * Unwind: 34
 * Mutants: e94ec3f9ec
 * Why: EG_CLEARS_NEVER is the largest value that eg_policy_check accepts. */
void harness(void) {
  eg_policy_t p;
  eg_state_t a, b;
  for (uint32_t c = 0; c < EG_CAUSES; c++) GIVEN(p.cause[c].clears <= EG_CLEARS_NEVER);
  b = a;
  A(eg_arm)(&p, &a);
  B(eg_arm)(&p, &b);
  SAME(a.active == b.active && a.armed == b.armed);
  for (uint32_t c = 0; c < EG_CAUSES; c++) SAME(a.debounce[c].level_us == b.debounce[c].level_us);
}
