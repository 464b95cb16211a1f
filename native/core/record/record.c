/* SPDX-License-Identifier: Apache-2.0 */
/* One walk over every structure serves both ways: it writes what it finds, or reads into it. */
#include "record.h"

#include <string.h>

/* A field that is added to one of these has to be walked below, under a new EG_RECORD_VERSION:
 * these lines refuse to compile until somebody did. */
#define SIZE_IS(type, bytes) typedef char type##_is_walked[sizeof(type) == (bytes) ? 1 : -1]
#define EIGHTS(bytes) (((bytes) + 7) / 8 * 8) /* what is aligned to 8 bytes follows */
#if UINTPTR_MAX > UINT32_MAX /* layouts with a pointer differ elsewhere; one check is enough */
SIZE_IS(eg_cause_row_t, 12);
SIZE_IS(eg_limit_row_t, 20);
SIZE_IS(eg_channel_t, 12 + 8 * EG_OPERATIONS + 2 * (4 + 20 * EG_MAX_ROWS));
SIZE_IS(eg_member_t, 28);
SIZE_IS(eg_detector_t, 12);
SIZE_IS(eg_evidence_t, 44);
SIZE_IS(eg_suggestion_t, 64);
SIZE_IS(eg_frame_t, 24);
SIZE_IS(eg_input_t, 20 + 4 * EG_MAX_CHANNELS + 8 * (EG_MAX_SIGNALS + EG_MAX_DETECTORS) + 4 +
                        24 * EG_MAX_CAMERAS + 64 * EG_MAX_MEMBERS);
SIZE_IS(eg_member_state_t, 64 + 4 * (EG_MAX_RUN - 1));
SIZE_IS(eg_camera_state_t, 16 + 24 * EG_FRAMES_KEPT);
SIZE_IS(eg_channel_state_t, 12);
SIZE_IS(eg_debounce_t, 8);
SIZE_IS(eg_state_t, EIGHTS(4 + 5 * 4 + 4 * EG_CHECKS + 8 * EG_CAUSES + 76 * EG_MAX_MEMBERS) +
                        EIGHTS((16 + 24 * EG_FRAMES_KEPT) * EG_MAX_CAMERAS + 12 * EG_MAX_CHANNELS));
SIZE_IS(eg_policy_t, EIGHTS(28 + 12 * EG_CAUSES + 28 * EG_MAX_MEMBERS + 4 * EG_MAX_CAMERAS +
                            8 * EG_MAX_SIGNALS + 356 * EG_MAX_CHANNELS + 12 * EG_MAX_DETECTORS) +
                         8);
SIZE_IS(eg_command_t, 20);
SIZE_IS(eg_decision_t,
        16 + 4 * (EG_MAX_MEMBERS + EG_MAX_CAMERAS) + 20 * EG_MAX_CHANNELS + 8 + 4 * EG_CHECKS);
#endif

typedef struct {
  uint8_t *at;
  const uint8_t *end;
  bool reading, failed;
} walk_t;

static void number(walk_t *w, uint64_t *x, size_t bytes) {
  if (w->failed || (size_t)(w->end - w->at) < bytes) {
    w->failed = true;
    return;
  }
  if (w->reading) *x = 0;
  for (size_t i = 0; i < bytes; i++) {
    if (w->reading)
      *x |= (uint64_t)w->at[i] << (8 * i);
    else
      w->at[i] = (uint8_t)(*x >> (8 * i));
  }
  w->at += bytes;
}

#define WALKER(name, type, bytes)                                                                  \
  static void name(walk_t *w, type *x) {                                                           \
    uint64_t wide = (uint64_t)*x;                                                                  \
    number(w, &wide, bytes);                                                                       \
    if (w->reading && !w->failed) *x = (type)wide;                                                 \
  }
WALKER(u8, uint8_t, 1)
WALKER(i8, int8_t, 1)
WALKER(u16, uint16_t, 2)
WALKER(u32, uint32_t, 4)
WALKER(i32, int32_t, 4)
WALKER(u64, uint64_t, 8)
WALKER(i64, int64_t, 8)

