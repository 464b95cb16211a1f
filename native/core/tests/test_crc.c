/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "check.h"
#include "edgeguard/flow.h"

/* Bit by bit from the polynomial, as the standard writes it; reflected. */
static uint32_t by_definition(const uint8_t *data, uint32_t n) {
  uint32_t crc = 0xFFFFFFFFu;
  for (uint32_t i = 0; i < n; i++) {
    crc ^= data[i];
    for (int bit = 0; bit < 8; bit++)
      crc = crc & 1u ? (crc >> 1) ^ 0xC8DF352Fu /* 0xF4ACFB13 mirrored */ : crc >> 1;
  }
  return ~crc;
}

static uint32_t crc_of(const uint8_t *data, uint32_t n) {
  return eg_crc_end(eg_crc(EG_CRC_START, data, n));
}

static void standard_vectors(void) {
  CHECK(crc_of((const uint8_t *)"123456789", 9) == 0x1697D06Au, "check value");
  static const struct {
    uint32_t crc, n;
    uint8_t data[9];
  } of_autosar[] = {/* SWS_CRCLibrary, 7.2.3.2 */
                    {0x6FB32240u, 4, {0}},
                    {0x4F721A25u, 3, {0xF2, 0x01, 0x83}},
                    {0x20662DF8u, 4, {0x0F, 0xAA, 0x00, 0x55}},
                    {0x9BD7996Eu, 4, {0x00, 0xFF, 0x55, 0x11}},
                    {0xA65A343Du, 9, {0x33, 0x22, 0x55, 0xAA, 0xBB, 0xCC, 0xDD, 0xEE, 0xFF}},
                    {0xEE688A78u, 3, {0x92, 0x6B, 0x55}},
                    {0xFFFFFFFFu, 4, {0xFF, 0xFF, 0xFF, 0xFF}}};
  for (size_t i = 0; i < sizeof of_autosar / sizeof *of_autosar; i++)
    CHECK(crc_of(of_autosar[i].data, of_autosar[i].n) == of_autosar[i].crc, "vector %zu: %08X", i,
          crc_of(of_autosar[i].data, of_autosar[i].n));
}

static void every_byte_at_every_state(void) {
  uint8_t data[3];
  for (uint32_t a = 0; a < 256; a++)
    for (uint32_t b = 0; b < 256; b++) {
      data[0] = (uint8_t)a;
      data[1] = (uint8_t)b;
      data[2] = (uint8_t)(a * 31 + b);
      for (uint32_t n = 0; n <= 3; n++)
        CHECK(crc_of(data, n) == by_definition(data, n), "%u %u, %u bytes", a, b, n);
    }
}

static void pieces_join(void) {
  const uint8_t data[] = {1, 2, 3, 4, 0xEF, 0xBE, 0xAD, 0xDE};
  uint32_t crc = eg_crc(EG_CRC_START, data, 4);
  CHECK(eg_crc_end(eg_crc_u32(crc, 0xDEADBEEFu)) == crc_of(data, 8), "lowest byte first");
  CHECK(eg_crc(crc, data, 0) == crc, "nothing changes nothing");
}

/* An answer must depend on the question, the tick, every check's CRC and their order. */
static void answers_depend_on_everything(void) {
  uint32_t check[EG_CHECKS] = {1, 2, 3, 4, 5, 6, 7};
  uint32_t answer = eg_flow_answer(77, 5, check);
  CHECK(eg_flow_answer(78, 5, check) != answer, "question");
  CHECK(eg_flow_answer(77, 6, check) != answer, "tick");
  for (int i = 0; i < EG_CHECKS; i++) {
    check[i] ^= 0x100u;
    CHECK(eg_flow_answer(77, 5, check) != answer, "check %d", i);
    check[i] ^= 0x100u;
  }
  check[0] = 2;
  check[1] = 1;
  CHECK(eg_flow_answer(77, 5, check) != answer, "order");
}

int main(void) {
  standard_vectors();
  every_byte_at_every_state();
  pieces_join();
  answers_depend_on_everything();
  return 0;
}
