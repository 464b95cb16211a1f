/* SPDX-License-Identifier: Apache-2.0 */
/* HELLO, CHALLENGE, ARM, ARMED: the only way out of SAFE_STOP, at boot and after every stop. */
#include <string.h>

#include "mcu.h"

static void put(uint8_t *into, uint32_t word) {
  for (uint32_t i = 0; i < 4; i++) into[i] = (uint8_t)(word >> 8 * i);
}

/* Not to be guessed without the key, not to come twice: the seed differs at every boot as well as
 * the board can make it, the count within one. */
static void make_nonce(eg_heard_t *h) {
  uint8_t count[8];
  eg_arming_t *a = &h->arming;
  put(count, ++a->nonces);
  put(count + 4, board_now_us());
  eg_cmac(h->link.config.key, a->entropy, sizeof a->entropy, count, sizeof count, a->nonce);
}

static void challenge(eg_mcu_t *m) {
  eg_arming_t *a = &m->heard.arming;
  eg_message_t c = {.type = EG_MSG_CHALLENGE};
  make_nonce(&m->heard);
  memcpy(c.as.challenge.host_nonce, a->host_nonce, EG_NONCE_BYTES);
  memcpy(c.as.challenge.nonce, a->nonce, EG_NONCE_BYTES);
  c.as.challenge.policy_agrees = a->agrees;
  c.as.challenge.authenticated = m->heard.link.config.authenticated;
  a->sent_us = board_now_us();
  a->challenged = eg_send(m, &c);
  a->greeted = 0;
}

/* What keeps it in SAFE_STOP: present now (but for not being armed), or never to be cleared. */
static uint32_t blocking(const eg_policy_t *p, const eg_state_t *s) {
  uint32_t stays = s->present;
  for (uint32_t c = 0; c < EG_CAUSES; c++)
    if (p->cause[c].clears == EG_CLEARS_NEVER) stays |= s->active & EG_BIT(c);
  return stays & ~EG_BIT(EG_NOT_ARMED);
}

static eg_arm_result_t release(const eg_policy_t *p, eg_state_t *s) {
  if (eg_worst(p, blocking(p, s)) == EG_SAFE_STOP) return EG_ARM_CAUSE;
  if (!s->standstill) return EG_ARM_MOVING;
  if (s->armed) return eg_rearm(p, s) == EG_REARMED ? EG_ARM_OK : EG_ARM_CAUSE;
  eg_arm(p, s);
  return EG_ARM_OK;
}

static bool agreed(const eg_arming_t *a) {
  uint8_t token[EG_TAG_BYTES];
  const uint8_t *key = board_memory()->config->operator_key;
  eg_cmac(key, a->nonce, EG_NONCE_BYTES, NULL, 0, token);
  return eg_tag_equal(token, a->arm.token);
}

static eg_arm_result_t judge(eg_mcu_t *m) {
  const eg_arming_t *a = &m->heard.arming;
  if (!a->challenged || !eg_tag_equal(a->arm.nonce, a->nonce)) return EG_ARM_NONCE;
  if (!agreed(a)) return EG_ARM_TOKEN;
  if (!a->agrees) return EG_ARM_POLICY;
  if (board_memory()->record->arm_us[EG_ARMS_PER_MINUTE - 1u] < EG_ARM_SPAN_US)
    return EG_ARM_TOO_OFTEN;
  if (m->kept.failed) return EG_ARM_CAUSE;
  if (!eg_clock_measure(&m->heard.link.clock, a->sent_us, a->came_us, a->arm.stamp_us))
    return EG_ARM_SLOW;
  return release(&board_memory()->config->policy, &m->kept.state);
}

/* A new session: nothing of the old one counts. */
static void open(eg_heard_t *h) {
  eg_record_t *r = board_memory()->record;
  for (uint32_t i = EG_ARMS_PER_MINUTE - 1u; i > 0; i--) r->arm_us[i] = r->arm_us[i - 1u];
  r->arm_us[0] = 0;
  eg_link_open(&h->link, h->arming.host_nonce, h->arming.nonce);
  eg_watchdog_init(&h->watchdog, eg_crc_of(h->arming.nonce, EG_NONCE_BYTES));
  h->inbox.stops = 0;
  h->inbox.command.engaged = 1;
  h->head_came = h->head.sequence != 0; /* a host that crashed is told how far its log went */
}

static void conclude(eg_mcu_t *m) {
  eg_arming_t *a = &m->heard.arming;
  eg_message_t r = {.type = EG_MSG_ARMED};
  eg_arm_result_t result = judge(m);
  r.as.armed.result = (uint8_t)result;
  r.as.armed.round_trip_us = a->challenged ? a->came_us - a->sent_us : 0;
  r.as.armed.causes = m->kept.state.present;
  if (result == EG_ARM_OK) open(&m->heard);
  (void)eg_send(m, &r); /* lost: the host asks again, and finds out */
  a->challenged = 0;
  a->asked = 0;
}

void eg_arming(eg_mcu_t *m) {
  if (m->heard.arming.asked) conclude(m);
  if (m->heard.arming.greeted) challenge(m);
}
