/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: cobs.c
 * Unwind: 9
 * Mutants: d7993b65f9
 * Why: what is written grows by one up to the room, so it meets it. */
void harness(void) {
  uint8_t data[7], a[5], b[5];
  uint16_t n, room;
  GIVEN(n <= sizeof data && room <= sizeof a);
  uint16_t wrote = A(eg_cobs_decode)(data, n, a, room);
  SAME(wrote == B(eg_cobs_decode)(data, n, b, room));
  for (uint16_t i = 0; i < wrote; i++) SAME(a[i] == b[i]);
}
