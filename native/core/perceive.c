/* SPDX-License-Identifier: Apache-2.0 */
#include "edgeguard/core.h"

static uint32_t if_set(bool condition, eg_cause_t cause) {
  return condition ? EG_BIT(cause) : 0;
}

/* A repeated frame counts as frozen whatever its timestamp says. */
static uint32_t camera_update(const eg_camera_t *row, eg_camera_state_t *c, const eg_frame_t *f) {
  if (f->serial != c->serial) {
    c->repeats = c->seen && f->hash == c->hash;
    c->seen = 1;
    c->serial = f->serial;
    c->hash = f->hash;
    c->age_us = f->age_us;
  }
  return if_set(!c->seen || c->age_us > row->max_age_us, EG_FRAME_LOST) |
         if_set(c->repeats, EG_FROZEN_INPUT);
}

uint32_t eg_cameras_update(const eg_policy_t *p, eg_state_t *s, const eg_input_t *in) {
  uint32_t present = 0;
  for (uint8_t i = 0; i < p->cameras; i++)
    present |= camera_update(&p->camera[i], &s->camera[i], &in->frame[i]);
  return present;
}

static bool sane(const eg_policy_t *p, const eg_member_t *m, const eg_evidence_t *e) {
  return e->bad == 0 && e->out_of_range == 0 && e->rail <= m->max_rail &&
         e->distinct >= m->min_distinct && e->sum >= m->sum_min && e->sum <= m->sum_max &&
         (m->kind == EG_BY_VALUE || e->label < (int32_t)p->labels);
}

static bool may_suggest_for(const eg_policy_t *p, const eg_member_t *m, int32_t label) {
  if (m->kind == EG_BY_VALUE || label < 0 || p->label[label].channel == EG_HOLD) return true;
  uint32_t operations = (1u << EG_OPERATIONS) - 1u;
  return (m->may >> (EG_OPERATIONS * (uint32_t)p->label[label].channel)) & operations;
}

/* A new inference. Late, insane, unauthorized and future-stamped ones are refused, each under its
 * own name; an insane or unauthorized one also takes back what the member said before. */
static void take(const eg_policy_t *p, const eg_member_t *m, eg_member_state_t *s,
                 const eg_suggestion_t *in) {
  s->serial = in->serial;
  s->future = in->age_us == EG_AGE_MAX;
  s->late = in->latency_us > m->deadline_us;
  s->insane = !sane(p, m, &in->evidence);
  s->unauthorized = !s->insane && !may_suggest_for(p, m, in->evidence.label);
  bool silent = in->evidence.label < 0; /* empty is not clear: it abstains, and ages */
  if (s->insane || s->unauthorized || silent) s->held = 0;
  bool older = s->held && in->age_us > s->age_us;
  if (s->insane || s->unauthorized || silent || s->future || s->late || older) return;
  s->held = 1;
  s->age_us = in->age_us;
  s->evidence = in->evidence;
}

static uint32_t member_update(const eg_policy_t *p, const eg_member_t *m, eg_member_state_t *s,
                              const eg_suggestion_t *in) {
  if (in->serial != s->serial) take(p, m, s, in);
  if (!in->present || s->age_us > m->max_age_us) s->held = 0;
  return if_set(!in->present, EG_MEMBER_LOST) | if_set(s->insane, EG_SCORE_INSANE) |
         if_set(s->late || in->pending_us > m->deadline_us, EG_LATE) |
         if_set(s->unauthorized, EG_UNAUTHORIZED_SUGGESTION) | if_set(s->future, EG_TIME_FAULT);
}

uint32_t eg_members_update(const eg_policy_t *p, eg_state_t *s, const eg_input_t *in) {
  uint32_t present = 0;
  for (uint8_t i = 0; i < p->members; i++)
    present |= member_update(p, &p->member[i], &s->member[i], &in->member[i]);
  return present;
}

uint32_t eg_numbers_check(const eg_policy_t *p, const eg_input_t *in) {
  uint32_t present = 0;
  for (uint8_t i = 0; i < p->signals; i++) {
    const eg_number_t *n = &in->signal[i];
    bool good = n->validity == EG_VALID && n->value >= p->signal[i].min &&
                n->value <= p->signal[i].max;
    present |= if_set(!good, EG_INPUT_INVALID);
  }
  for (uint8_t i = 0; i < p->detectors; i++) {
    const eg_number_t *n = &in->detector[i];
    const eg_detector_t *d = &p->detector[i];
    bool good = n->validity == EG_VALID && n->value >= d->min && n->value <= d->max;
    present |= if_set(n->validity != EG_ABSENT && !good, (eg_cause_t)d->cause);
  }
  return present;
}
