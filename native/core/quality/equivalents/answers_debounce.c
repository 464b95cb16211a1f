/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: answers.c
 * Link: causes.c
 * Unwind: 14
 * Mutants: 8b9e319573 93f5def425 dd361fa9f0 4d21b1b253 1c18cdf7ca d570b47efc d7e886ae4f
 * c18da6f364 03ea9d675e f72968fc26 309901b8e0
 * Why: the level and the quiet time pass the row's times in the same steps. */
uint32_t eg_crc_u32(uint32_t crc, uint32_t word) {
  call((uint64_t)crc << 32 | word);
  return crc + 1u;
}

void harness(void) {
  uint32_t crc;
  uint32_t a = A(fold_debounce)(crc);
  side = 1;
  SAME(a == B(fold_debounce)(crc));
  same_calls();
}
