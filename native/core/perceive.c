/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>

#include "edgeguard/core.h"
#include "edgeguard/flow.h"

static uint32_t if_set(bool condition, eg_cause_t cause) {
  return condition ? EG_BIT(cause) : 0;
}

/* Signs what a check found: the causes that are present, and the ages that made them so. */
static uint32_t signed_off(eg_state_t *s, eg_check_t check, uint32_t crc, uint32_t present) {
  eg_flow_fold(s, check, eg_crc_u32(crc, present));
  return present;
}

bool eg_number_ok(const eg_number_t *n, int32_t min, int32_t max) {
  return n->validity == EG_VALID && n->value >= min && n->value <= max;
}

/* Looking at another part of a frozen frame gives another content, so the scene decides then. */
bool eg_same_picture(const eg_frame_t *a, const eg_frame_t *b) {
  return a->scene == b->scene && (a->view != b->view || a->hash == b->hash);
}

static void keep(eg_camera_state_t *c, const eg_frame_t *f) {
  c->repeats = 0;
  for (uint32_t i = 0; i < c->seen; i++)
    if (eg_same_picture(&c->kept[i], f)) c->repeats = 1;
  for (uint32_t i = EG_FRAMES_KEPT - 1; i > 0; i--) c->kept[i] = c->kept[i - 1];
  c->kept[0] = *f;
  if (c->seen < EG_FRAMES_KEPT) c->seen++;
  c->age_us = f->age_us;
}

/* A repeated frame counts as frozen whatever its timestamp says. */
static uint32_t camera_update(const eg_camera_t *row, eg_camera_state_t *c, const eg_frame_t *f) {
  if (f->serial != c->kept[0].serial) keep(c, f); /* 0 before the first frame, as eg_init left it */
  return if_set(c->age_us > row->max_age_us, EG_FRAME_LOST) | if_set(c->repeats, EG_FROZEN_INPUT);
}

uint32_t eg_cameras_update(const eg_policy_t *p, eg_state_t *s, const eg_input_t *in) {
  uint32_t present = 0, crc = EG_CRC_START;
  for (uint8_t i = 0; i < p->cameras; i++) {
    present |= camera_update(&p->camera[i], &s->camera[i], &in->frame[i]);
    if (s->camera[i].repeats && s->camera[i].age_us < s->repeated_us)
      s->repeated_us = s->camera[i].age_us;
    crc = eg_crc_u32(crc, s->camera[i].age_us);
  }
  return signed_off(s, EG_CHECK_CAMERAS, crc, present);
}

static bool sane(const eg_policy_t *p, const eg_member_t *m, const eg_suggestion_t *in) {
  const eg_evidence_t *e = &in->evidence;
  bool stamped = in->age_us != EG_AGE_MAX; /* not from the future */
  return stamped && e->bad == 0 && e->out_of_range == 0 && e->rail <= m->max_rail &&
         e->distinct >= m->min_distinct && e->sum >= m->sum_min && e->sum <= m->sum_max &&
         (m->kind != EG_BY_LABEL || e->label < (int32_t)p->labels);
}

static bool may_suggest_in(const eg_member_t *m, eg_mode_t mode) {
  return ((uint32_t)m->modes >> (uint32_t)mode) & 1u;
}

static bool may_suggest_for(const eg_policy_t *p, const eg_member_t *m, int32_t label) {
  if (m->kind != EG_BY_LABEL) return true;
  int8_t channel = p->label[label].channel;
  if (channel < 0) return true; /* EG_HOLD */
  return ((uint32_t)m->may >> (EG_OPERATIONS * (uint32_t)channel)) & 3u;
}

uint32_t eg_inference_faults(const eg_policy_t *p, uint8_t member, eg_mode_t mode,
                             const eg_suggestion_t *in) {
  const eg_member_t *m = &p->member[member];
  int32_t label = in->evidence.label;
  uint32_t late = if_set(in->latency_us > m->deadline_us, EG_LATE);
  if (!sane(p, m, in)) return late | EG_BIT(EG_SCORE_INSANE);
  if (label < 0) return late; /* says nothing */
  bool may = may_suggest_in(m, mode) && may_suggest_for(p, m, label);
  return late | if_set(!may, EG_UNAUTHORIZED_SUGGESTION);
}

/* Remembers the frames before for as long as they named one label. A second inference of the same
 * frame is no second frame. */
