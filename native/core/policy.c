/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>

#include "edgeguard/core.h"

#define MAX_PERIOD_US 1000000u /* eg_rate_step: a rate per second times this fits */
#define MAX_GAP_US 60000000u

static bool signal_ok(const eg_policy_t *p, uint8_t index) {
  return index == EG_NONE || index < p->signals;
}

static const char *check_cause(const eg_cause_row_t *row) {
  if (row->severity > EG_SAFE_STOP || row->clears > EG_CLEARS_NEVER) return "cause: unknown value";
  if (row->off_us < row->on_us) return "cause: off must not be faster than on";
  if (row->severity == EG_SAFE_STOP && row->clears == EG_CLEARS_ITSELF)
    return "cause: SAFE_STOP may not clear by itself";
  return NULL;
}

static const char *check_causes(const eg_policy_t *p) {
  for (uint32_t c = 0; c < EG_CAUSES; c++) {
    const char *wrong = check_cause(&p->cause[c]);
    if (wrong) return wrong;
  }
  if (p->cause[EG_STALE_MODEL].severity < EG_FALLBACK)
    return "cause: STALE_MODEL needs at least FALLBACK";
  if (p->cause[EG_TIME_FAULT].severity < EG_FALLBACK)
    return "cause: TIME_FAULT needs at least FALLBACK";
  if (p->cause[EG_CONTROLLER_LOST].severity < EG_SAFE_STOP)
    return "cause: CONTROLLER_LOST needs SAFE_STOP";
  return NULL;
}

static const char *check_row(const eg_policy_t *p, const eg_limit_table_t *t, uint8_t row,
                             int32_t stop) {
  const eg_limits_t *l = &t->row[row].limits;
  if (l->min > l->max) return "channel: range is reversed";
  if (eg_rate_step(l->rise, p->period_us, p->period_us) < 1 ||
      eg_rate_step(l->fall, p->period_us, p->period_us) < 1)
    return "channel: a rate is zero, negative or too small for the control period";
  if (stop < l->min || stop > l->max) return "channel: stop is outside a range";
  if (row == 0) return NULL;
  int64_t apart = (int64_t)t->row[row].at - t->row[row - 1].at;
  if (apart <= 0 || apart > INT32_MAX) return "channel: limit table not in order, or too wide";
  return NULL;
}

static const char *check_table(const eg_policy_t *p, const eg_limit_table_t *t, int32_t stop) {
  if (t->rows < 1 || t->rows > EG_MAX_ROWS) return "channel: limit table without rows, or too many";
  const char *wrong = NULL;
  for (uint8_t i = 0; !wrong && i < t->rows; i++) wrong = check_row(p, t, i, stop);
  return wrong;
}

static uint32_t may_of(const eg_policy_t *p, uint8_t member, uint8_t channel) {
  return (uint32_t)p->member[member].may >> (EG_OPERATIONS * (uint32_t)channel) & 3u;
}

/* Who may not suggest in FALLBACK cannot help to leave it, and arming begins there. */
static uint8_t granted(const eg_policy_t *p, uint8_t channel, uint32_t operation) {
  uint8_t n = 0;
  for (uint8_t i = 0; i < p->members; i++)
    if ((p->member[i].modes >> EG_FALLBACK & 1) && (may_of(p, i, channel) >> operation & 1u)) n++;
  return n;
}

static const char *check_channel(const eg_policy_t *p, uint8_t channel) {
  const eg_channel_t *c = &p->channel[channel];
  if (c->kind > EG_BY_VALUE || c->manoeuvre > 1) return "channel: unknown kind";
  if (!signal_ok(p, c->measured) || !signal_ok(p, c->table_signal))
    return "channel: no such signal";
  if (c->dispersion < 0) return "channel: dispersion is negative";
  for (uint32_t o = 0; o < EG_OPERATIONS; o++) {
    if (c->demand[o].certainty < 0 || c->demand[o].certainty > EG_ONE)
      return "channel: certainty outside 0 to 1";
    if (c->demand[o].frames < 1 || c->demand[o].frames > EG_MAX_RUN)
      return "channel: frames outside 1 to 4";
    if (c->demand[o].quorum < 1) return "channel: quorum is zero";
    if (c->demand[o].quorum > granted(p, channel, o))
      return "channel: quorum above the number of members that may";
  }
  for (uint8_t i = 0; i < p->members; i++)
    if (p->member[i].kind != c->kind && may_of(p, i, channel))
      return "channel: granted to a member that says labels to a value channel, or the reverse";
  const char *wrong = check_table(p, &c->nominal, c->stop);
  return wrong ? wrong : check_table(p, &c->degraded, c->stop);
}

static const char *check_sizes(const eg_policy_t *p) {
  if (p->members < 1 || p->members > EG_MAX_MEMBERS) return "members: none, or too many";
  if (p->channels < 1 || p->channels > EG_MAX_CHANNELS) return "channels: none, or too many";
  if (p->cameras > EG_MAX_CAMERAS || p->signals > EG_MAX_SIGNALS || p->detectors > EG_MAX_DETECTORS)
    return "cameras, signals or detectors: too many";
  if (p->period_us < 1 || p->period_us > MAX_PERIOD_US) return "period: zero, or above a second";
  if (p->max_gap_us < p->period_us || p->max_gap_us > MAX_GAP_US)
    return "max_gap: below the period, or above a minute";
  if (!signal_ok(p, p->standstill_signal) || p->standstill_below < 0)
    return "rearm: no such signal, or negative standstill";
  if (p->labels > 0 && !p->label) return "labels: missing";
  return NULL;
}

static const char *check_labels(const eg_policy_t *p) {
  for (uint16_t i = 0; i < p->labels; i++)
    if (p->label[i].channel < EG_HOLD || p->label[i].channel >= (int32_t)p->channels)
      return "labels: no such channel";
  return NULL;
}

static const char *check_parts(const eg_policy_t *p) {
  for (uint8_t i = 0; i < p->cameras; i++)
    if (p->camera[i].max_age_us == EG_AGE_MAX) return "cameras: no age limit";
  for (uint8_t i = 0; i < p->members; i++)
    if (p->member[i].max_age_us == EG_AGE_MAX || p->member[i].deadline_us == EG_AGE_MAX)
      return "members: no age limit, or no deadline";
  for (uint8_t i = 0; i < p->members; i++)
    if (p->member[i].modes >> (EG_SAFE_STOP + 1)) return "members: granted an unknown mode";
  for (uint8_t i = 0; i < p->members; i++)
    if ((uint32_t)p->member[i].may >> (EG_OPERATIONS * (uint32_t)p->channels))
      return "members: granted a channel that does not exist";
  for (uint8_t i = 0; i < p->detectors; i++)
    if (p->detector[i].cause >= EG_CAUSES || p->detector[i].min > p->detector[i].max ||
        (p->detector[i].member != EG_NONE && p->detector[i].member >= p->members))
      return "detectors: unknown cause or member, or empty range";
  return NULL;
}

const char *eg_policy_check(const eg_policy_t *p) {
  const char *wrong = check_sizes(p);
  if (!wrong) wrong = check_causes(p);
  if (!wrong) wrong = check_labels(p);
  if (!wrong) wrong = check_parts(p);
  for (uint8_t i = 0; !wrong && i < p->channels; i++) wrong = check_channel(p, i);
  return wrong;
}
