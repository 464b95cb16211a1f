/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: listen.c
 * Unwind: 8
 * Mutants: d90f9c7612 977288555c b855e0b187 cad7038ac9 9cbc0a51b2
 * Why: the link accepts no COMMAND whose age is not known, so what stood there is written over; and
 * no message has a mode beyond SAFE_STOP (message.c). */
uint32_t __CPROVER_uninterpreted_age(uint32_t now_us, uint32_t stamp_us);

bool eg_clock_age(const eg_clock_t *c, uint32_t now_us, uint32_t stamp_us, uint32_t *age_us) {
  (void)c;
  *age_us = __CPROVER_uninterpreted_age(now_us, stamp_us);
  return true;
}

void eg_watchdog_command(eg_watchdog_t *w, const eg_command_msg_t *c) {
  (void)w;
  call((uint64_t)c->tick << 32 | c->stamp_us);
}

void harness(void) {
  eg_heard_t a, b;
  eg_command_msg_t said;
  uint32_t now_us;
  GIVEN(said.mode <= EG_SAFE_STOP);
  b = a;
  A(command)(&a, &said, now_us);
  side = 1;
  B(command)(&b, &said, now_us);
  SAME(a.inbox.serial == b.inbox.serial && a.inbox.age_us == b.inbox.age_us);
  SAME(a.inbox.arrived_us == b.inbox.arrived_us);
  SAME(a.inbox.command.tick == b.inbox.command.tick);
  SAME(a.inbox.command.mode == b.inbox.command.mode && a.inbox.stops == b.inbox.stops);
  same_calls();
}
