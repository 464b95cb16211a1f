/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: link.c
 * Unwind: 2
 * Mutants: 75f2e33c9d
 * Why: the worst result in place of itself. */
void harness(void) {
  eg_link_t a, b;
  eg_e2e_result_t result;
  GIVEN(result <= EG_E2E_ERROR);
  b = a;
  A(note)(&a, result);
  B(note)(&b, result);
  SAME(a.worst == b.worst && a.window == b.window);
}
