/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: vote.c
 * Stub: agrees steady
 * Unwind: 10
 * Mutants: 9bdfe948ff 90be878091
 * Why: by then the two targets differ; those who may do one operation are among those who may do
 * any. */
bool __CPROVER_uninterpreted_agrees(const eg_evidence_t *e);

bool STUB(agrees)(const eg_channel_t *c, const winner_t *w, const eg_evidence_t *e) {
  (void)c, (void)w;
  return __CPROVER_uninterpreted_agrees(e);
}

bool __CPROVER_uninterpreted_steady(const int32_t *before, int32_t certainty, uint8_t frames);

bool STUB(steady)(const int32_t *before, int32_t certainty, uint8_t frames) {
  return __CPROVER_uninterpreted_steady(before, certainty, frames);
}

void harness(void) {
  eg_evidence_t said[EG_MAX_MEMBERS];
  int32_t before[EG_MAX_MEMBERS][EG_MAX_RUN - 1];
  voters_t v;
  winner_t w;
  eg_channel_t c;
  eg_channel_state_t a, b;
  eg_command_t one, other;
  int32_t want;
  bool trusted;
  GIVEN(v.n <= EG_MAX_MEMBERS);
  for (int i = 0; i < EG_MAX_MEMBERS; i++) v.said[i] = &said[i], v.before[i] = before[i];
  b = a;
  other = one;
  SAME(A(operate)(&c, &v, &w, want, trusted, &a, &one) ==
       B(operate)(&c, &v, &w, want, trusted, &b, &other));
  SAME(a.target == b.target && one.granted == other.granted);
}
