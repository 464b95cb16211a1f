/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "mcu.h"

bool eg_send(eg_mcu_t *m, const eg_message_t *message) {
  uint8_t wire[EG_WIRE_MAX];
  uint16_t n = eg_link_wire(&m->heard.link, message, wire);
  return board_tx(wire, n);
}

static uint8_t valid(const eg_number_t *n) {
  return n->validity == EG_VALID ? 1u : 0u;
}

static int32_t valid_or_0(const eg_number_t *n) {
  return valid(n) ? n->value : 0;
}

static void state(eg_mcu_t *m, uint32_t now_us) {
  eg_message_t r = {.type = EG_MSG_STATE};
  eg_state_msg_t *s = &r.as.state;
  s->stamp_us = now_us;
  s->causes = m->out.causes;
  s->command_age_us = m->out.member_age_us[0];
  s->mode = m->out.mode;
  s->measured_valid = valid(&m->sensed.speed) | valid(&m->sensed.steering) << 1;
  s->speed = valid_or_0(&m->sensed.speed);
  s->steering = valid_or_0(&m->sensed.steering);
  for (uint32_t i = 0; i < EG_OUTPUTS; i++) s->output[i] = board_memory()->record->output[i];
  (void)eg_send(m, &r); /* lost: another one comes in the next turn */
}

static void boot(eg_mcu_t *m) {
  const eg_record_t *r = board_memory()->record;
  eg_message_t b = {.type = EG_MSG_BOOT};
  b.as.boot.reason = r->reason;
  b.as.boot.first = r->first;
  b.as.boot.resets = r->resets;
  b.as.boot.self_test = m->kept.failed | (uint32_t)r->failed_before << 16;
  memcpy(b.as.boot.policy, board_memory()->config->policy_hash, EG_HASH_BYTES);
  (void)eg_send(m, &b);
}

/* One that does not get out is asked again, and its time runs: nothing here is decided by what a
 * transmitter says. */
static void question(eg_mcu_t *m) {
  eg_message_t q = {.type = EG_MSG_QUESTION};
  (void)eg_watch(&m->heard, board_now_us()); /* what this turn took is not in its window */
  q.as.question.question = eg_watchdog_ask(&m->heard.watchdog);
  q.as.question.open_us = EG_ANSWER_OPEN_US;
  q.as.question.close_us = EG_ANSWER_CLOSE_US;
  if (q.as.question.question) (void)eg_send(m, &q);
}

static void log_ack(eg_mcu_t *m) {
  eg_message_t a = {.type = EG_MSG_LOG_ACK};
  a.as.log_head = m->heard.head;
  if (eg_send(m, &a)) m->heard.head_came = 0;
}

void eg_report(eg_mcu_t *m, uint32_t now_us) {
  bool open = m->heard.link.in_session;
  state(m, now_us);
  if (open) question(m);
  if (open && m->heard.head_came) log_ack(m);
  if (!open && m->kept.turns % EG_BOOT_TURNS == 1u) boot(m);
}
