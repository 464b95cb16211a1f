/* SPDX-License-Identifier: Apache-2.0 */
/* What perceive.c promises. */
#ifndef EDGEGUARD_CONTRACTS_PERCEIVE_H
#define EDGEGUARD_CONTRACTS_PERCEIVE_H

#include "contracts_causes.h"
#include "contracts_time.h"
#include "well_formed.h"

#define SAME(a, b) ((a)->scene == (b)->scene && ((a)->view != (b)->view || (a)->hash == (b)->hash))

bool eg_same_picture(const eg_frame_t *a, const eg_frame_t *b) REQUIRES(READS(a) && READS(b))
    ASSIGNS()
    /* CAM-1 */ ENSURES(RET == SAME(a, b));

bool eg_number_ok(const eg_number_t *n, int32_t min, int32_t max) REQUIRES(READS(n)) ASSIGNS()
    ENSURES(RET == IN_RANGE(n, min, max));

const eg_number_t *eg_signal(const eg_policy_t *p, const eg_input_t *in, uint8_t index)
    REQUIRES(READS(p) && READS(in) && (index == EG_NONE || index < EG_MAX_SIGNALS)) ASSIGNS()
        ENSURES(RET == (index != EG_NONE && SIGNAL_OK(p, in, index) ? &in->signal[index] : NULL));

/* A frame that the camera had not delivered at the last decision. */
#define WAS OLD(s->camera[a_camera])
#define SHOWS in->frame[a_camera]
#define NEW_FRAME (SHOWS.serial != (WAS.seen ? WAS.kept[0].serial : 0))
#define SHOWN(i)                                                                                   \
  (i < WAS.seen && WAS.kept[i].scene == SHOWS.scene &&                                             \
   (WAS.kept[i].view != SHOWS.view || WAS.kept[i].hash == SHOWS.hash))
#define REPEATS (SHOWN(0) || SHOWN(1) || SHOWN(2) || SHOWN(3))

uint32_t eg_cameras_update(const eg_policy_t *p, eg_state_t *s, const eg_input_t *in)
    REQUIRES(READS(p) && WRITES(s) && READS(in) && sizes_ok(p) && cameras_ok(p, s))
        REQUIRES(camera_rows_ok(p))
            ASSIGNS(s->camera, s->repeated_us, s->flow, s->check[EG_CHECK_CAMERAS])
                ENSURES(cameras_ok(p, s))
    /* CAM-1 */ ENSURES(IMPLIES(a_camera < p->cameras && NEW_FRAME && REPEATS,
                                HAS(RET, EG_FROZEN_INPUT)))
    /* CAM-2 */ ENSURES(IMPLIES(a_camera < p->cameras &&
                                    (s->camera[a_camera].seen == 0 ||
                                     s->camera[a_camera].age_us > p->camera[a_camera].max_age_us),
                                HAS(RET, EG_FRAME_LOST)))
    /* CAM-2 */ ENSURES(IMPLIES(a_camera < p->cameras,
                                s->camera[a_camera].age_us ==
                                    (NEW_FRAME ? in->frame[a_camera].age_us : WAS.age_us)))
    /* VOTE-7 */ ENSURES(IMPLIES(a_camera < p->cameras && s->camera[a_camera].repeats,
                                 s->repeated_us <= s->camera[a_camera].age_us))
    /* VOTE-7 */ ENSURES(s->repeated_us <= OLD(s->repeated_us))
    /* FLOW-1 */ ENSURES(FOLDED(s, EG_CHECK_CAMERAS));

#define SANE(p, m, in)                                                                             \
  ((in)->age_us != EG_AGE_MAX && (in)->evidence.bad == 0 && (in)->evidence.out_of_range == 0 &&    \
   (in)->evidence.rail <= (m)->max_rail && (in)->evidence.distinct >= (m)->min_distinct &&         \
   (in)->evidence.sum >= (m)->sum_min && (in)->evidence.sum <= (m)->sum_max &&                     \
   ((m)->kind != EG_BY_LABEL || (in)->evidence.label < (int32_t)(p)->labels))

static bool may_in(const eg_policy_t *p, uint32_t member, eg_mode_t mode) {
  return (p->member[member].modes >> (uint32_t)mode) % 2u != 0;
}

static bool authorized(const eg_policy_t *p, uint32_t member, int32_t label) {
  if (p->member[member].kind != EG_BY_LABEL || label < 0 || label >= (int32_t)p->labels)
    return true;
  int32_t channel = label_channel(p, label);
  return channel < 0 || may(p, member, (uint32_t)channel) != 0;
}

