/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: link.c
 * Stub: eg_link_accept
 * Unwind: 70
 * Mutants: eea96a1a48
 * Why: the count of held bytes meets the room, and does not pass it. */
static uint16_t decoded;
static bool accepted;

uint16_t eg_cobs_decode(const uint8_t *data, uint16_t n, uint8_t *out, uint16_t room) {
  (void)out;
  call((uint64_t)data[0] << 32 | (uint64_t)n << 16 | room);
  return decoded;
}

bool STUB(eg_link_accept)(eg_link_t *l, const uint8_t *frame, uint16_t length, uint32_t now_us,
                          eg_message_t *m) {
  (void)l;
  (void)frame;
  (void)m;
  call((uint64_t)length << 32 | now_us);
  return accepted;
}

void harness(void) {
  eg_link_t a, b;
  eg_message_t m;
  uint8_t byte;
  uint32_t now_us;
  uint16_t length;
  bool right;
  decoded = length;
  accepted = right;
  GIVEN(a.holds <= sizeof a.held);
  b = a;
  bool heard = A(eg_link_byte)(&a, byte, now_us, &m);
  side = 1;
  SAME(heard == B(eg_link_byte)(&b, byte, now_us, &m));
  SAME(a.holds == b.holds);
  for (uint32_t i = 0; i < sizeof a.held; i++) SAME(a.held[i] == b.held[i]);
  same_calls();
}
