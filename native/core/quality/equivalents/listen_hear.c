/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: listen.c
 * Stub: eg_heard_sealed eg_heard_seal eg_watch take
 * Unwind: 68
 * Mutants: 94fd32e18b
 * Why: take_in reads the count next, and takes one that cannot be for 0. */
static bool sealed;
static uint32_t did[2]; /* of all that was called, in its order */

static void mix(uint32_t with) {
  did[side] = (did[side] << 1 | did[side] >> 31) ^ with;
}

bool STUB(eg_heard_sealed)(const eg_mcu_t *m) {
  (void)m;
  return sealed;
}

void STUB(eg_heard_seal)(eg_mcu_t *m) {
  (void)m;
  mix(1);
}

bool STUB(eg_watch)(eg_heard_t *h, uint32_t now_us) {
  (void)h;
  mix(now_us);
  return false;
}

void STUB(take)(eg_heard_t *h, const eg_message_t *m, uint32_t now_us) {
  (void)h;
  (void)m;
  mix(now_us + 2u);
}

uint32_t board_now_us(void) {
  return 7u;
}

bool eg_link_byte(eg_link_t *l, uint8_t byte, uint32_t now_us, eg_message_t *m) {
  (void)l;
  (void)m;
  mix(byte + now_us);
  return byte == 0;
}

static uint32_t counted(const eg_mcu_t *m) {
  return m->staged_n >= EG_STAGED ? 0 : m->staged_n;
}

void harness(void) {
  eg_mcu_t a, b;
  bool whole;
  GIVEN(a.staged_n <= EG_STAGED);
  sealed = whole;
  b = a;
  A(hear)(&a);
  side = 1;
  B(hear)(&b);
  SAME(counted(&a) == counted(&b) && a.drained == b.drained);
  SAME(did[0] == did[1]);
}
