/* SPDX-License-Identifier: Apache-2.0 */
/* The language of the contracts, and what the core may take for granted: a policy that
 * eg_policy_check let pass (POL-1 proves that it gives all of this), a state that eg_init made.
 *
 * goto-cc defines no macro of its own that could switch contracts on, so these files are compiled
 * by nobody else; prove.py counts the postconditions in CBMC's report. */
#ifndef EDGEGUARD_SPEC_H
#define EDGEGUARD_SPEC_H

#include <stddef.h>
#include <stdlib.h>

#include "edgeguard/core.h"
#include "edgeguard/flow.h"

#define REQUIRES __CPROVER_requires
#define ENSURES __CPROVER_ensures
#define ASSIGNS __CPROVER_assigns
#define OLD __CPROVER_old
#define RET __CPROVER_return_value
#define READS(x) __CPROVER_r_ok((x), sizeof *(x))
#define WRITES(x) __CPROVER_rw_ok((x), sizeof *(x))
#define ASSUME __CPROVER_assume
#define CHECK(condition, text) __CPROVER_assert(condition, text)
/* Must fail: or else the proof is of nothing. */
#define REACHED __CPROVER_assert(0, "canary")

#define HAS(causes, cause) (((causes) & EG_BIT(cause)) != 0)
#define IMPLIES(a, b) (!(a) || (b))

/* The CRC, as some function of its two arguments: nothing is proved by knowing which. */
uint32_t __CPROVER_uninterpreted_crc32(uint32_t crc, uint32_t word);
#define CRC(crc, word) __CPROVER_uninterpreted_crc32(crc, word)
#define CRC_END(crc) ((crc) ^ 0xFFFFFFFFu)
#define FOLDED(s, k) ((s)->flow == CRC(CRC(OLD((s)->flow), (k)), (s)->check[k]))

/* "For every member" is written out, one conjunct each: an index that is not known costs far more.
 */
#define ALL4(f) (f(0) && f(1) && f(2) && f(3))
#define ALL7(f) (ALL4(f) && f(4) && f(5) && f(6))
#define ALL8(f) (ALL7(f) && f(7))
#define ALL16(f) (ALL8(f) && f(8) && f(9) && f(10) && f(11) && f(12) && f(13) && f(14) && f(15))
#define ALL23(f) (ALL16(f) && f(16) && f(17) && f(18) && f(19) && f(20) && f(21) && f(22))
#define ALL_MEMBERS ALL8
#define ALL_CAMERAS ALL4
#define ALL_SIGNALS ALL16
#define ALL_DETECTORS ALL16
#define ALL_CHANNELS ALL4
#define ALL_CHECKS ALL7
#define ALL_CAUSES ALL23
#define ALL_ROWS ALL8
typedef char sizes_are_written_out[EG_MAX_MEMBERS == 8 && EG_MAX_CAMERAS == 4 &&
                                           EG_MAX_SIGNALS == 16 && EG_MAX_DETECTORS == 16 &&
                                           EG_MAX_CHANNELS == 4 && EG_CHECKS == 7 &&
                                           EG_CAUSES == 23 && EG_MAX_ROWS == 8 &&
                                           EG_FRAMES_KEPT == 4
                                       ? 1
                                       : -1];

uint32_t nondet_u32(void);
int32_t nondet_i32(void);
uint8_t nondet_u8(void);
static int32_t a_label; /* any label: there may be 65535 */

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

#ifndef OPAQUE_POLICY
static bool causes_ok(const eg_policy_t *p) {
  for (uint32_t c = 0; c < EG_CAUSES; c++)
    if (!cause_ok(&p->cause[c])) return false;
  return p->cause[EG_STALE_MODEL].severity >= EG_FALLBACK &&
         p->cause[EG_TIME_FAULT].severity >= EG_FALLBACK &&
         p->cause[EG_CONTROLLER_LOST].severity == EG_SAFE_STOP;
}
#endif

static bool limits_ok(const eg_limits_t *l) {
  return l->min <= l->max && l->rise >= 1 && l->fall >= 1;
}

static bool table_ok(const eg_limit_table_t *t, int32_t stop) {
  if (t->rows < 1 || t->rows > EG_MAX_ROWS) return false;
  for (uint32_t i = 0; i < EG_MAX_ROWS; i++) {
    if (i >= t->rows) break;
    const eg_limits_t *l = &t->row[i].limits;
    if (!limits_ok(l) || stop < l->min || stop > l->max) return false;
    if (i == 0) continue;
    int64_t apart = (int64_t)t->row[i].at - t->row[i - 1].at;
    if (apart <= 0 || apart > INT32_MAX) return false;
  }
  return true;
}

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
  return d->certainty >= 0 && d->certainty <= EG_ONE && d->quorum >= 1;
}

