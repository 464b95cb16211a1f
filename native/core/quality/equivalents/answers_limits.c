/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: answers.c
 * Link: envelope.c
 * Unwind: 10
 * Mutants: a75087e5f8 67274abfd3 8a242768cf 31381f43a5 1b8c232b2d 33d84c7975 47930fe596 eaff396212
 * 1f47e5c5d7 e179af32c3 81b3e85943 503e99084f 4267b077c4 63bf88f4b7 e241b1f72a d0d6eb931e
 * 9926ef0d2d 243c132956 fc5f542877 3d0542c67b dfafb2c8ad c189cf8966 fe67688b04
 * Why: beyond a limit every wish gives the same step, and rounding hides the rest. */
uint32_t eg_crc_u32(uint32_t crc, uint32_t word) {
  call((uint64_t)crc << 32 | word);
  return crc + 1u;
}

void harness(void) {
  uint32_t crc;
  uint32_t a = A(fold_limits)(crc);
  side = 1;
  SAME(a == B(fold_limits)(crc));
  same_calls();
}
