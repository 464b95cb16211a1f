/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: link.c
 * Unwind: 8
 * Mutants: 1b7361b702
 * Why: nothing notes NONEWDATA, and where it is the result there is no good frame to keep. */
void harness(void) {
  eg_link_t a, b;
  GIVEN(a.worst <= EG_E2E_RESULTS && a.worst != EG_E2E_NONEWDATA + 1);
  b = a;
  eg_e2e_result_t result = A(of_period)(&a);
  side = 1;
  SAME(result == B(of_period)(&b));
  SAME(a.ahead == b.ahead && a.worst == b.worst);
}