static bool channel_row_ok(const eg_policy_t *p, uint32_t channel) {
  const eg_channel_t *c = &p->channel[channel];
  return c->kind <= EG_BY_VALUE && c->manoeuvre <= 1 && c->dispersion >= 0 &&
         signal_index_ok(p, c->measured) && signal_index_ok(p, c->table_signal) &&
         demand_ok(&c->demand[0]) && demand_ok(&c->demand[1]);
}

static bool channel_ok(const eg_policy_t *p, uint32_t channel) {
  const eg_channel_t *c = &p->channel[channel];
  if (!channel_row_ok(p, channel)) return false;
  for (uint32_t i = 0; i < EG_MAX_MEMBERS; i++)
    if (i < p->members && may(p, i, channel) && p->member[i].kind != c->kind) return false;
  return rows_ok(&c->nominal) && rows_ok(&c->degraded);
}

static bool detector_ok(const eg_policy_t *p, uint32_t i) {
  const eg_detector_t *d = &p->detector[i];
  return d->cause < EG_CAUSES && d->min <= d->max &&
         (d->member == EG_NONE || d->member < p->members);
}

#ifndef OPAQUE_POLICY
static bool channels_ok(const eg_policy_t *p) {
  for (uint32_t i = 0; i < EG_MAX_CHANNELS; i++)
    if (i < p->channels && !channel_ok(p, i)) return false;
  return true;
}
#endif

#ifndef OPAQUE_POLICY
static bool detectors_ok(const eg_policy_t *p) {
  for (uint32_t i = 0; i < EG_MAX_DETECTORS; i++)
    if (i < p->detectors && !detector_ok(p, i)) return false;
  return true;
}
#endif

static bool member_ok(const eg_policy_t *p, uint32_t i) {
  return p->member[i].max_age_us != EG_AGE_MAX && p->member[i].deadline_us != EG_AGE_MAX &&
         ((uint32_t)p->member[i].may >> (EG_OPERATIONS * (uint32_t)p->channels)) == 0;
}

static bool members_ok(const eg_policy_t *p) {
  for (uint32_t i = 0; i < EG_MAX_MEMBERS; i++)
    if (i < p->members && !member_ok(p, i)) return false;
  return true;
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

/* The step as a whole only passes the policy on: there, its parts are predicates that either hold
 * for it or do not, and what they say of the cause in question. */
#ifdef OPAQUE_POLICY
bool __CPROVER_uninterpreted_causes_ok(const eg_policy_t *p);
bool __CPROVER_uninterpreted_channels_ok(const eg_policy_t *p);
bool __CPROVER_uninterpreted_detectors_ok(const eg_policy_t *p);
#define CAUSE_OK(c) cause_ok(&p->cause[c])
static bool causes_ok(const eg_policy_t *p) {
  return __CPROVER_uninterpreted_causes_ok(p) && ALL_CAUSES(CAUSE_OK);
}
#define channels_ok __CPROVER_uninterpreted_channels_ok
#define detectors_ok __CPROVER_uninterpreted_detectors_ok
#endif

static bool policy_ok(const eg_policy_t *p) {
  return sizes_ok(p) && causes_ok(p) && channels_ok(p) && detectors_ok(p);
}

/* ------------------------------------------------------------------- state */

/* A suggestion that is held names a label of the table. */
static bool held_ok(const eg_policy_t *p, const eg_member_state_t *m, uint32_t member) {
  if (!m->held || p->member[member].kind == EG_BY_VALUE) return true;
  return m->evidence.label >= 0 && m->evidence.label < (int32_t)p->labels &&
         label_ok(p, m->evidence.label);
}

static bool all_held_ok(const eg_policy_t *p, const eg_state_t *s) {
  for (uint32_t i = 0; i < EG_MAX_MEMBERS; i++)
    if (i < p->members && !held_ok(p, &s->member[i], i)) return false;
  return true;
}

static bool said_ok(const eg_policy_t *p, const eg_input_t *in) {
  for (uint32_t i = 0; i < EG_MAX_MEMBERS; i++)
    if (i < p->members && !label_ok(p, in->member[i].evidence.label)) return false;
  return true;
}

static bool cameras_ok(const eg_policy_t *p, const eg_state_t *s) {
  for (uint32_t i = 0; i < EG_MAX_CAMERAS; i++)
    if (i < p->cameras && s->camera[i].seen > EG_FRAMES_KEPT) return false;
  return true;
}

/* For any i < n, each as a number of its own: cheaper than one that is not known. */
#define FOR_ANY(i, n)                                                                              \
  for (uint8_t i = 0, chosen_##i = nondet_u8(); i < (n); i++)                                      \
    if (i == chosen_##i)

/* Any policy at all, with as many labels as it says; for the functions that look into the table. */
static void some_policy(eg_policy_t *p) {
  p->label = p->labels ? malloc(p->labels * sizeof *p->label) : NULL;
  ASSUME(p->labels == 0 || p->label != NULL);
}

#endif
