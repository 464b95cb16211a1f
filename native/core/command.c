/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>

#include "arith.h"
#include "edgeguard/core.h"
#include "edgeguard/flow.h"

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
  bool follows = mode == EG_FALLBACK || p->channel[channel].manoeuvre;
  if (follows && in->rule_ok) return in->rule[channel]; /* late is noted, not wrong */
  return p->channel[channel].stop;
}

static eg_limits_t limits_now(const eg_policy_t *p, const eg_input_t *in, const eg_channel_t *c,
                              eg_mode_t mode) {
  const eg_limit_table_t *table = mode == EG_DEGRADED ? &c->degraded : &c->nominal;
  eg_limits_t l = eg_limits_at(table, eg_signal(p, in, c->table_signal));
  uint32_t step_us = in->elapsed_us ? in->elapsed_us : p->period_us; /* a clock that stands */
  l.rise = eg_rate_step(l.rise, step_us, p->period_us);
  l.fall = eg_rate_step(l.fall, step_us, p->period_us);
  return l;
}

/* What a channel commands while nobody asks: what is measured, so that nothing winds up. Where
 * nothing measures it, it goes to its stop command as an active one would: what was commanded
 * before a person drove is not resumed. */
static int32_t idle(const eg_policy_t *p, const eg_input_t *in, uint8_t channel,
                    const eg_decision_t *out, int32_t last) {
  const eg_channel_t *c = &p->channel[channel];
  const eg_number_t *measured = eg_signal(p, in, c->measured);
  if (measured) return measured->value;
  if (c->measured != EG_NONE) return last; /* its signal is lost for now */
  eg_limits_t l = limits_now(p, in, c, (eg_mode_t)out->mode);
  return eg_envelope_step(&l, last, c->stop);
}

/* The command of one channel. Under the rules the target follows the command, so that an old
 * suggestion is not resumed. */
static void command(const eg_policy_t *p, eg_state_t *s, const eg_input_t *in, uint8_t channel,
                    eg_decision_t *out) {
  const eg_channel_t *c = &p->channel[channel];
  eg_channel_state_t *state = &s->channel[channel];
  eg_mode_t mode = (eg_mode_t)out->mode;
  if (!out->active) {
    state->last = idle(p, in, channel, out, state->last);
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

void eg_channels_start(const eg_policy_t *p, eg_state_t *s, const eg_input_t *in) {
  for (uint8_t i = 0; i < p->channels; i++) {
    const eg_channel_t *c = &p->channel[i];
    start(c, &s->channel[i], eg_signal(p, in, c->measured), s->armed);
  }
}

void eg_commands_update(const eg_policy_t *p, eg_state_t *s, const eg_input_t *in,
                        eg_decision_t *out) {
  uint32_t crc = EG_CRC_START;
  s->conflict = 0;
  for (uint8_t i = 0; i < p->channels; i++) {
    command(p, s, in, i, out);
    crc = eg_crc_u32(crc, (uint32_t)out->channel[i].command);
  }
  eg_flow_fold(s, EG_CHECK_COMMANDS, crc);
}
