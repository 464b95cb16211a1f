/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: arming.c
 * Stub: blocking
 * Unwind: 4
 * Mutants: d1c1f9453c
 * Why: nothing is worse than SAFE_STOP. */
static eg_mode_t worst;
static eg_rearm_t rearmed;

uint32_t STUB(blocking)(const eg_policy_t *p, const eg_state_t *s) {
  (void)p;
  return s->present;
}

eg_mode_t eg_worst(const eg_policy_t *p, uint32_t causes) {
  (void)p;
  call(causes);
  return worst;
}

eg_rearm_t eg_rearm(const eg_policy_t *p, eg_state_t *s) {
  (void)p;
  (void)s;
  call(1);
  return rearmed;
}

void eg_arm(const eg_policy_t *p, eg_state_t *s) {
  (void)p;
  (void)s;
  call(2);
}

void harness(void) {
  eg_policy_t p;
  eg_state_t a, b;
  eg_mode_t any;
  eg_rearm_t result;
  GIVEN(any <= EG_SAFE_STOP);
  worst = any;
  rearmed = result;
  b = a;
  eg_arm_result_t said = A(release)(&p, &a);
  side = 1;
  SAME(said == B(release)(&p, &b));
  same_calls();
}
