/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: perceive.c
 * Unwind: 2
 * Mutants: 87c1da60b2
 * Why: equal ages lie nothing apart, and that is above no limit. */
void harness(void) {
  uint32_t age_us, than_us, by_us;
  SAME(A(later)(age_us, than_us, by_us) == B(later)(age_us, than_us, by_us));
}
