/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: vote.c
 * Unwind: 10
 * Mutants: 9c608d84b3 9fede8c1ae
 * Why: counts are only compared with each other, so all may be one higher; where the count is not
 * above the highest, at least as high means as high. */
void harness(void) {
  eg_evidence_t said[EG_MAX_MEMBERS];
  voters_t v;
  GIVEN(v.n <= EG_MAX_MEMBERS);
  for (int i = 0; i < EG_MAX_MEMBERS; i++) v.said[i] = &said[i];
  winner_t a = A(plurality)(&v), b = B(plurality)(&v);
  SAME(a.decided == b.decided && a.label == b.label);
}
