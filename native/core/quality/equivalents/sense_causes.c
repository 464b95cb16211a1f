/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: sense.c
 * Stub: answers
 * Unwind: 4
 * Mutants: 9071171728
 * Why: no message has a mode beyond SAFE_STOP (message.c). */
static uint32_t present, wrong;

uint32_t STUB(answers)(eg_heard_t *h, uint32_t now_us) {
  (void)h;
  call(now_us);
  return wrong;
}

uint32_t eg_link_tick(eg_link_t *l, uint32_t elapsed_us) {
  (void)l;
  call(elapsed_us);
  return present;
}

void eg_link_close(eg_link_t *l) {
  l->in_session = false;
}

void harness(void) {
  eg_heard_t a, b;
  uint32_t now_us, elapsed_us, one, other;
  GIVEN(a.inbox.command.mode <= EG_SAFE_STOP);
  present = one;
  wrong = other;
  b = a;
  uint32_t causes = A(link_causes)(&a, now_us, elapsed_us);
  side = 1;
  SAME(causes == B(link_causes)(&b, now_us, elapsed_us));
  SAME(a.link.in_session == b.link.in_session);
  same_calls();
}
