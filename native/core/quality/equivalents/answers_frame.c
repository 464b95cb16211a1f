/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: answers.c
 * Link: e2e.c
 * Unwind: 200
 * Mutants: a48a40f784 4bc86afb88
 * Why: the header is written over whatever the frame begins with. */
static uint8_t tag[EG_TAG_BYTES];

static uint32_t fold(uint32_t crc, const uint8_t *data, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) call((uint64_t)crc << 8 | data[i]);
  return crc + n;
}

uint32_t eg_crc(uint32_t crc, const uint8_t *data, uint32_t n) {
  return fold(crc, data, n);
}

uint32_t eg_crc_end(uint32_t crc) {
  return ~crc;
}

void eg_cmac(const uint8_t key[EG_KEY_BYTES], const uint8_t *head, uint32_t head_n,
             const uint8_t *data, uint32_t n, uint8_t out[EG_TAG_BYTES]) {
  (void)fold(fold(fold(0, key, EG_KEY_BYTES), head, head_n), data, n);
  for (uint32_t i = 0; i < EG_TAG_BYTES; i++) out[i] = tag[i];
}

uint16_t eg_cobs_encode(const uint8_t *data, uint16_t n, uint8_t *out) {
  for (uint32_t i = 0; i < n; i++) out[i] = data[i];
  out[n] = 0;
  return (uint16_t)(n + 1u);
}

void harness(void) {
  uint32_t crc;
  uint32_t a = A(fold_frame)(crc);
  side = 1;
  SAME(a == B(fold_frame)(crc));
  same_calls();
}