static void follow(eg_member_state_t *s, int32_t label, bool another) {
  if (!s->held || s->evidence.label != label) {
    for (uint32_t i = 0; i < EG_MAX_RUN - 1; i++) s->before[i] = EG_UNSAID;
    return;
  }
  if (!another) return;
  for (uint32_t i = EG_MAX_RUN - 2; i > 0; i--) s->before[i] = s->before[i - 1];
  s->before[0] = s->evidence.certainty;
}

static bool later(uint32_t age_us, uint32_t than_us, uint32_t by_us) {
  return age_us < than_us && than_us - age_us > by_us;
}

/* Whether it looked at another frame than the last inference did. Ages are rounded down, each for
 * itself, so two that lie a microsecond apart may be one; and a stamp may lie up to a period ahead
 * of "now", so what a stuck camera gave again is left behind by more than that. */
static bool is_another(const eg_policy_t *p, const eg_member_state_t *s, uint32_t repeated_us,
                       const eg_suggestion_t *in) {
  return later(in->age_us, s->newest_us, 1) && later(in->age_us, repeated_us, p->period_us);
}

/* A new inference. Late, insane and unauthorized ones are refused, each under its own name; an
 * insane or unauthorized one also takes back what the member said before, as does an empty one:
 * empty is not clear. What is older than anything seen before is not looked at. */
static void take(const eg_policy_t *p, uint8_t member, eg_mode_t mode, eg_member_state_t *s,
                 const eg_suggestion_t *in, uint32_t repeated_us) {
  s->serial = in->serial;
  s->faults = eg_inference_faults(p, member, mode, in);
  bool nothing = in->evidence.label<0, older = in->age_us> s->newest_us;
  bool another = is_another(p, s, repeated_us, in);
  if (nothing || (s->faults & ~EG_BIT(EG_LATE))) s->held = 0;
  if (!older) s->newest_us = in->age_us;
  if (nothing || older || (s->faults & ~EG_BIT(EG_UNAUTHORIZED_SUGGESTION))) return;
  s->age_us = in->age_us; /* sane and in time: it lives, whether or not it may say so */
  if (s->faults) return;
  follow(s, in->evidence.label, another);
  s->held = 1;
  s->evidence = in->evidence;
}

static uint32_t member_update(const eg_policy_t *p, uint8_t member, eg_mode_t mode,
                              eg_member_state_t *s, const eg_suggestion_t *in,
                              uint32_t repeated_us) {
  const eg_member_t *m = &p->member[member];
  if (s->age_us > m->max_age_us) s->held = 0; /* too old to vote, and to be gone on with */
  if (in->serial != s->serial) take(p, member, mode, s, in, repeated_us);
  bool silent = s->age_us > m->max_age_us;
  if (!in->present || silent || !may_suggest_in(m, mode)) s->held = 0;
  return s->faults | if_set(!in->present || silent, EG_MEMBER_LOST) |
         if_set(in->pending_us > m->deadline_us, EG_LATE);
}

uint32_t eg_members_update(const eg_policy_t *p, eg_state_t *s, const eg_input_t *in) {
  uint32_t present = 0, crc = EG_CRC_START;
  eg_mode_t mode = eg_mode(p, s); /* of the last decision */
  for (uint8_t i = 0; i < p->members; i++) {
    present |= member_update(p, i, mode, &s->member[i], &in->member[i], s->repeated_us);
    crc = eg_crc_u32(crc, s->member[i].age_us);
  }
  return signed_off(s, EG_CHECK_MEMBERS, crc, present);
}

const eg_number_t *eg_signal(const eg_policy_t *p, const eg_input_t *in, uint8_t index) {
  if (index == EG_NONE) return NULL;
  const eg_number_t *n = &in->signal[index];
  return eg_number_ok(n, p->signal[index].min, p->signal[index].max) ? n : NULL;
}

uint32_t eg_numbers_check(const eg_policy_t *p, eg_state_t *s, const eg_input_t *in) {
  uint32_t present = if_set(in->engaged_unknown, EG_INPUT_INVALID);
  for (uint8_t i = 0; i < p->signals; i++)
    present |=
        if_set(!eg_number_ok(&in->signal[i], p->signal[i].min, p->signal[i].max), EG_INPUT_INVALID);
  for (uint8_t i = 0; i < p->detectors; i++) {
    const eg_detector_t *d = &p->detector[i];
    const eg_number_t *n = &in->detector[i];
    bool abstains = d->member != EG_NONE && !s->member[d->member].held;
    bool speaks = n->validity == EG_INVALID || (n->validity == EG_VALID && !abstains);
    present |= if_set(speaks && !eg_number_ok(n, d->min, d->max), (eg_cause_t)d->cause);
  }
  return signed_off(s, EG_CHECK_NUMBERS, EG_CRC_START, present);
}
