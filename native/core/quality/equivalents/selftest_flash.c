/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: selftest.c
 * Unwind: 4
 * Mutants: 83c5278273
 * Why: a slice is never more than what is left. */
static uint8_t image[64];
static eg_seal_t seal;

uint32_t eg_crc(uint32_t crc, const uint8_t *data, uint32_t n) {
  call((uint64_t)(data - image) << 32 | n);
  return crc + n;
}

uint32_t eg_crc_end(uint32_t crc) {
  return ~crc;
}

void harness(void) {
  eg_memory_t memory;
  eg_kept_t a, b;
  eg_seal_t any;
  uint32_t slice;
  seal = any;
  memory.seal = &seal;
  memory.image = image;
  GIVEN(memory.image_bytes >= 1u && memory.image_bytes <= sizeof image);
  GIVEN(a.image_at < memory.image_bytes);
  b = a;
  bool holds = A(flash_holds)(&memory, &a, slice);
  side = 1;
  SAME(holds == B(flash_holds)(&memory, &b, slice));
  SAME(a.image_at == b.image_at && a.image_crc == b.image_crc);
  same_calls();
}
