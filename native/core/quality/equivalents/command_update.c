/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: command.c
 * Stub: command
 * Unwind: 20
 * Mutants: 4d7c99f0a6
 * Why: the counter meets the number of channels, which is no more than EG_MAX_CHANNELS. */
uint32_t __CPROVER_uninterpreted_crc(uint32_t crc, uint32_t word);

void STUB(command)(const eg_policy_t *p, eg_state_t *s, const eg_input_t *in, uint8_t channel,
                   eg_decision_t *out) {
  (void)p, (void)s, (void)in, (void)out;
  call(channel);
}

uint32_t eg_crc_u32(uint32_t crc, uint32_t word) {
  return __CPROVER_uninterpreted_crc(crc, word);
}

void eg_flow_fold(eg_state_t *s, eg_check_t check, uint32_t crc) {
  (void)s;
  call((uint64_t)check << 32 | crc);
}

void harness(void) {
  eg_policy_t p;
  eg_state_t a, b;
  eg_input_t in;
  eg_decision_t out;
  GIVEN(p.channels <= EG_MAX_CHANNELS);
  b = a;
  A(eg_commands_update)(&p, &a, &in, &out);
  side = 1;
  B(eg_commands_update)(&p, &b, &in, &out);
  same_calls();
  SAME(a.conflict == b.conflict);
}
