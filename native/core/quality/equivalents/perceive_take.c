/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: perceive.c
 * Stub: eg_inference_faults
 * Unwind: 10
 * Mutants: 000000
 * Why: by then nothing older than the newest one is left. */
uint32_t STUB(eg_inference_faults)(const eg_policy_t *p, uint8_t member, eg_mode_t mode,
                                   const eg_suggestion_t *in) {
  (void)p, (void)member, (void)mode;
  return in->pending_us; /* any */
}

void harness(void) {
  eg_policy_t p;
  eg_member_state_t a, b;
  eg_suggestion_t in;
  b = a;
  A(take)(&p, 0, EG_NOMINAL, &a, &in);
  B(take)(&p, 0, EG_NOMINAL, &b, &in);
  for (int i = 0; i < EG_MAX_RUN - 1; i++) SAME(a.before[i] == b.before[i]);
  SAME(a.serial == b.serial && a.age_us == b.age_us && a.newest_us == b.newest_us);
  SAME(a.held == b.held && a.faults == b.faults && a.evidence.label == b.evidence.label);
}
