/* SPDX-License-Identifier: Apache-2.0 */
#include "contracts_flow.h"

#include "crc.c"

uint32_t eg_crc_u32_c(uint32_t crc, uint32_t word) ASSIGNS() ENSURES(true);

/*! enforce eg_crc; loops core_crc.loops.json */
void prove_crc(void) {
  uint32_t n = nondet_u32();
  ASSUME(n <= 65535);
  uint8_t *data = malloc(n);
  ASSUME(n == 0 || data != NULL);
  eg_crc(nondet_u32(), data, n);
  REACHED;
}

/*! enforce eg_crc_u32; replace eg_crc */
void prove_crc_u32(void) {
  eg_crc_u32(nondet_u32(), nondet_u32());
  REACHED;
}

/*! enforce eg_crc_end */
void prove_crc_end(void) {
  eg_crc_end(nondet_u32());
  REACHED;
}

/* The polynomial, bit by bit: one byte from any start, so by induction any number of bytes. */
static uint32_t bitwise(uint32_t crc, uint8_t byte) {
  crc ^= byte;
  for (int i = 0; i < 8; i++) crc = crc & 1u ? (crc >> 1) ^ 0xC8DF352Fu : crc >> 1;
  return crc;
}

/*! unwind 12 */
void prove_crc_table(void) {
  uint32_t crc = nondet_u32();
  uint8_t byte = (uint8_t)nondet_u32();
  CHECK(eg_crc(crc, &byte, 1) == bitwise(crc, byte), "CRC-1 the table is the polynomial");
  uint32_t word = nondet_u32();
  const uint8_t b[4] = {(uint8_t)word, (uint8_t)(word >> 8), (uint8_t)(word >> 16),
                        (uint8_t)(word >> 24)};
  uint32_t c = crc;
  for (int i = 0; i < 4; i++) c = eg_crc(c, &b[i], 1);
  CHECK(eg_crc_u32(crc, word) == c, "CRC-1 a word is its bytes, lowest first");
  const uint8_t text[9] = {'1', '2', '3', '4', '5', '6', '7', '8', '9'};
  CHECK(eg_crc_end(eg_crc(EG_CRC_START, text, 9)) == 0x1697D06Au,
        "CRC-1 the standard's check value");
  REACHED;
}
