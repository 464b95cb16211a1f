/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: vote.c
 * Unwind: 10
 * Mutants: d91ca29d75
 * Why: equal values may change places. Values are compared and moved, and the two in the middle
 * added and compared; so what holds for every order of these, of which no two pairs have the same
 * sum or difference, holds for all: over 32 bits the solver comes to no end. (With nobody:
 * vote_nobody.c.) */
void harness(void) {
  eg_evidence_t said[EG_MAX_MEMBERS];
  voters_t v;
  GIVEN(v.n >= 1 && v.n <= EG_MAX_MEMBERS);
  for (int i = 0; i < EG_MAX_MEMBERS; i++) {
    uint8_t place;
    GIVEN(place < EG_MAX_MEMBERS);
    said[i].value = 2 << place;
    v.said[i] = &said[i];
  }
  int32_t dispersion;
  winner_t a = A(mid_value)(&v, dispersion), b = B(mid_value)(&v, dispersion);
  SAME(a.decided == b.decided && a.label == b.label && a.value == b.value);
}
