/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: listen.c
 * Unwind: 34
 * Mutants: fad1a92be8 985cffc4c2 d93410fa44
 * Why: a flag is only asked whether it is set (arming.c). */
static eg_mcu_config_t config;

const eg_memory_t *board_memory(void) {
  static eg_memory_t memory;
  memory.config = &config;
  return &memory;
}

static void same_arming(const eg_arming_t *a, const eg_arming_t *b) {
  SAME(!a->greeted == !b->greeted && !a->challenged == !b->challenged && !a->asked == !b->asked);
  SAME(a->agrees == b->agrees && a->came_us == b->came_us && a->sent_us == b->sent_us);
  for (uint32_t i = 0; i < EG_NONCE_BYTES; i++) SAME(a->host_nonce[i] == b->host_nonce[i]);
  for (uint32_t i = 0; i < EG_NONCE_BYTES; i++) SAME(a->arm.nonce[i] == b->arm.nonce[i]);
}

void harness(void) {
  eg_heard_t a, b, c, d, e, f;
  eg_log_head_t head;
  eg_mcu_config_t any;
  eg_hello_t said;
  eg_arm_t asked;
  uint32_t now_us;
  config = any;
  b = a;
  d = c;
  f = e;
  A(hello)(&a, &said);
  B(hello)(&b, &said);
  same_arming(&a.arming, &b.arming);
  A(arm)(&c, &asked, now_us);
  B(arm)(&d, &asked, now_us);
  same_arming(&c.arming, &d.arming);
  A(log_head)(&e, &head);
  B(log_head)(&f, &head);
  SAME(!e.head_came == !f.head_came && e.head.sequence == f.head.sequence);
  for (uint32_t i = 0; i < EG_HASH_BYTES; i++) SAME(e.head.hash[i] == f.head.hash[i]);
}
