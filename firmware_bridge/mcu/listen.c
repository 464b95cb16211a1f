/* SPDX-License-Identifier: Apache-2.0 */
#include "mcu.h"

bool eg_heard_sealed(const eg_mcu_t *m) {
  return m->heard_crc == eg_crc_of(&m->heard, sizeof m->heard);
}

void eg_heard_seal(eg_mcu_t *m) {
  m->heard_crc = eg_crc_of(&m->heard, sizeof m->heard);
}

bool eg_watch(eg_heard_t *h, uint32_t now_us) {
  uint32_t elapsed_us = now_us - h->watched_us;
  h->watched_us = now_us;
  eg_link_pass(&h->link, elapsed_us);
  return eg_watchdog_tick(&h->watchdog, elapsed_us);
}

static void hello(eg_heard_t *h, const eg_hello_t *said) {
  eg_arming_t *a = &h->arming;
  const uint8_t *own = board_memory()->config->policy_hash;
  a->agrees = 1;
  for (uint32_t i = 0; i < EG_HASH_BYTES; i++) a->agrees &= said->policy[i] == own[i];
  for (uint32_t i = 0; i < EG_NONCE_BYTES; i++) a->host_nonce[i] = said->nonce[i];
  a->greeted = 1;
  a->challenged = 0; /* an older challenge ends here */
}

static void arm(eg_heard_t *h, const eg_arm_t *said, uint32_t now_us) {
  h->arming.arm = *said;
  h->arming.came_us = now_us;
  h->arming.asked = 1;
}

static void command(eg_heard_t *h, const eg_command_msg_t *said, uint32_t now_us) {
  eg_inbox_t *b = &h->inbox;
  b->command = *said;
  b->stops = said->mode == EG_SAFE_STOP;
  b->serial++;
  b->arrived_us = now_us;
  b->age_us = EG_AGE_MAX;
  (void)eg_clock_age(&h->link.clock, now_us, said->stamp_us, &b->age_us); /* the link accepted it */
  eg_watchdog_command(&h->watchdog, said);
}

static void log_head(eg_heard_t *h, const eg_log_head_t *said) {
  h->head = *said;
  h->head_came = 1;
}

/* What the link accepts at this end is one of these. */
static void take(eg_heard_t *h, const eg_message_t *m, uint32_t now_us) {
  switch ((eg_message_type_t)m->type) {
  case EG_MSG_HELLO: hello(h, &m->as.hello); break;
  case EG_MSG_ARM: arm(h, &m->as.arm, now_us); break;
  case EG_MSG_COMMAND: command(h, &m->as.command, now_us); break;
  case EG_MSG_VERDICT: eg_watchdog_verdict(&h->watchdog, &m->as.verdict); break;
  case EG_MSG_ANSWER: eg_watchdog_answer(&h->watchdog, &m->as.answer); break;
  default: log_head(h, &m->as.log_head); break;
  }
}

/* The bytes that wait, as far as the seal holds; if not, the next turn finds it too. */
static void hear(eg_mcu_t *m) {
  eg_message_t message;
  uint32_t n = m->staged_n;
  m->staged_n = 0;
  if (!eg_heard_sealed(m)) return;
  uint32_t now_us = board_now_us();
  (void)eg_watch(&m->heard, now_us);
  for (uint32_t i = 0; i < n; i++)
    if (eg_link_byte(&m->heard.link, m->staged[i], now_us, &message))
      take(&m->heard, &message, now_us);
  eg_heard_seal(m);
}

/* One piece; false when there is none. A zero ends a frame, so it is time to look at it. */
static bool take_in(eg_mcu_t *m) {
  if (m->staged_n >= EG_STAGED) m->staged_n = 0; /* only a flipped bit can say so */
  if (m->drained >= EG_RX_PER_TURN) return false;
  uint32_t from = m->staged_n, room = EG_STAGED - from;
  uint32_t left = EG_RX_PER_TURN - m->drained;
  uint32_t n = board_rx(m->staged + from, room < left ? room : left);
  m->drained += n;
  m->staged_n += n;
  bool ends = m->staged_n == EG_STAGED;
  for (uint32_t i = from; i < m->staged_n; i++) ends = ends || m->staged[i] == 0;
  if (ends) hear(m);
  return n > 0;
}

void eg_mcu_listen(eg_mcu_t *m, uint32_t until_us) {
  while (take_in(m) && (int32_t)(board_now_us() - until_us) < 0) {
  }
}
