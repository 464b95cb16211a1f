/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: link.c
 * Stub: refuse refuse_early miss
 * Unwind: 8
 * Mutants: 84e6ca5e9f 1ab9866b12
 * Why: eg_e2e_sequence never says NONEWDATA or ERROR, so nothing stands above WRONGSEQUENCE, and
 * only OK below OKSOMELOST once REPEATED has left. */
static eg_e2e_result_t sequence;

eg_e2e_result_t eg_e2e_sequence(eg_e2e_receiver_t *r, uint16_t counter) {
  r->counter = counter;
  return sequence;
}

bool STUB(refuse)(eg_link_t *l, uint8_t type, uint32_t *count, eg_e2e_result_t result) {
  call(type);
  call(count == &l->counts.repeated);
  call(result);
  return false;
}

bool STUB(refuse_early)(eg_link_t *l, uint8_t type, uint32_t *count, eg_e2e_result_t result) {
  call(256u + type);
  call(count == &l->counts.reordered);
  call(result);
  return false;
}

void STUB(miss)(eg_link_t *l, uint8_t type, uint32_t lost) {
  (void)l;
  call(512u + type);
  call(lost);
}

void harness(void) {
  eg_link_t a, b;
  uint8_t type;
  uint16_t counter;
  GIVEN(type < EG_MESSAGES);
  GIVEN(sequence == EG_E2E_OK || sequence == EG_E2E_OKSOMELOST || sequence == EG_E2E_REPEATED ||
        sequence == EG_E2E_WRONGSEQUENCE);
  b = a;
  bool right = A(in_sequence)(&a, type, counter);
  side = 1;
  SAME(right == B(in_sequence)(&b, type, counter));
  same_calls();
}
