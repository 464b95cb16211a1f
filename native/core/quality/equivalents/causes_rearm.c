/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: causes.c
 * Unwind: 34
 * Mutants: 29f68f9041 d8ba25cf89
 * Why: the second loop acts on bits that the first one set; there are none beyond the last cause.
 */
void harness(void) {
  eg_policy_t p;
  eg_state_t a, b;
  b = a;
  SAME(A(eg_rearm)(&p, &a) == B(eg_rearm)(&p, &b));
  SAME(a.active == b.active && a.taken_over == b.taken_over && a.armed == b.armed);
  for (uint32_t c = 0; c < EG_CAUSES; c++) {
    SAME(a.debounce[c].level_us == b.debounce[c].level_us);
    SAME(a.debounce[c].quiet_us == b.debounce[c].quiet_us);
  }
  SAME(a.member[0].serial == b.member[0].serial && a.member[0].age_us == b.member[0].age_us);
}
