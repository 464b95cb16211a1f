/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "arith.h"
#include "mcu.h"

/* A wrong answer is present in the turn that finds it, and latched in the core; then the questions
 * go on anew, so that arming can tell a host that answers again from one that does not. */
static uint32_t answers(eg_heard_t *h, uint32_t now_us) {
  if (!eg_watch(h, now_us)) return 0;
  eg_watchdog_init(&h->watchdog, h->watchdog.random);
  return EG_BIT(EG_ANSWER_WRONG);
}

/* Causes of the link. Outside a session there is no link to lose: what went wrong before is latched
 * in the core, and arming opens the next. */
static uint32_t link_causes(eg_heard_t *h, uint32_t now_us) {
  uint32_t present = answers(h, now_us);
  present |= eg_link_tick(&h->link);
  if (!h->link.in_session) return 0;
  if (h->inbox.stops) present |= EG_BIT(EG_PEER_STOPPED);
  if (present & EG_BIT(EG_LINK_LOST)) eg_link_close(&h->link);
  return present;
}

/* What the host wants on a channel, as a member says it: the core votes on it like on any other. */
static void suggest(eg_mcu_t *m, uint32_t channel, uint32_t now_us) {
  const eg_inbox_t *b = &m->heard.inbox;
  uint8_t from = board_memory()->config->host_channel[channel];
  bool there = from < b->command.channels;
  eg_suggestion_t *s = &m->in.member[channel];
  s->serial = b->serial;
  s->present = m->heard.link.in_session;
  s->age_us = eg_age_add(b->age_us, now_us - b->arrived_us);
  s->latency_us = b->age_us;
  s->evidence.bad = !there;
  s->evidence.value = there ? b->command.command[from] : 0;
  s->evidence.certainty = s->evidence.margin = s->evidence.sum = EG_ONE;
  s->evidence.distinct = 3;
}

/* After power came there is no last output: the stop begins where the vehicle is. */
static void begin(const eg_sensed_t *sensed, eg_record_t *r) {
  if (r->commanded) return;
  r->output[EG_SPEED] = sensed->speed.validity == EG_VALID ? sensed->speed.value : 0;
  r->output[EG_STEERING] = sensed->steering.validity == EG_VALID ? sensed->steering.value : 0;
}

/* A host that was found wrong may say that commands are asked for again, not that they no longer
 * are: that would end the stop which it gave cause for. (One that is lost says nothing.) */
static void engage(eg_mcu_t *m) {
  const uint32_t distrust = EG_BIT(EG_ANSWER_WRONG) | EG_BIT(EG_LINK_FAULTY);
  uint8_t said = m->heard.inbox.command.engaged;
  bool trusted = ((m->kept.state.active | m->in.missed) & distrust) == 0;
  if (trusted || said) m->kept.engaged = said;
}

void eg_sense(eg_mcu_t *m, uint32_t now_us, uint32_t elapsed_us) {
  eg_input_t *in = &m->in;
  board_sense(&m->sensed);
  begin(&m->sensed, board_memory()->record);
  memset(in, 0, sizeof *in);
  in->elapsed_us = elapsed_us;
  in->rule_us = EG_AGE_MAX; /* until the controller ran */
  in->missed = link_causes(&m->heard, now_us);
  in->signal[EG_SPEED] = m->sensed.speed;
  in->signal[EG_STEERING] = m->sensed.steering;
  if (m->kept.failed) return;
  for (uint32_t i = 0; i < EG_OUTPUTS; i++) suggest(m, i, now_us);
  engage(m);
  in->engaged = m->kept.engaged;
}
