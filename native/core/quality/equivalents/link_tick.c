/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: link.c
 * Stub: refill ones of_period
 * Unwind: 8
 * Mutants: db7c53e5c5
 * Why: INVALID is the last state. */
static eg_e2e_state_t after;
static eg_e2e_result_t period;
static uint32_t bad;

eg_e2e_state_t eg_e2e_machine_step(eg_e2e_machine_t *m, eg_e2e_result_t result) {
  (void)m;
  call(result);
  return after;
}

eg_e2e_result_t STUB(of_period)(eg_link_t *l) {
  (void)l;
  return period;
}

void STUB(refill)(eg_link_t *l) {
  (void)l;
  call(1);
}

uint32_t STUB(ones)(uint32_t x) {
  call(x);
  return bad;
}

void harness(void) {
  eg_link_t a, b;
  uint32_t n;
  eg_e2e_state_t state;
  eg_e2e_result_t result;
  after = state;
  period = result;
  bad = n;
  GIVEN(after <= EG_E2E_INVALID);
  b = a;
  uint32_t present = A(eg_link_tick)(&a);
  side = 1;
  SAME(present == B(eg_link_tick)(&b));
  SAME(a.quiet_us == b.quiet_us);
  same_calls();
}
