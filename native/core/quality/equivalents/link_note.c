/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: link.c
 * Unwind: 2
 * Mutants: cf0a02a67d
 * Why: the worst result in place of itself. */
void harness(void) {
  eg_link_t a, b;
  uint32_t bad;
  eg_e2e_result_t result;
  GIVEN(result <= EG_E2E_ERROR);
  b = a;
  A(note)(&a, bad, result);
  B(note)(&b, bad, result);
  SAME(a.worst == b.worst && a.window == b.window);
}
