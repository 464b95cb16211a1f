/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: manoeuvre.c
 * Unwind: 2
 * Mutants: 00113a19f0 fe3ab85128
 * Why: from 0 both sides stay at 0. */
void harness(void) {
  int32_t from, step;
  GIVEN(step >= 0);
  SAME(A(slower)(from, step) == B(slower)(from, step));
}
