/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: vote.c
 * Unwind: 10
 * Mutants: 3c714639eb a32d82513d
 * Why: with somebody to say a value, only what was said is looked at. (With nobody: vote_nobody.c.)
 */
void harness(void) {
  eg_evidence_t said[EG_MAX_MEMBERS];
  voters_t v;
  GIVEN(v.n >= 1 && v.n <= EG_MAX_MEMBERS);
  for (int i = 0; i < EG_MAX_MEMBERS; i++) v.said[i] = &said[i];
  int32_t dispersion;
  winner_t a = A(mid_value)(&v, dispersion), b = B(mid_value)(&v, dispersion);
  SAME(a.decided == b.decided && a.label == b.label && a.value == b.value);
}