uint32_t eg_inference_faults(const eg_policy_t *p, uint8_t member, eg_mode_t mode,
                             const eg_suggestion_t *in)
    REQUIRES(READS(p) && READS(in) && p->channels <= EG_MAX_CHANNELS && member < EG_MAX_MEMBERS)
        REQUIRES((uint32_t)mode <= EG_SAFE_STOP && label_ok(p, in->evidence.label)) ASSIGNS()
            ENSURES(HAS(RET, EG_LATE) == (in->latency_us > p->member[member].deadline_us))
    /* VOTE-2 */ ENSURES(HAS(RET, EG_SCORE_INSANE) == !SANE(p, &p->member[member], in))
    /* VOTE-2 */ ENSURES(HAS(RET, EG_UNAUTHORIZED_SUGGESTION) ==
                         (SANE(p, &p->member[member], in) && in->evidence.label >= 0 &&
                          !(may_in(p, member, mode) && authorized(p, member, in->evidence.label))))
        ENSURES((RET & ~(EG_BIT(EG_LATE) | EG_BIT(EG_SCORE_INSANE) |
                         EG_BIT(EG_UNAUTHORIZED_SUGGESTION))) == 0);

/* An inference that counts as a sign of life: sane, in time, and says something. */
#define NEW_INFERENCE(s, in, i) ((in)->member[i].serial != OLD((s)->member[i].serial))
#define LIVES(p, in, i)                                                                            \
  (SANE(p, &(p)->member[i], &(in)->member[i]) && (in)->member[i].evidence.label >= 0 &&            \
   (in)->member[i].latency_us <= (p)->member[i].deadline_us)

uint32_t eg_members_update(const eg_policy_t *p, eg_state_t *s, const eg_input_t *in)
    REQUIRES(READS(p) && WRITES(s) && READS(in) && sizes_ok(p) && causes_ok(p))
        REQUIRES(all_held_ok(p, s) && said_ok(p, in))
            ASSIGNS(s->member, s->flow, s->check[EG_CHECK_MEMBERS]) ENSURES(all_held_ok(p, s))
    /* VOTE-2 */ ENSURES(
        IMPLIES(ONE_MEMBER && (!SAYS.present || !may_in(p, a_member, mode_of(p, s))), !MEMBER.held))
    /* VOTE-2 */ ENSURES(IMPLIES(ONE_MEMBER &&NEW_INFERENCE(s, in, a_member) &&
                                     (!SANE(p, &p->member[a_member], &SAYS) ||
                                      SAYS.evidence.label < 0 ||
                                      !may_in(p, a_member, mode_of(p, s)) ||
                                      !authorized(p, a_member, SAYS.evidence.label)),
                                 !MEMBER.held))
    /* TIME-1 */ ENSURES(IMPLIES(ONE_MEMBER &&MEMBER.held,
                                 MEMBER.age_us <= p->member[a_member].max_age_us))
    /* TIME-1 */ ENSURES(IMPLIES(ONE_MEMBER &&MEMBER.age_us != OLD(MEMBER.age_us),
                                 NEW_INFERENCE(s, in, a_member) && MEMBER.age_us == SAYS.age_us &&
                                     SAYS.age_us <= OLD(MEMBER.newest_us) &&
                                     LIVES(p, in, a_member)))
    /* TIME-1 */ ENSURES(IMPLIES(ONE_MEMBER &&MEMBER.held && !OLD(MEMBER.held),
                                 NEW_INFERENCE(s, in, a_member) && MEMBER.age_us == SAYS.age_us))
    /* TIME-1 */ ENSURES(IMPLIES(ONE_MEMBER, MEMBER.newest_us <= OLD(MEMBER.newest_us)))
    /* VOTE-4 */ ENSURES(IMPLIES(ONE_MEMBER && (!SAYS.present ||
                                                MEMBER.age_us > p->member[a_member].max_age_us),
                                 HAS(RET, EG_MEMBER_LOST)))
        ENSURES(IMPLIES(ONE_MEMBER &&SAYS.pending_us > p->member[a_member].deadline_us,
                        HAS(RET, EG_LATE)))
    /* FLOW-1 */ ENSURES(FOLDED(s, EG_CHECK_MEMBERS));

#define DETECTS(p, s, in, d)                                                                       \
  ((in)->detector[d].validity == EG_INVALID ||                                                     \
   ((in)->detector[d].validity == EG_VALID &&                                                      \
    ((p)->detector[d].member == EG_NONE ||                                                         \
     (s)->member[(p)->detector[d].member % EG_MAX_MEMBERS].held) &&                                \
    ((in)->detector[d].value < (p)->detector[d].min ||                                             \
     (in)->detector[d].value > (p)->detector[d].max)))

uint32_t eg_numbers_check(const eg_policy_t *p, eg_state_t *s, const eg_input_t *in)
    REQUIRES(READS(p) && WRITES(s) && READS(in) && sizes_ok(p) && detectors_ok(p))
        ASSIGNS(s->flow, s->check[EG_CHECK_NUMBERS])
    /* NUM-1 */ ENSURES(IMPLIES(in->engaged_unknown, HAS(RET, EG_INPUT_INVALID)))
    /* NUM-1 */ ENSURES(IMPLIES(a_signal < p->signals && !SIGNAL_OK(p, in, a_signal),
                                HAS(RET, EG_INPUT_INVALID)))
    /* NUM-2 */ ENSURES(IMPLIES(a_detector < p->detectors && DETECTS(p, s, in, a_detector),
                                HAS(RET, p->detector[a_detector].cause % EG_CAUSES)))
    /* FLOW-1 */ ENSURES(FOLDED(s, EG_CHECK_NUMBERS));

#endif
