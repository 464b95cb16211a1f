/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: sense.c
 * Unwind: 4
 * Mutants: 0b69c84c9b 065a46748d 40174a0aea
 * Why: of evidence that is bad nobody reads the value; different scores are counted up to 3. */
static eg_mcu_config_t config;

const eg_memory_t *board_memory(void) {
  static eg_memory_t memory;
  memory.config = &config;
  return &memory;
}

static void alike(const eg_suggestion_t *c, const eg_suggestion_t *d) {
  SAME(c->serial == d->serial && c->present == d->present);
  SAME(c->age_us == d->age_us && c->latency_us == d->latency_us);
  const eg_evidence_t *e = &c->evidence, *f = &d->evidence;
  SAME(e->bad == f->bad && (e->bad || e->value == f->value));
  SAME(e->certainty == f->certainty && e->margin == f->margin && e->sum == f->sum);
  SAME((e->distinct >= 3) == (f->distinct >= 3) && e->label == f->label);
}

void harness(void) {
  eg_mcu_t a, b;
  eg_mcu_config_t any;
  uint32_t now_us;
  config = any;
  GIVEN(a.heard.inbox.command.channels <= EG_OUTPUTS);
  b = a;
  for (uint32_t channel = 0; channel < EG_OUTPUTS; channel++) {
    A(suggest)(&a, channel, now_us);
    B(suggest)(&b, channel, now_us);
    alike(&a.in.member[channel], &b.in.member[channel]);
  }
}
