/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: arming.c
 * Unwind: 6
 * Mutants: 3dfe70383c 0c64bcf664
 * Why: of the host's mode nothing is asked but whether it is SAFE_STOP (sense.c). */
static eg_record_t record;

const eg_memory_t *board_memory(void) {
  static eg_memory_t memory;
  memory.record = &record;
  return &memory;
}

uint32_t eg_crc_of(const void *data, uint32_t n) {
  call((uint64_t)n << 32 | *(const uint8_t *)data);
  return n;
}

void eg_link_open(eg_link_t *l, const uint8_t host[EG_NONCE_BYTES],
                  const uint8_t mcu[EG_NONCE_BYTES]) {
  (void)l;
  call((uint64_t)host[0] << 8 | mcu[0]);
}

void eg_watchdog_init(eg_watchdog_t *w, uint32_t seed) {
  (void)w;
  call(seed);
}

void harness(void) {
  eg_heard_t a, b;
  eg_record_t before, after;
  b = a;
  record = before;
  A(open)(&a);
  after = record;
  record = before;
  side = 1;
  B(open)(&b);
  same_calls();
  for (uint32_t i = 0; i < EG_ARMS_PER_MINUTE; i++) SAME(record.arm_us[i] == after.arm_us[i]);
  SAME((a.inbox.command.mode == EG_SAFE_STOP) == (b.inbox.command.mode == EG_SAFE_STOP));
}
