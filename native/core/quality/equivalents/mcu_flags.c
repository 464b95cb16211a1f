/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: mcu.c
 * Stub: eg_crc_of save note_failed
 * Unwind: 20
 * Mutants: b864dd31a5 14c5e1fbbd 03ac189c17
 * Why: a flag is only asked whether it is set, here and in the core. */
static eg_mcu_config_t config;
static eg_record_t record[2];
static int32_t held[EG_OUTPUTS];
static bool sealed;

const eg_memory_t *board_memory(void) {
  static eg_memory_t memory[2];
  memory[side].config = &config;
  memory[side].record = &record[side];
  return &memory[side];
}

uint32_t board_now_us(void) {
  return 5u;
}

void board_readback(int32_t output[EG_OUTPUTS]) {
  for (uint32_t i = 0; i < EG_OUTPUTS; i++) output[i] = held[i];
}

void board_actuate(const int32_t output[EG_OUTPUTS]) {
  for (uint32_t i = 0; i < EG_OUTPUTS; i++) call((uint32_t)output[i]);
}

bool eg_record_sealed(const eg_record_t *r) {
  (void)r;
  return sealed;
}

void eg_init(const eg_policy_t *p, eg_state_t *s) {
  (void)p;
  (void)s;
}

void eg_link_init(eg_link_t *l, const eg_link_config_t *c) {
  (void)l;
  (void)c;
}

void STUB(save)(void) {
  call(record[side].output[EG_SPEED]);
  call(!record[side].commanded);
}

void STUB(note_failed)(eg_mcu_t *m, uint16_t failed) {
  (void)m;
  call(failed);
}

static void same_state(const eg_mcu_t *a, const eg_mcu_t *b) {
  for (uint32_t i = 0; i < EG_OUTPUTS; i++) {
    const eg_channel_state_t *c = &a->kept.state.channel[i], *d = &b->kept.state.channel[i];
    SAME(c->last == d->last && c->target == d->target && !c->started == !d->started);
    SAME(record[0].output[i] == record[1].output[i]);
  }
  SAME(!a->kept.engaged == !b->kept.engaged && a->kept.failed == b->kept.failed);
  SAME(a->kept.period_us == b->kept.period_us && a->kept.last_us == b->kept.last_us);
  SAME(!record[0].commanded == !record[1].commanded);
  same_calls();
}

void harness(void) {
  eg_mcu_t a, b;
  eg_mcu_config_t any;
  eg_record_t before;
  bool whole;
  int32_t one, other;
  config = any;
  sealed = whole;
  held[0] = one;
  held[1] = other;
  record[0] = record[1] = before;
  b = a;
  uint16_t failed = A(recover)(&a);
  side = 1;
  SAME(failed == B(recover)(&b));
  same_state(&a, &b);
  side = 0;
  A(actuate)(&a);
  side = 1;
  B(actuate)(&b);
  same_state(&a, &b);
}