/* ---------------------------------------------------------------- policy */

static void limit_table(walk_t *w, eg_limit_table_t *t) {
  u8(w, &t->rows);
  if (t->rows > EG_MAX_ROWS) w->failed = true;
  for (uint8_t i = 0; i < t->rows && !w->failed; i++) {
    eg_limit_row_t *r = &t->row[i];
    i32(w, &r->at);
    i32(w, &r->limits.min);
    i32(w, &r->limits.max);
    i32(w, &r->limits.rise);
    i32(w, &r->limits.fall);
  }
}

static void channel_row(walk_t *w, eg_channel_t *c) {
  u8(w, &c->kind);
  u8(w, &c->measured);
  u8(w, &c->table_signal);
  u8(w, &c->manoeuvre);
  i32(w, &c->stop);
  i32(w, &c->dispersion);
  for (size_t i = 0; i < EG_OPERATIONS; i++) {
    i32(w, &c->demand[i].certainty);
    u8(w, &c->demand[i].quorum);
    u8(w, &c->demand[i].frames);
  }
  limit_table(w, &c->nominal);
  limit_table(w, &c->degraded);
}

static void member_row(walk_t *w, eg_member_t *m) {
  u8(w, &m->kind);
  u8(w, &m->modes);
  u16(w, &m->may);
  u32(w, &m->deadline_us);
  u32(w, &m->max_age_us);
  i32(w, &m->max_rail);
  i32(w, &m->min_distinct);
  i32(w, &m->sum_min);
  i32(w, &m->sum_max);
}

static void cause_row(walk_t *w, eg_cause_row_t *c) {
  u8(w, &c->severity);
  u8(w, &c->clears);
  u8(w, &c->asks_operator);
  u32(w, &c->on_us);
  u32(w, &c->off_us);
}

static void policy_head(walk_t *w, eg_policy_t *p) {
  u32(w, &p->period_us);
  u32(w, &p->max_gap_us);
  u32(w, &p->controller_budget_us);
  u8(w, &p->standstill_signal);
  i32(w, &p->standstill_below);
  u8(w, &p->members);
  u8(w, &p->cameras);
  u8(w, &p->signals);
  u8(w, &p->channels);
  u8(w, &p->detectors);
  u16(w, &p->labels);
  if (p->members > EG_MAX_MEMBERS || p->cameras > EG_MAX_CAMERAS || p->signals > EG_MAX_SIGNALS ||
      p->channels > EG_MAX_CHANNELS || p->detectors > EG_MAX_DETECTORS)
    w->failed = true;
}

static void policy(walk_t *w, eg_policy_t *p, eg_label_t *label) {
  uint8_t version = EG_RECORD_VERSION, causes = EG_CAUSES;
  u8(w, &version);
  u8(w, &causes);
  if (version != EG_RECORD_VERSION || causes != EG_CAUSES) w->failed = true;
  policy_head(w, p);
  if (w->failed) return;
  for (size_t i = 0; i < EG_CAUSES; i++) cause_row(w, &p->cause[i]);
  for (size_t i = 0; i < p->members; i++) member_row(w, &p->member[i]);
  for (size_t i = 0; i < p->cameras; i++) u32(w, &p->camera[i].max_age_us);
  for (size_t i = 0; i < p->signals; i++) {
    i32(w, &p->signal[i].min);
    i32(w, &p->signal[i].max);
  }
  for (size_t i = 0; i < p->channels; i++) channel_row(w, &p->channel[i]);
  for (size_t i = 0; i < p->detectors; i++) {
    u8(w, &p->detector[i].cause);
    u8(w, &p->detector[i].member);
    i32(w, &p->detector[i].min);
    i32(w, &p->detector[i].max);
  }
  for (size_t i = 0; i < p->labels && !w->failed; i++) {
    i8(w, &label[i].channel);
    i32(w, &label[i].value);
  }
}

/* ----------------------------------------------------------------- input */

