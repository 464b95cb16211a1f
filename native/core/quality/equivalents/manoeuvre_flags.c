/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: manoeuvre.c
 * Unwind: 4
 * Mutants: 0e087d0f2e 10542256ae 1349e1dc49
 * Why: a flag is only asked whether it is set, here and in the core. */
static eg_record_t record;
static uint32_t now_us[2];
static uint32_t looks[2];

const eg_memory_t *board_memory(void) {
  static eg_memory_t memory;
  memory.record = &record;
  return &memory;
}

uint32_t board_now_us(void) {
  return now_us[looks[side]++ & 1u];
}

int32_t eg_rate_step(int32_t per_second, uint32_t elapsed_us, uint32_t period_us) {
  return (int32_t)((uint32_t)per_second ^ elapsed_us ^ period_us) & INT32_MAX;
}

static void same_kept(const eg_mcu_t *a, const eg_mcu_t *b) {
  SAME(a->kept.path == b->kept.path && a->kept.path_us == b->kept.path_us);
  SAME(!a->kept.path_known == !b->kept.path_known);
  SAME(!a->in.rule_ok == !b->in.rule_ok && a->in.rule_us == b->in.rule_us);
  SAME(a->in.rule[EG_SPEED] == b->in.rule[EG_SPEED]);
  SAME(a->in.rule[EG_STEERING] == b->in.rule[EG_STEERING]);
}

void harness(void) {
  eg_mcu_t a, b;
  eg_record_t any;
  uint32_t elapsed_us, began_us, ended_us;
  record = any;
  now_us[0] = began_us;
  now_us[1] = ended_us;
  b = a;
  A(eg_manoeuvre)(&a, elapsed_us);
  side = 1;
  B(eg_manoeuvre)(&b, elapsed_us);
  same_kept(&a, &b);
  A(eg_path_update)(&a, elapsed_us);
  B(eg_path_update)(&b, elapsed_us);
  same_kept(&a, &b);
}
