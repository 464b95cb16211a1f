/* SPDX-License-Identifier: Apache-2.0 */
#ifndef REAL_LABELS
#define OPAQUE_LABELS
#endif
#include "contracts_perceive.h"
#include "uninterpreted_crc.h"

#include "perceive.c"

static uint32_t if_set_c(bool condition, eg_cause_t cause) REQUIRES((uint32_t)cause < EG_CAUSES)
    ASSIGNS() ENSURES(RET == (condition ? EG_BIT(cause) : 0));

static uint32_t signed_off_c(eg_state_t *s, eg_check_t check, uint32_t crc, uint32_t present)
    REQUIRES(WRITES(s) && (uint32_t)check < EG_CHECKS) ASSIGNS(s->flow, s->check[check])
        ENSURES(RET == present && FOLDED(s, check));

#define KEPT OLD(c->kept[0])
#define SEEN_BEFORE (OLD(c->seen) > 0)
#define SHOWS_AGAIN(i)                                                                             \
  (i < OLD(c->seen) && OLD(c->kept[i].scene) == f->scene &&                                        \
   (OLD(c->kept[i].view) != f->view || OLD(c->kept[i].hash) == f->hash))
#define ANY_AGAIN ANY_FRAME(SHOWS_AGAIN)
#define ARRIVED (f->serial != (SEEN_BEFORE ? OLD(c->kept[0].serial) : 0))

static void keep_c(eg_camera_state_t *c, const eg_frame_t *f)
    REQUIRES(WRITES(c) && READS(f) && c->seen <= EG_FRAMES_KEPT) ASSIGNS(*c)
    /* CAM-1 */ ENSURES(c->repeats == ANY_AGAIN)
        ENSURES(c->seen >= 1 && c->seen <= EG_FRAMES_KEPT && c->seen >= OLD(c->seen))
            ENSURES(c->kept[0].serial == f->serial && c->age_us == f->age_us);

static uint32_t camera_update_c(const eg_camera_t *row, eg_camera_state_t *c, const eg_frame_t *f)
    REQUIRES(READS(row) && WRITES(c) && READS(f) && camera_ok(c)) ASSIGNS(*c)
        REQUIRES(row->max_age_us != EG_AGE_MAX) ENSURES(camera_ok(c))
    /* CAM-1 */ ENSURES(IMPLIES(ARRIVED &&ANY_AGAIN, HAS(RET, EG_FROZEN_INPUT)))
    /* CAM-2 */ ENSURES(HAS(RET, EG_FRAME_LOST) == (c->seen == 0 || c->age_us > row->max_age_us))
    /* CAM-2 */ ENSURES(c->age_us == (ARRIVED ? f->age_us : OLD(c->age_us)));

static bool sane_c(const eg_policy_t *p, const eg_member_t *m, const eg_suggestion_t *in)
    REQUIRES(READS(p) && READS(m) && READS(in)) ASSIGNS()
    /* VOTE-2 */ ENSURES(RET == SANE(p, m, in));

static bool may_suggest_in_c(const eg_member_t *m, eg_mode_t mode)
    REQUIRES(READS(m) && (uint32_t)mode <= EG_SAFE_STOP) ASSIGNS()
    /* VOTE-2 */ ENSURES(RET == ((m->modes & (1u << (uint32_t)mode)) != 0));

static bool may_suggest_for_c(const eg_policy_t *p, const eg_member_t *m, int32_t label)
    REQUIRES(READS(p) && READS(m))
        REQUIRES(m->kind != EG_BY_LABEL || (label >= 0 && label < (int32_t)p->labels))
            REQUIRES(label_ok(p, label) && p->channels <= EG_MAX_CHANNELS) ASSIGNS()
    /* VOTE-2 */ ENSURES(RET == (m->kind != EG_BY_LABEL || label_channel(p, label) < 0 ||
                                 (((uint32_t)m->may >> (2 * (uint32_t)label_channel(p, label))) &
                                  3u) != 0));

#define MAYBE                                                                                      \
  (in->evidence.label >= 0 && authorized(p, member, in->evidence.label) &&                         \
   may_in(p, member, mode) && SANE(p, &p->member[member], in))

#define ALIVE                                                                                      \
  (in->evidence.label >= 0 && SANE(p, &p->member[member], in) &&                                   \
   in->latency_us <= p->member[member].deadline_us)

/* A row of frames: what was said on the frame before, and before that, of the same label. */
#define SAME_LABEL(named) (OLD(s->held) && OLD(s->evidence.label) == (named))
#define UNSAID (s->before[0] == EG_UNSAID && s->before[1] == EG_UNSAID && s->before[2] == EG_UNSAID)
#define STAYED                                                                                     \
  (s->before[0] == OLD(s->before[0]) && s->before[1] == OLD(s->before[1]) &&                       \
   s->before[2] == OLD(s->before[2]))
