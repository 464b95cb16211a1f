/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: answers.c
 * Unwind: 10
 * Mutants: e69927bd1a 27fb833abc e5acb60b04 16cdad283d b124b64112 c2d909a6f2 6686a7dbf6 7ff67a9b59
 * Why: whatever goes in, an unarmed core says SAFE_STOP and answers with what its checks make. What
 * went in is written anew before it is read again. */
uint32_t __CPROVER_uninterpreted_answer(uint32_t question, uint32_t tick, uint32_t check0,
                                        uint32_t check1, uint32_t check2);

uint32_t eg_crc_u32(uint32_t crc, uint32_t word) {
  call((uint64_t)crc << 32 | word);
  return crc + 1u;
}

uint32_t eg_flow_answer(uint32_t question, uint32_t tick, const uint32_t check[EG_CHECKS]) {
  return __CPROVER_uninterpreted_answer(question, tick, check[0], check[1], check[2]);
}

void eg_init(const eg_policy_t *p, eg_state_t *s) {
  (void)p;
  s->armed = 0;
}

void eg_decide(const eg_policy_t *p, eg_state_t *s, const eg_input_t *in, eg_decision_t *out) {
  eg_decision_t any;
  (void)p;
  *out = any;
  if (!s->armed) out->mode = EG_SAFE_STOP;
  out->answer = eg_flow_answer(in->question, out->sequence, out->check);
}

void harness(void) {
  uint32_t crc;
  eg_policy_t p;
  eg_mcu_t a, b;
  uint32_t answer = A(fold_step)(crc, &a, &p);
  side = 1;
  SAME(answer == B(fold_step)(crc, &b, &p));
  same_calls();
}
