/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: vote.c
 * Stub: support
 * Unwind: 10
 * Mutants: 5c88ab7b83
 * Why: the best may be replaced by its equal. */
uint8_t __CPROVER_uninterpreted_support(int32_t certainty, uint8_t frames, uint32_t operations);

uint8_t STUB(support)(const eg_channel_t *c, const voters_t *v, const winner_t *w,
                      int32_t certainty, uint8_t frames, uint32_t operations) {
  (void)c, (void)v, (void)w;
  return __CPROVER_uninterpreted_support(certainty, frames, operations);
}

void harness(void) {
  eg_evidence_t said[EG_MAX_MEMBERS];
  voters_t v;
  winner_t w;
  eg_channel_t c;
  uint8_t quorum;
  GIVEN(v.n <= EG_MAX_MEMBERS);
  for (int i = 0; i < EG_MAX_MEMBERS; i++) v.said[i] = &said[i];
  SAME(A(quorum_certainty)(&c, &v, &w, quorum) == B(quorum_certainty)(&c, &v, &w, quorum));
}