#define MOVED_ON                                                                                   \
  (s->before[0] == OLD(s->evidence.certainty) && s->before[1] == OLD(s->before[0]) &&              \
   s->before[2] == OLD(s->before[1]))

static void follow_c(eg_member_state_t *s, int32_t label, bool another) REQUIRES(WRITES(s))
    ASSIGNS(s->before)
    /* VOTE-7 */ ENSURES(!SAME_LABEL(label) ? UNSAID
                         : another          ? MOVED_ON
                                            : STAYED);

#define LATER(age, than, by) ((age) < (than) && (than) - (age) > (by))
#define ANOTHER(newest)                                                                            \
  (LATER(in->age_us, newest, 1) && LATER(in->age_us, repeated_us, p->period_us))
#define IS_ANOTHER ANOTHER(OLD(s->newest_us))

static bool later_c(uint32_t age_us, uint32_t than_us, uint32_t by_us) ASSIGNS()
    /* VOTE-7 */ ENSURES(RET == LATER(age_us, than_us, by_us));

static bool is_another_c(const eg_policy_t *p, const eg_member_state_t *s, uint32_t repeated_us,
                         const eg_suggestion_t *in) REQUIRES(READS(p) && READS(s) && READS(in))
    ASSIGNS()
    /* VOTE-7 */ ENSURES(RET == ANOTHER(s->newest_us));

static void take_c(const eg_policy_t *p, uint8_t member, eg_mode_t mode, eg_member_state_t *s,
                   const eg_suggestion_t *in, uint32_t repeated_us)
    REQUIRES(READS(p) && WRITES(s) && READS(in))
        REQUIRES(p->channels <= EG_MAX_CHANNELS && member < EG_MAX_MEMBERS)
            REQUIRES((uint32_t)mode <= EG_SAFE_STOP)
                REQUIRES(label_ok(p, in->evidence.label) && held_ok(p, s, member)) ASSIGNS(*s)
                    ENSURES(held_ok(p, s, member) && s->serial == in->serial)
    /* VOTE-2 */ ENSURES(IMPLIES(!MAYBE, !s->held))
    /* VOTE-7 */ ENSURES(IMPLIES(s->held && !SAME_LABEL(s->evidence.label), UNSAID))
    /* VOTE-7 */ ENSURES(IMPLIES(s->held && !STAYED && SAME_LABEL(s->evidence.label),
                                 MOVED_ON &&IS_ANOTHER))
    /* TIME-1 */ ENSURES(s->newest_us == MIN(OLD(s->newest_us), in->age_us))
    /* TIME-1 */ ENSURES(IMPLIES(s->age_us != OLD(s->age_us) || (s->held && !OLD(s->held)),
                                 s->age_us == in->age_us && in->age_us <= OLD(s->newest_us) &&
                                     ALIVE));

#define NEW_ONE (in->serial != OLD(s->serial))
#define MAX_AGE p->member[member].max_age_us

#define GOES_ON (SAME_LABEL(s->evidence.label) && OLD(s->age_us) <= MAX_AGE)

static uint32_t member_update_c(const eg_policy_t *p, uint8_t member, eg_mode_t mode,
                                eg_member_state_t *s, const eg_suggestion_t *in,
                                uint32_t repeated_us) REQUIRES(READS(p) && WRITES(s) && READS(in))
    REQUIRES(p->channels <= EG_MAX_CHANNELS && member < EG_MAX_MEMBERS)
        REQUIRES((uint32_t)mode <= EG_SAFE_STOP)
            REQUIRES(label_ok(p, in->evidence.label) && held_ok(p, s, member)) ASSIGNS(*s)
                ENSURES(held_ok(p, s, member))
    /* VOTE-2 */ ENSURES(IMPLIES(!in->present || !may_in(p, member, mode) || (NEW_ONE && !MAYBE),
                                 !s->held))
    /* TIME-1 */ ENSURES(IMPLIES(s->held, s->age_us <= MAX_AGE))
    /* VOTE-7 */ ENSURES(IMPLIES(s->held && !GOES_ON, UNSAID))
    /* VOTE-7 */ ENSURES(IMPLIES(s->held && !STAYED && GOES_ON, MOVED_ON && NEW_ONE && IS_ANOTHER))
    /* TIME-1 */ ENSURES(s->newest_us <= OLD(s->newest_us))
    /* TIME-1 */ ENSURES(IMPLIES(s->age_us != OLD(s->age_us) || (s->held && !OLD(s->held)),
                                 NEW_ONE && s->age_us == in->age_us &&
                                     in->age_us <= OLD(s->newest_us) && ALIVE))
    /* VOTE-4 */ ENSURES(IMPLIES(!in->present || s->age_us > MAX_AGE, HAS(RET, EG_MEMBER_LOST)))
        ENSURES(IMPLIES(in->pending_us > p->member[member].deadline_us, HAS(RET, EG_LATE)));

