/* SPDX-License-Identifier: Apache-2.0 */
/* What the core may take for granted: a policy that eg_policy_check let pass (POL-1 proves that it
 * gives all of this), and a state that eg_init made and eg_decide keeps (both proved). */
#ifndef EDGEGUARD_WELL_FORMED_H
#define EDGEGUARD_WELL_FORMED_H

#include "spec.h"

/* ------------------------------------------------------------------ policy */

static bool sizes_ok(const eg_policy_t *p) {
  return p->members >= 1 && p->members <= EG_MAX_MEMBERS && p->channels >= 1 &&
         p->channels <= EG_MAX_CHANNELS && p->cameras <= EG_MAX_CAMERAS &&
         p->signals <= EG_MAX_SIGNALS && p->detectors <= EG_MAX_DETECTORS && p->period_us >= 1 &&
         p->period_us <= 1000000 && p->max_gap_us >= p->period_us && p->max_gap_us <= 60000000 &&
         p->standstill_below >= 0 &&
         (p->standstill_signal == EG_NONE || p->standstill_signal < p->signals);
}

static bool cause_ok(const eg_cause_row_t *r) {
  return r->severity <= EG_SAFE_STOP && r->clears <= EG_CLEARS_NEVER && r->off_us >= r->on_us &&
         (r->severity != EG_SAFE_STOP || r->clears != EG_CLEARS_ITSELF);
}

static bool causes_ok(const eg_policy_t *p) {
#define CAUSE_OK(c) cause_ok(&p->cause[c])
  return ALL_CAUSES(CAUSE_OK) && p->cause[EG_STALE_MODEL].severity >= EG_FALLBACK &&
         p->cause[EG_TIME_FAULT].severity >= EG_FALLBACK &&
         p->cause[EG_CONTROLLER_LOST].severity == EG_SAFE_STOP;
}

static bool limits_ok(const eg_limits_t *l) {
  return l->min <= l->max && l->rise >= 1 && l->fall >= 1;
}

static bool row_ok(const eg_limit_table_t *t, uint32_t i, int32_t stop) {
  const eg_limits_t *l = &t->row[i].limits;
  if (!limits_ok(l) || stop < l->min || stop > l->max) return false;
  if (i == 0) return true;
  int64_t apart = (int64_t)t->row[i].at - t->row[i - 1].at;
  return apart > 0 && apart <= INT32_MAX;
}

#ifdef OPAQUE_TABLES
bool __CPROVER_uninterpreted_table_ok(const eg_limit_table_t *t, int32_t stop);
#define table_ok __CPROVER_uninterpreted_table_ok
#else
static bool table_ok(const eg_limit_table_t *t, int32_t stop) {
#define ROW_OK(i) ((i) >= t->rows || row_ok(t, i, stop))
  return t->rows >= 1 && t->rows <= EG_MAX_ROWS && ALL_ROWS(ROW_OK);
}
#endif

/* Ordered rows whose ranges have a value in common: any two of them do. */
#ifdef OPAQUE_ROWS
bool __CPROVER_uninterpreted_rows_ok(const eg_limit_table_t *t);
#define rows_ok __CPROVER_uninterpreted_rows_ok
#else
static bool rows_ok(const eg_limit_table_t *t) {
  if (t->rows < 1 || t->rows > EG_MAX_ROWS) return false;
  for (uint32_t i = 0; i < EG_MAX_ROWS; i++) {
    if (i >= t->rows) break;
    if (t->row[i].limits.rise < 1 || t->row[i].limits.fall < 1) return false;
    for (uint32_t j = 0; j < EG_MAX_ROWS; j++)
      if (j < t->rows && t->row[i].limits.min > t->row[j].limits.max) return false;
    if (i == 0) continue;
    int64_t apart = (int64_t)t->row[i].at - t->row[i - 1].at;
    if (apart <= 0 || apart > INT32_MAX) return false;
  }
  return true;
}
#endif
static bool signal_index_ok(const eg_policy_t *p, uint8_t i) {
  return i == EG_NONE || i < p->signals;
}

static uint32_t may(const eg_policy_t *p, uint32_t member, uint32_t channel) {
  return ((uint32_t)p->member[member].may >> (EG_OPERATIONS * channel)) & 3u;
}

static bool demand_ok(const eg_demand_t *d) {
  return d->certainty >= 0 && d->certainty <= EG_ONE && d->quorum >= 1 && d->frames >= 1 &&
         d->frames <= EG_MAX_RUN;
}

static bool channel_row_ok(const eg_policy_t *p, uint32_t channel) {
  const eg_channel_t *c = &p->channel[channel];
  return c->kind <= EG_BY_VALUE && c->manoeuvre <= 1 && c->dispersion >= 0 &&
         signal_index_ok(p, c->measured) && signal_index_ok(p, c->table_signal) &&
         demand_ok(&c->demand[0]) && demand_ok(&c->demand[1]);
}

static bool channel_ok(const eg_policy_t *p, uint32_t channel) {
  const eg_channel_t *c = &p->channel[channel];
#define SPEAKS_ITS_KIND(i)                                                                         \
  ((i) >= p->members || !may(p, i, channel) || p->member[i].kind == c->kind)
  return channel_row_ok(p, channel) && ALL_MEMBERS(SPEAKS_ITS_KIND) && rows_ok(&c->nominal) &&
         rows_ok(&c->degraded);
}

static bool detector_ok(const eg_policy_t *p, uint32_t i) {
  const eg_detector_t *d = &p->detector[i];
  return d->cause < EG_CAUSES && d->min <= d->max &&
         (d->member == EG_NONE || d->member < p->members);
}

