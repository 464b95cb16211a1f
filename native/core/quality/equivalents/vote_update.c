/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: vote.c
 * Stub: eg_vote
 * Unwind: 20
 * Mutants: ad52d37ae2
 * Why: the counter meets the number of channels, which is no more than EG_MAX_CHANNELS. */
uint32_t __CPROVER_uninterpreted_crc(uint32_t crc, uint32_t word);

uint32_t STUB(eg_vote)(const eg_policy_t *p, eg_state_t *s, uint8_t channel, bool trusted,
                       eg_command_t *out) {
  (void)p, (void)s;
  call((uint64_t)channel << 1 | trusted);
  return (uint32_t)out->want;
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
  eg_state_t s;
  eg_decision_t out;
  bool trusted;
  GIVEN(p.channels <= EG_MAX_CHANNELS);
  uint32_t a = A(eg_votes_update)(&p, &s, trusted, &out);
  side = 1;
  SAME(a == B(eg_votes_update)(&p, &s, trusted, &out));
  same_calls();
}