static void evidence(walk_t *w, eg_evidence_t *e) {
  i32(w, &e->label);
  i32(w, &e->value);
  i32(w, &e->certainty);
  i32(w, &e->margin);
  i32(w, &e->entropy);
  i32(w, &e->energy);
  i32(w, &e->sum);
  i32(w, &e->bad);
  i32(w, &e->out_of_range);
  i32(w, &e->rail);
  i32(w, &e->distinct);
}

static void frame(walk_t *w, eg_frame_t *f) {
  u32(w, &f->serial);
  u32(w, &f->age_us);
  u64(w, &f->hash);
  u32(w, &f->scene);
  u32(w, &f->view);
}

static void numbers(walk_t *w, eg_number_t *n, size_t count) {
  for (size_t i = 0; i < count; i++) {
    u8(w, &n[i].validity);
    i32(w, &n[i].value);
  }
}

static void suggestion(walk_t *w, eg_suggestion_t *m) {
  u32(w, &m->serial);
  u32(w, &m->age_us);
  u32(w, &m->latency_us);
  u32(w, &m->pending_us);
  u8(w, &m->present);
  evidence(w, &m->evidence);
}

static void input(walk_t *w, const eg_policy_t *p, eg_input_t *in) {
  u32(w, &in->elapsed_us);
  u32(w, &in->question);
  u32(w, &in->missed);
  u8(w, &in->engaged);
  u8(w, &in->engaged_unknown);
  u8(w, &in->rule_ok);
  u32(w, &in->rule_us);
  for (size_t i = 0; i < p->channels; i++) i32(w, &in->rule[i]);
  numbers(w, in->signal, p->signals);
  numbers(w, in->detector, p->detectors);
  for (size_t i = 0; i < p->cameras; i++) frame(w, &in->frame[i]);
  for (size_t i = 0; i < p->members; i++) suggestion(w, &in->member[i]);
}

/* -------------------------------------------------------------- decision */

static void decision(walk_t *w, const eg_policy_t *p, eg_decision_t *d) {
  u32(w, &d->sequence);
  u8(w, &d->mode);
  u8(w, &d->active);
  u8(w, &d->operator_request);
  u32(w, &d->causes);
  u32(w, &d->present);
  for (size_t i = 0; i < p->members; i++) u32(w, &d->member_age_us[i]);
  for (size_t i = 0; i < p->cameras; i++) u32(w, &d->camera_age_us[i]);
  for (size_t i = 0; i < p->channels; i++) {
    eg_command_t *c = &d->channel[i];
    i32(w, &c->command);
    i32(w, &c->want);
    i32(w, &c->label);
    i32(w, &c->certainty);
    u8(w, &c->votes);
    u8(w, &c->voters);
    u8(w, &c->granted);
  }
  u32(w, &d->question);
  u32(w, &d->answer);
  for (size_t i = 0; i < EG_CHECKS; i++) u32(w, &d->check[i]);
}

/* ----------------------------------------------------------------- state */

static void camera_state(walk_t *w, eg_camera_state_t *c) {
  u32(w, &c->age_us);
  u32(w, &c->seen);
  u8(w, &c->repeats);
  for (size_t i = 0; i < EG_FRAMES_KEPT; i++) frame(w, &c->kept[i]);
}

static void member_state(walk_t *w, eg_member_state_t *m) {
  u32(w, &m->serial);
  u32(w, &m->age_us);
  u32(w, &m->newest_us);
  u8(w, &m->held);
  u32(w, &m->faults);
  evidence(w, &m->evidence);
  for (size_t i = 0; i < EG_MAX_RUN - 1; i++) i32(w, &m->before[i]);
}

