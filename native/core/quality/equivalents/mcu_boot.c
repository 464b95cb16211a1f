/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: mcu.c
 * Stub: start note_failed seal
 * Unwind: 10
 * Mutants: 3d6293e2c3
 * Why: the count of words meets the canary's size, and does not pass it. */
#define MOST 8u
static volatile uint32_t canary[2][MOST];
static uint32_t words;

const eg_memory_t *board_memory(void) {
  static eg_memory_t memory[2];
  memory[side].canary = canary[side];
  memory[side].canary_words = words;
  return &memory[side];
}

void board_init(uint8_t entropy[EG_ENTROPY_BYTES]) {
  entropy[0] = 1;
}

void eg_record_boot(eg_record_t *r, eg_record_t saved[EG_SAVES]) {
  (void)r;
  (void)saved;
  call(1);
}

uint16_t eg_self_test(eg_mcu_t *m) {
  (void)m;
  return 3;
}

void STUB(start)(eg_mcu_t *m, uint16_t failed, const uint8_t entropy[EG_ENTROPY_BYTES]) {
  (void)m;
  call((uint64_t)entropy[0] << 16 | failed);
}

void STUB(note_failed)(eg_mcu_t *m, uint16_t failed) {
  (void)m;
  call(failed);
}

void STUB(seal)(eg_mcu_t *m) {
  (void)m;
  call(2);
}

void harness(void) {
  eg_mcu_t m;
  uint32_t n;
  GIVEN(n <= MOST);
  words = n;
  A(eg_mcu_boot)(&m);
  side = 1;
  B(eg_mcu_boot)(&m);
  same_calls();
  for (uint32_t i = 0; i < MOST; i++) SAME(canary[0][i] == canary[1][i]);
}