/*! enforce if_set */
void prove_if_set(void) {
  bool condition;
  eg_cause_t cause;
  if_set(condition, cause);
  REACHED;
}

/*! enforce signed_off; replace eg_flow_fold */
void prove_signed_off(void) {
  eg_state_t s;
  eg_check_t check;
  signed_off(&s, check, nondet_u32(), nondet_u32());
  REACHED;
}

/*! enforce eg_number_ok */
void prove_number_ok(void) {
  eg_number_t n;
  eg_number_ok(&n, nondet_i32(), nondet_i32());
  REACHED;
}

/*! enforce eg_same_picture */
void prove_same_picture(void) {
  eg_frame_t a, b;
  eg_same_picture(&a, &b);
  REACHED;
}

/*! enforce keep; replace eg_same_picture; unwind 6 */
void prove_keep(void) {
  eg_camera_state_t c;
  eg_frame_t f;
  keep(&c, &f);
  REACHED;
}

/*! enforce camera_update; replace keep if_set; unwind 6 */
void prove_camera_update(void) {
  eg_camera_t row;
  eg_camera_state_t c;
  eg_frame_t f;
  camera_update(&row, &c, &f);
  REACHED;
}

/*! enforce eg_cameras_update; replace camera_update signed_off; unwind 6; fields 4; solver kissat;
 * seconds 3 */
void prove_cameras_update(void) {
  free_choice();
  eg_policy_t p;
  eg_state_t s;
  eg_input_t in;
  eg_cameras_update(&p, &s, &in);
  REACHED;
}

/*! enforce sane */
void prove_sane(void) {
  eg_policy_t p;
  eg_member_t m;
  eg_suggestion_t in;
  sane(&p, &m, &in);
  REACHED;
}

/*! enforce may_suggest_in */
void prove_may_suggest_in(void) {
  eg_member_t m;
  eg_mode_t mode;
  may_suggest_in(&m, mode);
  REACHED;
}

/*! enforce eg_inference_faults; replace sane may_suggest_in may_suggest_for if_set; fields 4;
 * seconds 6 */
void prove_inference_faults(void) {
  eg_policy_t p;
  eg_suggestion_t in;
  eg_inference_faults(&p, nondet_u8(), (eg_mode_t)nondet_u32(), &in);
  REACHED;
}

/*! enforce follow; unwind 5 */
void prove_follow(void) {
  eg_member_state_t s;
  bool another;
  follow(&s, nondet_i32(), another);
  REACHED;
}

/*! enforce later */
void prove_later(void) {
  later(nondet_u32(), nondet_u32(), nondet_u32());
  REACHED;
}

/*! enforce is_another; replace later; fields 4 */
void prove_is_another(void) {
  eg_policy_t p;
  eg_member_state_t s;
  eg_suggestion_t in;
  is_another(&p, &s, nondet_u32(), &in);
  REACHED;
}

/*! enforce take; replace eg_inference_faults follow is_another; fields 4; seconds 13 */
void prove_take(void) {
  eg_policy_t p;
  eg_member_state_t s;
  eg_suggestion_t in;
  take(&p, nondet_u8(), (eg_mode_t)nondet_u32(), &s, &in, nondet_u32());
  REACHED;
}

/*! enforce member_update; replace take may_suggest_in if_set; fields 4; seconds 7 */
void prove_member_update(void) {
  eg_policy_t p;
  eg_member_state_t s;
  eg_suggestion_t in;
  member_update(&p, nondet_u8(), (eg_mode_t)nondet_u32(), &s, &in, nondet_u32());
  REACHED;
}

/*! enforce eg_members_update; replace eg_mode member_update signed_off; unwind 10; fields 4;
 * solver kissat; seconds 30 */
void prove_members_update(void) {
  free_choice();
  eg_policy_t p;
  eg_state_t s;
  eg_input_t in;
  eg_members_update(&p, &s, &in);
  REACHED;
}

/*! enforce eg_signal; replace eg_number_ok */
void prove_signal(void) {
  eg_policy_t p;
  eg_input_t in;
  uint8_t index;
  eg_signal(&p, &in, index);
  REACHED;
}

/*! enforce eg_numbers_check; replace eg_number_ok if_set signed_off; unwind 18; fields 4;
 * object-bits 12; seconds 20 */
void prove_numbers_check(void) {
  free_choice();
  eg_policy_t p;
  eg_state_t s;
  eg_input_t in;
  eg_numbers_check(&p, &s, &in);
  REACHED;
}