/* The step as a whole only passes these on: there, they either hold for a policy or do not. */
#ifdef OPAQUE_POLICY
bool __CPROVER_uninterpreted_channels_ok(const eg_policy_t *p);
bool __CPROVER_uninterpreted_detectors_ok(const eg_policy_t *p);
#define channels_ok __CPROVER_uninterpreted_channels_ok
#define detectors_ok __CPROVER_uninterpreted_detectors_ok
#else
static bool channels_ok(const eg_policy_t *p) {
#define CHANNEL_OK(i) ((i) >= p->channels || channel_ok(p, i))
  return ALL_CHANNELS(CHANNEL_OK);
}

static bool detectors_ok(const eg_policy_t *p) {
#define DETECTOR_OK(i) ((i) >= p->detectors || detector_ok(p, i))
  return ALL_DETECTORS(DETECTOR_OK);
}
#endif

static bool member_ok(const eg_policy_t *p, uint32_t i) {
  return p->member[i].max_age_us != EG_AGE_MAX && p->member[i].deadline_us != EG_AGE_MAX &&
         p->member[i].modes < (1u << (EG_SAFE_STOP + 1)) &&
         ((uint32_t)p->member[i].may >> (EG_OPERATIONS * (uint32_t)p->channels)) == 0;
}

static bool members_ok(const eg_policy_t *p) {
#define MEMBER_OK(i) ((i) >= p->members || member_ok(p, i))
  return ALL_MEMBERS(MEMBER_OK);
}

/* Labels may be 65535, so this is said of the ones that somebody names. Who only passes an index on
 * is proved with a table of any content: the policy does not change while the core looks at it. */
#ifdef OPAQUE_LABELS
int8_t __CPROVER_uninterpreted_label_channel(const eg_policy_t *p, int32_t label);
int32_t __CPROVER_uninterpreted_label_value(const eg_policy_t *p, int32_t label);
#define label_channel __CPROVER_uninterpreted_label_channel
#define label_value __CPROVER_uninterpreted_label_value
#else
#define label_channel(p, l) ((p)->label[l].channel)
#define label_value(p, l) ((p)->label[l].value)
#endif
static bool label_ok(const eg_policy_t *p, int32_t label) {
  if (label < 0 || label >= (int32_t)p->labels) return true;
  return label_channel(p, label) >= EG_HOLD && label_channel(p, label) < (int32_t)p->channels;
}

/* Without a limit, a camera without a frame would not be lost. */
static bool camera_rows_ok(const eg_policy_t *p) {
#define HAS_A_LIMIT(i) ((i) >= p->cameras || p->camera[i].max_age_us != EG_AGE_MAX)
  return ALL_CAMERAS(HAS_A_LIMIT);
}

static bool policy_ok(const eg_policy_t *p) {
  return sizes_ok(p) && causes_ok(p) && channels_ok(p) && detectors_ok(p) && camera_rows_ok(p);
}

/* ------------------------------------------------------------------- state */

/* The severity that no active cause is above, and one has. */
static eg_mode_t worst_of(const eg_policy_t *p, uint32_t causes) {
#define MILD(c) (!HAS(causes, c) || p->cause[c].severity < EG_DEGRADED)
#define BEARABLE(c) (!HAS(causes, c) || p->cause[c].severity < EG_FALLBACK)
#define RECOVERABLE(c) (!HAS(causes, c) || p->cause[c].severity < EG_SAFE_STOP)
  if (ALL_CAUSES(MILD)) return EG_NOMINAL;
  if (ALL_CAUSES(BEARABLE)) return EG_DEGRADED;
  return ALL_CAUSES(RECOVERABLE) ? EG_FALLBACK : EG_SAFE_STOP;
}

static eg_mode_t mode_of(const eg_policy_t *p, const eg_state_t *s) {
  return s->armed ? worst_of(p, s->active) : EG_SAFE_STOP;
}

/* A suggestion that is held names a label of the table. */
static bool held_ok(const eg_policy_t *p, const eg_member_state_t *m, uint32_t member) {
  if (!m->held || p->member[member].kind != EG_BY_LABEL) return true;
  return m->evidence.label >= 0 && m->evidence.label < (int32_t)p->labels &&
         label_ok(p, m->evidence.label);
}

static bool all_held_ok(const eg_policy_t *p, const eg_state_t *s) {
#define HELD_OK(i) ((i) >= p->members || held_ok(p, &s->member[i], i))
  return ALL_MEMBERS(HELD_OK);
}

static bool said_ok(const eg_policy_t *p, const eg_input_t *in) {
#define SAID_OK(i) ((i) >= p->members || label_ok(p, in->member[i].evidence.label))
  return ALL_MEMBERS(SAID_OK);
}

/* A camera that has shown nothing yet is as eg_init left it. */
static bool camera_ok(const eg_camera_state_t *c) {
  return c->seen <= EG_FRAMES_KEPT &&
         (c->seen > 0 || (c->age_us == EG_AGE_MAX && c->kept[0].serial == 0 && c->repeats == 0));
}

static bool cameras_ok(const eg_policy_t *p, const eg_state_t *s) {
#define CAMERA_OK(i) ((i) >= p->cameras || camera_ok(&s->camera[i]))
  return ALL_CAMERAS(CAMERA_OK);
}

/* Any policy at all, with as many labels as it says; for the functions that look into the table. */
static void some_policy(eg_policy_t *p) {
  p->label = p->labels ? malloc(p->labels * sizeof *p->label) : NULL;
  ASSUME(p->labels == 0 || p->label != NULL);
}

#endif
