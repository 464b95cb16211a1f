/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: watchdog.c
 * Unwind: 6
 * Mutants: f0fb6e5832
 * Why: how long ago the question was asked last is only compared with EG_QUESTION_AGAIN_US. Two
 * watchdogs that differ in it beyond that say the same, and go on differing in nothing else. */
uint32_t __CPROVER_uninterpreted_answer(uint32_t question, uint32_t tick, uint32_t check);

uint32_t eg_crc_u32(uint32_t crc, uint32_t word) {
  return crc ^ word;
}

uint32_t eg_crc_end(uint32_t crc) {
  return ~crc;
}

uint32_t eg_flow_answer(uint32_t question, uint32_t tick, const uint32_t check[EG_CHECKS]) {
  return __CPROVER_uninterpreted_answer(question, tick, check[0]);
}

static bool alike(const eg_watchdog_t *a, const eg_watchdog_t *b) {
  bool asked = a->asked_us == b->asked_us ||
               (a->asked_us >= EG_QUESTION_AGAIN_US && b->asked_us >= EG_QUESTION_AGAIN_US);
  return asked && a->question == b->question && a->since_us == b->since_us && a->last == b->last &&
         a->last_tick == b->last_tick && a->random == b->random && a->started == b->started &&
         a->wrong == b->wrong && a->answered == b->answered && a->early == b->early &&
         a->late == b->late && a->mistaken == b->mistaken && a->again == b->again &&
         a->unseen == b->unseen;
}

void harness(void) {
  eg_watchdog_t a, b;
  eg_answer_t said;
  uint32_t elapsed_us, asked_us;
  b = a;
  b.asked_us = asked_us;
  GIVEN(alike(&a, &b));
  eg_watchdog_t c = a, d = b, e = a, f = b;
  SAME(A(eg_watchdog_ask)(&a) == B(eg_watchdog_ask)(&b));
  SAME(alike(&a, &b));
  SAME(A(eg_watchdog_tick)(&c, elapsed_us) == B(eg_watchdog_tick)(&d, elapsed_us));
  SAME(alike(&c, &d));
  A(eg_watchdog_answer)(&e, &said);
  B(eg_watchdog_answer)(&f, &said);
  SAME(alike(&e, &f));
}
