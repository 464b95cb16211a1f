/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: listen.c
 * Stub: hear
 * Unwind: 68
 * Mutants: 50f4ff9a91 0de3521a10 699c482d10 342b2e0aaa
 * Why: where as many bytes came as there is time for, room is left for none, and nothing comes; and
 * never do more come than there is room for. */
static uint32_t wait; /* what they are is arbitrary before and after */

uint32_t board_rx(uint8_t *into, uint32_t room) {
  (void)into;
  call(room);
  return wait < room ? wait : room;
}

void STUB(hear)(eg_mcu_t *m) {
  call(m->staged_n);
  m->staged_n = 0;
}

void harness(void) {
  eg_mcu_t a, b;
  uint32_t n;
  wait = n;
  b = a;
  bool more = A(take_in)(&a);
  side = 1;
  SAME(more == B(take_in)(&b));
  SAME(a.drained == b.drained && a.staged_n == b.staged_n);
  SAME(calls[0] <= calls[1] || wait == 0);
}
