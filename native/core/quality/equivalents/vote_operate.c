/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: vote.c
 * Stub: agrees
 * Unwind: 10
 * Mutants: 9bdfe948ff 90be878091
 * Why: by then the two targets differ; those who may do one operation are among those who may do
 * any. */
bool __CPROVER_uninterpreted_agrees(const eg_evidence_t *e);

bool STUB(agrees)(const eg_channel_t *c, const winner_t *w, const eg_evidence_t *e) {
  (void)c, (void)w;
  return __CPROVER_uninterpreted_agrees(e);
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
  GIVEN(c.demand[0].frames <= EG_MAX_RUN && c.demand[1].frames <= EG_MAX_RUN);
  b = a;
  other = one;
  SAME(A(operate)(&c, &v, &w, want, trusted, &a, &one) ==
       B(operate)(&c, &v, &w, want, trusted, &b, &other));
  SAME(a.target == b.target && one.granted == other.granted);
}
