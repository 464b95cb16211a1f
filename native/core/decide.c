/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "edgeguard/core.h"

void eg_init(const eg_policy_t *p, eg_state_t *s) {
  memset(s, 0, sizeof *s);
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

/* A signal that may be used, or NULL: there is none, it is not a number, or out of its range. */
static const eg_number_t *usable(const eg_policy_t *p, const eg_input_t *in, uint8_t index) {
  if (index == EG_NONE) return NULL;
  const eg_number_t *n = &in->signal[index];
  return eg_number_ok(n, p->signal[index].min, p->signal[index].max) ? n : NULL;
}

static bool rule_runs(const eg_policy_t *p, const eg_input_t *in) {
  return in->rule_ok && in->rule_us <= p->controller_budget_us;
}

/* A channel starts from what is measured; from its stop command when nothing is, until it is or
 * the guard is armed. */
static void start(const eg_channel_t *c, eg_channel_state_t *s, const eg_number_t *measured,
                  bool armed) {
  if (s->started) return;
  s->last = measured ? measured->value : c->stop;
  s->target = s->last;
  s->started = measured || armed || c->measured == EG_NONE;
}

static int32_t want_of(const eg_policy_t *p, const eg_input_t *in, uint8_t channel, eg_mode_t mode,
                       int32_t target) {
  if (mode < EG_FALLBACK) return target;
  if (mode == EG_FALLBACK && in->rule_ok) return in->rule[channel]; /* late is noted, not wrong */
  return p->channel[channel].stop;
}

static eg_limits_t limits_now(const eg_policy_t *p, const eg_input_t *in, const eg_channel_t *c,
                              eg_mode_t mode) {
  const eg_limit_table_t *table = mode == EG_DEGRADED ? &c->degraded : &c->nominal;
  eg_limits_t l = eg_limits_at(table, usable(p, in, c->table_signal));
  uint32_t step_us = in->elapsed_us ? in->elapsed_us : p->period_us; /* a clock that stands */
  l.rise = eg_rate_step(l.rise, step_us, p->period_us);
  l.fall = eg_rate_step(l.fall, step_us, p->period_us);
  return l;
}

/* The command of one channel. While inactive it follows what is measured, so that nothing winds up;
 * under the rules the target follows the command, so that an old suggestion is not resumed. */
static void command(const eg_policy_t *p, eg_state_t *s, const eg_input_t *in, uint8_t channel,
                    eg_decision_t *out) {
  const eg_channel_t *c = &p->channel[channel];
  eg_channel_state_t *state = &s->channel[channel];
  const eg_number_t *measured = usable(p, in, c->measured);
  eg_mode_t mode = (eg_mode_t)out->mode;
  if (!out->active) {
    if (measured) state->last = measured->value;
    out->channel[channel].want = state->last;
  } else {
    int32_t want = want_of(p, in, channel, mode, state->target);
    eg_limits_t l = limits_now(p, in, c, mode);
    state->last = eg_envelope_step(&l, state->last, want);
    if (state->last < l.min || state->last > l.max) s->conflict = 1;
    out->channel[channel].want = want;
  }
  if (!out->active || mode >= EG_FALLBACK) {
    state->target = state->last;
    out->channel[channel].granted = 0;
  }
  out->channel[channel].command = state->last;
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
  const eg_number_t *speed = usable(p, in, p->standstill_signal);
  return speed && speed->value < p->standstill_below && speed->value > -p->standstill_below;
}

static void report(const eg_policy_t *p, eg_state_t *s, const eg_input_t *in, eg_decision_t *out) {
  out->sequence = ++s->sequence;
  out->causes = s->active;
  out->present = s->present;
  out->mode = (uint8_t)(s->armed ? eg_worst(p, s->active) : EG_SAFE_STOP);
  out->active = (in->engaged || in->engaged_unknown) && !s->taken_over;
  for (uint32_t c = 0; c < EG_CAUSES; c++)
    if ((s->active & EG_BIT(c)) && p->cause[c].asks_operator) out->operator_request = 1;
  for (uint8_t i = 0; i < p->members; i++) out->member_age_us[i] = s->member[i].age_us;
  for (uint8_t i = 0; i < p->cameras; i++) out->camera_age_us[i] = s->camera[i].age_us;
}

void eg_decide(const eg_policy_t *p, eg_state_t *s, const eg_input_t *in, eg_decision_t *out) {
  memset(out, 0, sizeof *out);
  uint32_t present = perceive(p, s, in);
  bool trusted = eg_worst(p, present) < EG_FALLBACK;
  for (uint8_t i = 0; i < p->channels; i++) {
    start(&p->channel[i], &s->channel[i], usable(p, in, p->channel[i].measured), s->armed);
    present |= eg_vote(p, s, i, trusted, &out->channel[i]);
  }
  eg_causes_update(p, s, present, in->elapsed_us);
  s->standstill = stands(p, in);
  report(p, s, in, out);
  s->conflict = 0;
  for (uint8_t i = 0; i < p->channels; i++) command(p, s, in, i, out);
}
