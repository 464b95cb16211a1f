/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: perceive.c
 * Stub: member_update
 * Unwind: 20
 * Mutants: b6b7e22e43
 * Why: the counter meets the number of members, which is no more than EG_MAX_MEMBERS. */
uint32_t __CPROVER_uninterpreted_crc(uint32_t crc, uint32_t word);

uint32_t STUB(member_update)(const eg_policy_t *p, uint8_t member, eg_mode_t mode,
                             eg_member_state_t *s, const eg_suggestion_t *in,
                             uint32_t repeated_us) {
  (void)p, (void)repeated_us;
  call((uint64_t)mode << 40 | (uint64_t)member << 32 | s->age_us);
  return in->serial;
}

eg_mode_t eg_mode(const eg_policy_t *p, const eg_state_t *s) {
  (void)p;
  return s->armed ? EG_NOMINAL : EG_SAFE_STOP;
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
  eg_input_t in;
  GIVEN(p.members <= EG_MAX_MEMBERS);
  uint32_t a = A(eg_members_update)(&p, &s, &in);
  side = 1;
  SAME(a == B(eg_members_update)(&p, &s, &in));
  same_calls();
}
