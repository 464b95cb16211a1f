/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "edgeguard/core.h"
#include "edgeguard/flow.h"

void eg_init(const eg_policy_t *p, eg_state_t *s) {
  memset(s, 0, sizeof *s);
  s->repeated_us = EG_AGE_MAX;
  for (uint8_t i = 0; i < p->members; i++)
    s->member[i].age_us = s->member[i].newest_us = EG_AGE_MAX;
  for (uint8_t i = 0; i < p->cameras; i++) s->camera[i].age_us = EG_AGE_MAX;
}

void eg_arm(const eg_policy_t *p, eg_state_t *s) {
  if (s->armed) return; /* causes that wait for a re-arm are not to be had more cheaply */
  uint32_t kept = 0;    /* what only a restart clears */
  for (uint32_t c = 0; c < EG_CAUSES; c++)
    if (p->cause[c].clears == EG_CLEARS_NEVER && c != EG_NOT_ARMED) kept |= s->active & EG_BIT(c);
  memset(s->debounce, 0, sizeof s->debounce);
  s->armed = 1;
  s->active =
      kept | EG_BIT(EG_STALE_MODEL); /* until suggestions have been valid for its off time */
  s->debounce[EG_STALE_MODEL].level_us = p->cause[EG_STALE_MODEL].on_us;
}

void eg_takeover(eg_state_t *s) {
  s->taken_over = 1;
}

static bool rule_runs(const eg_policy_t *p, const eg_input_t *in) {
  return in->rule_ok && in->rule_us <= p->controller_budget_us;
}

static uint32_t perceive(const eg_policy_t *p, eg_state_t *s, const eg_input_t *in) {
  uint32_t present = in->missed | eg_time_advance(p, s, in->elapsed_us);
  present |= eg_cameras_update(p, s, in);
  present |= eg_members_update(p, s, in);
  present |= eg_numbers_check(p, s, in);
  if (!s->armed) present |= EG_BIT(EG_NOT_ARMED);
  if (!rule_runs(p, in)) present |= EG_BIT(EG_CONTROLLER_LOST);
  if (s->conflict) present |= EG_BIT(EG_ENVELOPE_CONFLICT); /* of the last command */
  return present;
}

static bool stands(const eg_policy_t *p, const eg_input_t *in) {
  const eg_number_t *speed = eg_signal(p, in, p->standstill_signal);
  return speed && speed->value < p->standstill_below && speed->value > -p->standstill_below;
}

static void report(const eg_policy_t *p, eg_state_t *s, const eg_input_t *in, eg_decision_t *out) {
  out->sequence = s->sequence;
  out->causes = s->active;
  out->present = s->present;
  out->mode = (uint8_t)eg_mode(p, s);
  out->active = (in->engaged || in->engaged_unknown) && !s->taken_over;
  out->operator_request = eg_asks_operator(p, s->active);
  for (uint8_t i = 0; i < p->members; i++) out->member_age_us[i] = s->member[i].age_us;
  for (uint8_t i = 0; i < p->cameras; i++) out->camera_age_us[i] = s->camera[i].age_us;
}

static void answer(const eg_state_t *s, const eg_input_t *in, eg_decision_t *out) {
  out->question = in->question;
  out->answer = eg_crc_end(s->flow);
  for (uint32_t i = 0; i < EG_CHECKS; i++) out->check[i] = s->check[i];
}

void eg_decide(const eg_policy_t *p, eg_state_t *s, const eg_input_t *in, eg_decision_t *out) {
  memset(out, 0, sizeof *out);
  eg_flow_begin(s, in->question, ++s->sequence);
  uint32_t present = perceive(p, s, in);
  bool trusted = eg_worst(p, present) < EG_FALLBACK;
  eg_channels_start(p, s, in);
  present |= eg_votes_update(p, s, trusted, out);
  eg_causes_update(p, s, present, in->elapsed_us);
  s->standstill = stands(p, in);
  report(p, s, in, out);
  eg_commands_update(p, s, in, out);
  answer(s, in, out);
}
