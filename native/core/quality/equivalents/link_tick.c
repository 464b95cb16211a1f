/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: link.c
 * Stub: refill ones
 * Unwind: 8
 * Mutants: 2e1977ae0a
 * Why: INVALID is the last state. */
static eg_e2e_state_t after;
static uint32_t bad;

eg_e2e_state_t eg_e2e_machine_step(eg_e2e_machine_t *m, eg_e2e_result_t result) {
  (void)m;
  call(result);
  return after;
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
  after = state;
  bad = n;
  GIVEN(after <= EG_E2E_INVALID && a.worst <= EG_E2E_RESULTS);
  b = a;
  uint32_t present = A(eg_link_tick)(&a);
  side = 1;
  SAME(present == B(eg_link_tick)(&b));
  SAME(a.quiet_us == b.quiet_us && a.worst == b.worst);
  same_calls();
}
