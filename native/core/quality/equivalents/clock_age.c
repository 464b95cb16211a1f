/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: clock.c
 * Stub: gain
 * Unwind: 8
 * Mutants: ac98a3b60e
 * Why: a frame exactly as old as half the round trip takes nothing back. */
void STUB(gain)(eg_clock_t *c) {
  call(c->uncounted_us);
}

void harness(void) {
  eg_clock_t c, d;
  uint32_t now_us, stamp_us, age_a = 0, age_b = 0;
  GIVEN(c.error_us <= EG_ROUND_TRIP_MAX_US && c.back_us <= EG_CLOCK_EARNED_MAX_US);
  d = c;
  bool a = A(eg_clock_age)(&c, now_us, stamp_us, &age_a);
  side = 1;
  bool b = B(eg_clock_age)(&d, now_us, stamp_us, &age_b);
  SAME(a == b && age_a == age_b);
  SAME(c.offset_us == d.offset_us && c.back_us == d.back_us && c.error_us == d.error_us);
  SAME(c.uncounted_us == d.uncounted_us && c.known == d.known);
  same_calls();
}