static void state(walk_t *w, const eg_policy_t *p, eg_state_t *s) {
  u8(w, &s->armed);
  u8(w, &s->taken_over);
  u8(w, &s->conflict);
  u8(w, &s->standstill);
  u32(w, &s->active);
  u32(w, &s->present);
  u32(w, &s->sequence);
  u32(w, &s->flow);
  u32(w, &s->repeated_us);
  for (size_t i = 0; i < EG_CHECKS; i++) u32(w, &s->check[i]);
  for (size_t i = 0; i < EG_CAUSES; i++) {
    u32(w, &s->debounce[i].level_us);
    u32(w, &s->debounce[i].quiet_us);
  }
  for (size_t i = 0; i < p->members; i++) member_state(w, &s->member[i]);
  for (size_t i = 0; i < p->cameras; i++) camera_state(w, &s->camera[i]);
  for (size_t i = 0; i < p->channels; i++) {
    i32(w, &s->channel[i].last);
    i32(w, &s->channel[i].target);
    u8(w, &s->channel[i].started);
  }
}

/* --------------------------------------------------------------- records */

static walk_t writes(eg_record_kind_t kind, uint8_t *out, size_t room) {
  walk_t w = {out, out + room, false, false};
  uint8_t k = (uint8_t)kind;
  u8(&w, &k);
  return w;
}

static size_t written(const walk_t *w, const uint8_t *out) {
  return w->failed ? 0 : (size_t)(w->at - out);
}

/* Reading leaves the bytes alone, and writing the structures: the casts are safe. */
static walk_t reads(eg_record_kind_t kind, const uint8_t *record, size_t n) {
  walk_t w = {(uint8_t *)record, record + n, true, false};
  uint8_t k = 0;
  u8(&w, &k);
  if (k != (uint8_t)kind) w.failed = true;
  return w;
}

static bool finished(const walk_t *w) {
  return !w->failed && w->at == w->end;
}

size_t eg_record_policy(const eg_policy_t *p, uint8_t *out, size_t room) {
  walk_t w = writes(EG_RECORD_POLICY, out, room);
  policy(&w, (eg_policy_t *)p, (eg_label_t *)p->label);
  return written(&w, out);
}

size_t eg_record_state(const eg_policy_t *p, const eg_state_t *s, uint8_t *out, size_t room) {
  walk_t w = writes(EG_RECORD_STATE, out, room);
  state(&w, p, (eg_state_t *)s);
  return written(&w, out);
}

size_t eg_record_decision(const eg_policy_t *p, int64_t t_ns, const eg_input_t *in,
                          const eg_decision_t *d, uint8_t *out, size_t room) {
  walk_t w = writes(EG_RECORD_DECISION, out, room);
  i64(&w, &t_ns);
  input(&w, p, (eg_input_t *)in);
  decision(&w, p, (eg_decision_t *)d);
  return written(&w, out);
}

size_t eg_record_operation(eg_record_kind_t kind, uint8_t result, uint8_t *out, size_t room) {
  walk_t w = writes(kind, out, room);
  u8(&w, &result);
  return written(&w, out);
}

size_t eg_record_gap(uint32_t lost, uint8_t *out, size_t room) {
  walk_t w = writes(EG_RECORD_GAP, out, room);
  u32(&w, &lost);
  return written(&w, out);
}

bool eg_read_policy(const uint8_t *record, size_t n, eg_policy_t *p, eg_label_t *label) {
  memset(p, 0, sizeof *p);
  walk_t w = reads(EG_RECORD_POLICY, record, n);
  policy(&w, p, label);
  p->label = label;
  return finished(&w);
}

bool eg_read_state(const eg_policy_t *p, const uint8_t *record, size_t n, eg_state_t *s) {
  memset(s, 0, sizeof *s);
  walk_t w = reads(EG_RECORD_STATE, record, n);
  state(&w, p, s);
  return finished(&w);
}

bool eg_read_decision(const eg_policy_t *p, const uint8_t *record, size_t n, int64_t *t_ns,
                      eg_input_t *in, eg_decision_t *d) {
  memset(in, 0, sizeof *in);
  memset(d, 0, sizeof *d);
  walk_t w = reads(EG_RECORD_DECISION, record, n);
  i64(&w, t_ns);
  input(&w, p, in);
  decision(&w, p, d);
  return finished(&w);
}
