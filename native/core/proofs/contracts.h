/* SPDX-License-Identifier: Apache-2.0 */
/* What the core's public functions promise to each other. Each contract is proved in the file of
 * its function (enforce) and used in the files of its callers (replace). */
#ifndef EDGEGUARD_CONTRACTS_H
#define EDGEGUARD_CONTRACTS_H

#include "spec.h"

/* ------------------------------------------------------------ crc.c, flow.c */

uint32_t eg_crc(uint32_t crc, const uint8_t *data, uint32_t n)
    REQUIRES(n <= 65535 && __CPROVER_r_ok(data, n)) ASSIGNS() ENSURES(true);

uint32_t eg_crc_end(uint32_t crc) ASSIGNS() ENSURES(RET == CRC_END(crc));

void eg_flow_begin(eg_state_t *s, uint32_t question, uint32_t tick) REQUIRES(WRITES(s))
    ASSIGNS(s->flow, s->check) ENSURES(s->flow == CRC(CRC(EG_CRC_START, question), tick));

void eg_flow_fold(eg_state_t *s, eg_check_t check, uint32_t crc)
    REQUIRES(WRITES(s) && (uint32_t)check < EG_CHECKS) ASSIGNS(s->flow, s->check[check])
        ENSURES(s->check[check] == CRC_END(crc) && FOLDED(s, check));

#define CHAIN(flow, k, check) CRC(CRC(flow, k), (check)[k])
#define ANSWER(question, tick, check)                                                              \
  CRC_END(                                                                                         \
      CHAIN(CHAIN(CHAIN(CHAIN(CHAIN(CHAIN(CHAIN(CRC(CRC(EG_CRC_START, question), tick), 0, check), \
                                          1, check),                                               \
                                    2, check),                                                     \
                              3, check),                                                           \
                        4, check),                                                                 \
                  5, check),                                                                       \
            6, check))

uint32_t eg_flow_answer(uint32_t question, uint32_t tick, const uint32_t check[EG_CHECKS])
    REQUIRES(__CPROVER_r_ok(check, EG_CHECKS * sizeof *check)) ASSIGNS()
        ENSURES(RET == ANSWER(question, tick, check));

/* ------------------------------------------------------------------- time.c */

#define AGED(age, by) ((uint64_t)(age) + (by) > UINT32_MAX ? UINT32_MAX : (age) + (by))
#define STEP_US(p, elapsed) ((elapsed) ? (elapsed) : (p)->period_us) /* a clock that stands */
#define WATCHED(p, elapsed) ((elapsed) != 0 && (elapsed) <= (p)->max_gap_us)
#define MEMBER_AGES(s, i) (s)->member[i].age_us, (s)->member[i].newest_us

uint32_t eg_time_advance(const eg_policy_t *p, eg_state_t *s, uint32_t elapsed_us)
    REQUIRES(READS(p) && WRITES(s) && sizes_ok(p))
        ASSIGNS(MEMBER_AGES(s, 0), MEMBER_AGES(s, 1), MEMBER_AGES(s, 2), MEMBER_AGES(s, 3),
                MEMBER_AGES(s, 4), MEMBER_AGES(s, 5), MEMBER_AGES(s, 6), MEMBER_AGES(s, 7),
                s->camera[0].age_us, s->camera[1].age_us, s->camera[2].age_us, s->camera[3].age_us,
                s->flow, s->check[EG_CHECK_TIME])
    /* TIME-1 */ ENSURES(IMPLIES(a_member < p->members,
                                 s->member[a_member].age_us ==
                                     AGED(OLD(s->member[a_member].age_us), STEP_US(p, elapsed_us))))
    /* TIME-1 */ ENSURES(IMPLIES(a_member < p->members, s->member[a_member].newest_us ==
                                                            AGED(OLD(s->member[a_member].newest_us),
                                                                 STEP_US(p, elapsed_us))))
    /* TIME-1 */ ENSURES(IMPLIES(a_camera < p->cameras,
                                 s->camera[a_camera].age_us ==
                                     AGED(OLD(s->camera[a_camera].age_us), STEP_US(p, elapsed_us))))
    /* TIME-2 */ ENSURES(HAS(RET, EG_TIME_FAULT) == !WATCHED(p, elapsed_us))
    /* TIME-3 */ ENSURES(IMPLIES(WATCHED(p, elapsed_us),
                                 HAS(RET, EG_OVERRUN) == (elapsed_us / 2 > p->period_us)))
    /* FLOW-1 */ ENSURES(FOLDED(s, EG_CHECK_TIME));

/* --------------------------------------------------------------- perceive.c */

#define SAME(a, b) ((a)->scene == (b)->scene && ((a)->view != (b)->view || (a)->hash == (b)->hash))

bool eg_same_picture(const eg_frame_t *a, const eg_frame_t *b) REQUIRES(READS(a) && READS(b))
    ASSIGNS() ENSURES(RET == SAME(a, b));

#define IN_RANGE(n, low, high)                                                                     \
  ((n)->validity == EG_VALID && (n)->value >= (low) && (n)->value <= (high))
#define SIGNAL_OK(p, in, i) IN_RANGE(&(in)->signal[i], (p)->signal[i].min, (p)->signal[i].max)

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
        ASSIGNS(s->camera, s->flow, s->check[EG_CHECK_CAMERAS]) ENSURES(cameras_ok(p, s))
    /* CAM-1 */ ENSURES(IMPLIES(a_camera < p->cameras && NEW_FRAME && REPEATS,
                                HAS(RET, EG_FROZEN_INPUT)))
    /* CAM-2 */ ENSURES(IMPLIES(a_camera < p->cameras &&
                                    (s->camera[a_camera].seen == 0 ||
                                     s->camera[a_camera].age_us > p->camera[a_camera].max_age_us),
                                HAS(RET, EG_FRAME_LOST)))
    /* CAM-2 */ ENSURES(IMPLIES(a_camera < p->cameras,
                                s->camera[a_camera].age_us ==
                                    (NEW_FRAME ? in->frame[a_camera].age_us : WAS.age_us)))
    /* FLOW-1 */ ENSURES(FOLDED(s, EG_CHECK_CAMERAS));

#define SANE(p, m, in)                                                                             \
  ((in)->age_us != EG_AGE_MAX && (in)->evidence.bad == 0 && (in)->evidence.out_of_range == 0 &&    \
   (in)->evidence.rail <= (m)->max_rail && (in)->evidence.distinct >= (m)->min_distinct &&         \
   (in)->evidence.sum >= (m)->sum_min && (in)->evidence.sum <= (m)->sum_max &&                     \
   ((m)->kind == EG_BY_VALUE || (in)->evidence.label < (int32_t)(p)->labels))

static bool authorized(const eg_policy_t *p, uint32_t member, int32_t label) {
  if (p->member[member].kind == EG_BY_VALUE || label < 0 || label >= (int32_t)p->labels)
    return true;
  int32_t channel = label_channel(p, label);
  return channel < 0 || may(p, member, (uint32_t)channel) != 0;
}

uint32_t eg_inference_faults(const eg_policy_t *p, uint8_t member, const eg_suggestion_t *in)
    REQUIRES(READS(p) && READS(in) && p->channels <= EG_MAX_CHANNELS && member < EG_MAX_MEMBERS)
        REQUIRES(label_ok(p, in->evidence.label)) ASSIGNS()
            ENSURES(HAS(RET, EG_LATE) == (in->latency_us > p->member[member].deadline_us))
    /* VOTE-2 */ ENSURES(HAS(RET, EG_SCORE_INSANE) == !SANE(p, &p->member[member], in))
    /* VOTE-2 */ ENSURES(IMPLIES(!authorized(p, member, in->evidence.label) &&
                                     !HAS(RET, EG_SCORE_INSANE),
                                 HAS(RET, EG_UNAUTHORIZED_SUGGESTION)))
        ENSURES((RET & ~(EG_BIT(EG_LATE) | EG_BIT(EG_SCORE_INSANE) |
                         EG_BIT(EG_UNAUTHORIZED_SUGGESTION))) == 0);

/* What a member's new suggestion must be to be voted with. */
#define NEW_INFERENCE(s, in, i) ((in)->member[i].serial != OLD((s)->member[i].serial))
#define ACCEPTABLE(p, in, i)                                                                       \
  (SANE(p, &(p)->member[i], &(in)->member[i]) &&                                                   \
   authorized(p, i, (in)->member[i].evidence.label) &&                                             \
   (in)->member[i].latency_us <= (p)->member[i].deadline_us &&                                     \
   (in)->member[i].evidence.label >= 0)

#define ONE_MEMBER (a_member < p->members)
#define MEMBER s->member[a_member]
#define SAYS in->member[a_member]

uint32_t eg_members_update(const eg_policy_t *p, eg_state_t *s, const eg_input_t *in)
    REQUIRES(READS(p) && WRITES(s) && READS(in) && sizes_ok(p))
        REQUIRES(all_held_ok(p, s) && said_ok(p, in))
            ASSIGNS(s->member, s->flow, s->check[EG_CHECK_MEMBERS]) ENSURES(all_held_ok(p, s))
    /* VOTE-2 */ ENSURES(IMPLIES(ONE_MEMBER && !SAYS.present, !MEMBER.held))
    /* VOTE-2 */ ENSURES(IMPLIES(ONE_MEMBER &&NEW_INFERENCE(s, in, a_member) &&
                                     (!SANE(p, &p->member[a_member], &SAYS) ||
                                      SAYS.evidence.label < 0 ||
                                      !authorized(p, a_member, SAYS.evidence.label)),
                                 !MEMBER.held))
    /* TIME-1 */ ENSURES(IMPLIES(ONE_MEMBER &&MEMBER.held,
                                 MEMBER.age_us <= p->member[a_member].max_age_us))
    /* TIME-1 */ ENSURES(IMPLIES(ONE_MEMBER &&MEMBER.age_us != OLD(MEMBER.age_us),
                                 NEW_INFERENCE(s, in, a_member) && MEMBER.age_us == SAYS.age_us &&
                                     SAYS.age_us <= OLD(MEMBER.newest_us) &&
                                     ACCEPTABLE(p, in, a_member)))
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
    ((p)->detector[d].member == EG_NONE || (s)->member[(p)->detector[d].member].held) &&           \
    ((in)->detector[d].value < (p)->detector[d].min ||                                             \
     (in)->detector[d].value > (p)->detector[d].max)))

uint32_t eg_numbers_check(const eg_policy_t *p, eg_state_t *s, const eg_input_t *in)
    REQUIRES(READS(p) && WRITES(s) && READS(in) && sizes_ok(p) && detectors_ok(p))
        ASSIGNS(s->flow, s->check[EG_CHECK_NUMBERS])
    /* NUM-1 */ ENSURES(IMPLIES(in->engaged_unknown, HAS(RET, EG_INPUT_INVALID)))
    /* NUM-1 */ ENSURES(IMPLIES(a_signal < p->signals && !SIGNAL_OK(p, in, a_signal),
                                HAS(RET, EG_INPUT_INVALID)))
    /* NUM-2 */ ENSURES(IMPLIES(a_detector < p->detectors && DETECTS(p, s, in, a_detector),
                                HAS(RET, p->detector[a_detector].cause)))
    /* FLOW-1 */ ENSURES(FOLDED(s, EG_CHECK_NUMBERS));

/* ------------------------------------------------------------------- vote.c */

static bool votable(const eg_policy_t *p, const eg_state_t *s, uint32_t channel) {
  for (uint32_t i = 0; i < EG_MAX_MEMBERS; i++)
    if (i < p->members && may(p, i, channel) && p->member[i].kind != p->channel[channel].kind)
      return false;
  return all_held_ok(p, s);
}

/* Members that say something on a channel. */
static uint8_t voting(const eg_policy_t *p, const eg_state_t *s, uint32_t channel) {
  uint8_t n = 0;
  for (uint32_t i = 0; i < EG_MAX_MEMBERS; i++)
    if (i < p->members && may(p, i, channel) && s->member[i].held) n++;
  return n;
}

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define LEAST_QUORUM(c) MIN((c)->demand[0].quorum, (c)->demand[1].quorum)
#define CHANNEL p->channel[channel]
#define TARGET s->channel[channel].target

uint32_t eg_vote(const eg_policy_t *p, eg_state_t *s, uint8_t channel, bool trusted,
                 eg_command_t *out)
    REQUIRES(READS(p) && WRITES(s) && WRITES(out) && sizes_ok(p) && channel < p->channels)
        REQUIRES(votable(p, s, channel) && CHANNEL.kind <= EG_BY_VALUE && out->granted == 0)
            ASSIGNS(s->channel[channel].target, out->label, out->certainty, out->votes, out->voters,
                    out->granted)
    /* VOTE-2 */ ENSURES(out->voters == voting(p, s, channel))
        ENSURES(out->votes <= out->voters && out->granted <= 1)
    /* VOTE-3 */ ENSURES(IMPLIES(!trusted, out->granted == 0))
    /* VOTE-3 */ ENSURES(IMPLIES(out->granted == 0, TARGET == OLD(TARGET)))
    /* VOTE-5 */ ENSURES(IMPLIES(
        out->granted,
        out->votes >= LEAST_QUORUM(&CHANNEL) &&
            out->votes >= CHANNEL.demand[TARGET > OLD(TARGET) ? EG_RAISE : EG_LOWER].quorum &&
            TARGET != OLD(TARGET)))
    /* VOTE-4 */ ENSURES(IMPLIES(out->voters < LEAST_QUORUM(&CHANNEL),
                                 RET == EG_BIT(EG_STALE_MODEL)))
        ENSURES((RET &
                 ~(EG_BIT(EG_STALE_MODEL) | EG_BIT(EG_DISAGREEMENT) | EG_BIT(EG_LOW_CERTAINTY) |
                   EG_BIT(EG_OPERATION_DENIED) | EG_BIT(EG_UNAUTHORIZED_SUGGESTION))) == 0);

#define ONE_CHANNEL (a_channel < p->channels)
#define OUT out->channel[a_channel]
#define HERE s->channel[a_channel]

uint32_t eg_votes_update(const eg_policy_t *p, eg_state_t *s, bool trusted, eg_decision_t *out)
    REQUIRES(READS(p) && WRITES(s) && WRITES(out) && policy_ok(p) && all_held_ok(p, s))
        REQUIRES(out->channel[0].granted == 0 && out->channel[1].granted == 0 &&
                 out->channel[2].granted == 0 && out->channel[3].granted == 0)
            ASSIGNS(s->channel[0].target, s->channel[1].target, s->channel[2].target,
                    s->channel[3].target, out->channel, s->flow, s->check[EG_CHECK_VOTES])
    /* VOTE-3 */ ENSURES(IMPLIES(ONE_CHANNEL && !trusted, OUT.granted == 0))
    /* VOTE-3 */ ENSURES(IMPLIES(ONE_CHANNEL &&OUT.granted == 0, HERE.target == OLD(HERE.target)))
    /* VOTE-4 */ ENSURES(IMPLIES(ONE_CHANNEL &&OUT.voters < LEAST_QUORUM(&p->channel[a_channel]),
                                 HAS(RET, EG_STALE_MODEL)))
        ENSURES(IMPLIES(ONE_CHANNEL, OUT.voters == voting(p, s, a_channel)))
    /* FLOW-1 */ ENSURES(FOLDED(s, EG_CHECK_VOTES));

/* ----------------------------------------------------------------- causes.c */

#define CREDIT(p, present, elapsed)                                                                \
  (WATCHED(p, elapsed) ? (elapsed) : (present) ? (p)->max_gap_us : 0)

bool eg_debounce_step(const eg_cause_row_t *row, eg_debounce_t *d, bool active, bool present,
                      uint32_t elapsed_us) REQUIRES(READS(row) && WRITES(d)) ASSIGNS(*d)
    /* DEB-1 */ ENSURES(IMPLIES(!active && !RET,
                                8 * (uint64_t)d->level_us + (present ? 0 : elapsed_us) >=
                                    8 * ((uint64_t)OLD(d->level_us) + (present ? elapsed_us : 0))))
    /* DEB-1 */ ENSURES(IMPLIES(present && !RET, d->level_us < row->on_us))
    /* DEB-1 */ ENSURES(IMPLIES(!RET, d->level_us <= OLD(d->level_us) || present))
    /* DEB-2 */ ENSURES(IMPLIES(active && !RET, !present && row->clears == EG_CLEARS_ITSELF &&
                                                    d->quiet_us >= row->off_us && d->level_us == 0))
    /* DEB-2 */ ENSURES(d->quiet_us == (present ? 0 : AGED(OLD(d->quiet_us), elapsed_us)))
    /* DEB-3 */ ENSURES(IMPLIES(!active && RET, present && d->level_us >= row->on_us))
    /* LATCH-1 */ ENSURES(IMPLIES(active && row->clears != EG_CLEARS_ITSELF, RET));

#define DEBOUNCE s->debounce[a_cause]
#define IS_PRESENT HAS(present, a_cause)
#define CREDIT_US CREDIT(p, IS_PRESENT, elapsed_us)

void eg_causes_update(const eg_policy_t *p, eg_state_t *s, uint32_t present, uint32_t elapsed_us)
    REQUIRES(READS(p) && WRITES(s))
        ASSIGNS(s->active, s->present, s->debounce, s->flow, s->check[EG_CHECK_CAUSES])
            ENSURES(s->present == present)
    /* LATCH-1 */ ENSURES(IMPLIES(HAS(OLD(s->active), a_cause) &&
                                      p->cause[a_cause].clears != EG_CLEARS_ITSELF,
                                  HAS(s->active, a_cause)))
    /* DEB-1 */ ENSURES(IMPLIES(!HAS(OLD(s->active), a_cause) && !HAS(s->active, a_cause),
                                8 * (uint64_t)DEBOUNCE.level_us + (IS_PRESENT ? 0 : CREDIT_US) >=
                                    8 * ((uint64_t)OLD(DEBOUNCE.level_us) +
                                         (IS_PRESENT ? CREDIT_US : 0))))
    /* DEB-2 */ ENSURES(IMPLIES(HAS(OLD(s->active), a_cause) && !HAS(s->active, a_cause),
                                !IS_PRESENT && AGED(OLD(DEBOUNCE.quiet_us), CREDIT_US) >=
                                                   p->cause[a_cause].off_us))
    /* DEB-3 */ ENSURES(IMPLIES(!HAS(OLD(s->active), a_cause) && HAS(s->active, a_cause),
                                IS_PRESENT))
    /* DEB-4 */ ENSURES(IMPLIES(IS_PRESENT && p->cause[a_cause].on_us == 0,
                                HAS(s->active, a_cause)))
    /* FLOW-1 */ ENSURES(FOLDED(s, EG_CHECK_CAUSES));

static bool somebody_asks(const eg_policy_t *p, uint32_t causes) {
  for (uint32_t c = 0; c < EG_CAUSES; c++)
    if (p->cause[c].asks_operator && HAS(causes, c)) return true;
  return false;
}

bool eg_asks_operator(const eg_policy_t *p, uint32_t causes) REQUIRES(READS(p)) ASSIGNS()
    ENSURES(RET == somebody_asks(p, causes));

static bool has_severity(const eg_policy_t *p, uint32_t causes, uint32_t severity) {
  for (uint32_t c = 0; c < EG_CAUSES; c++)
    if (HAS(causes, c) && p->cause[c].severity == severity) return true;
  return false;
}

eg_mode_t eg_worst(const eg_policy_t *p, uint32_t causes) REQUIRES(READS(p) && causes_ok(p))
    ASSIGNS()
    /* MODE-1 */ ENSURES(IMPLIES(HAS(causes, a_cause), RET >= p->cause[a_cause].severity))
    /* MODE-1 */ ENSURES(RET == EG_NOMINAL || has_severity(p, causes, (uint32_t)RET))
        ENSURES(RET <= EG_SAFE_STOP);

#define WAITS (HAS(OLD(s->active), a_cause) && p->cause[a_cause].clears == EG_CLEARS_BY_REARM)

eg_rearm_t eg_rearm(const eg_policy_t *p, eg_state_t *s) REQUIRES(READS(p) && WRITES(s))
    ASSIGNS(s->active, s->taken_over, s->debounce)
    /* LATCH-2 */ ENSURES(IMPLIES(RET != EG_REARMED,
                                  s->active == OLD(s->active) &&
                                      s->taken_over == OLD(s->taken_over) &&
                                      DEBOUNCE.level_us == OLD(DEBOUNCE.level_us)))
    /* LATCH-2 */ ENSURES(IMPLIES(RET == EG_REARMED, s->armed && s->standstill))
    /* LATCH-2 */ ENSURES(IMPLIES(RET == EG_REARMED && WAITS,
                                  !HAS(s->present, a_cause) &&
                                      OLD(DEBOUNCE.quiet_us) >= p->cause[a_cause].off_us &&
                                      !HAS(s->active, a_cause)))
    /* LATCH-3 */ ENSURES(IMPLIES(!WAITS, HAS(s->active, a_cause) == HAS(OLD(s->active), a_cause)));

/* ------------------------------------------------------- envelope.c, command.c */

#define LOW_OF(l, last) ((int64_t)(last) - (l)->fall)
#define HIGH_OF(l, last) ((int64_t)(last) + (l)->rise)

int32_t eg_envelope_step(const eg_limits_t *l, int32_t last, int32_t want)
    REQUIRES(READS(l) && l->rise >= 0 && l->fall >= 0 && l->min <= l->max) ASSIGNS()
    /* ENV-5 */ ENSURES(RET >= LOW_OF(l, last) && RET <= HIGH_OF(l, last))
    /* ENV-1 */ ENSURES(IMPLIES(LOW_OF(l, last) <= l->max && HIGH_OF(l, last) >= l->min,
                                RET >= l->min && RET <= l->max))
    /* ENV-2 */ ENSURES(IMPLIES(LOW_OF(l, last) > l->max, RET == LOW_OF(l, last)))
    /* ENV-2 */ ENSURES(IMPLIES(HIGH_OF(l, last) < l->min, RET == HIGH_OF(l, last)))
    /* ENV-6 */ ENSURES(IMPLIES(want >= l->min && want <= l->max && want >= LOW_OF(l, last) &&
                                    want <= HIGH_OF(l, last),
                                RET == want));

int32_t eg_rate_step(int32_t per_second, uint32_t elapsed_us, uint32_t period_us)
    REQUIRES(period_us <= 1000000) ASSIGNS()
        ENSURES(per_second >= 0 ? RET >= 0 && RET <= per_second : RET <= 0 && RET >= per_second);

#define BETWEEN(x, a, b) ((a) <= (b) ? (a) <= (x) && (x) <= (b) : (b) <= (x) && (x) <= (a))
#define NEXT_ROW (a_row + 1 < EG_MAX_ROWS ? a_row + 1 : a_row)
#define ROW_A t->row[a_row].limits
#define ROW_B t->row[NEXT_ROW].limits
#define READABLE (t->rows > 1 && signal != NULL && signal->validity == EG_VALID)
#define IN_ROW                                                                                     \
  (READABLE && a_row + 1 < t->rows && signal->value >= t->row[a_row].at &&                         \
   signal->value <= t->row[NEXT_ROW].at)

eg_limits_t eg_limits_at(const eg_limit_table_t *t, const eg_number_t *signal)
    REQUIRES(READS(t) && (signal == NULL || READS(signal))) REQUIRES(rows_ok(t)) ASSIGNS()
    /* ENV-7 */ ENSURES(RET.rise >= 1 && RET.fall >= 1 && RET.min <= RET.max)
    /* ENV-7 */ ENSURES(IMPLIES(!READABLE && a_row < t->rows,
                                RET.rise <= ROW_A.rise && RET.fall <= ROW_A.fall &&
                                    RET.max <= ROW_A.max && RET.min >= ROW_A.min))
    /* ENV-7 */ ENSURES(IMPLIES(IN_ROW, BETWEEN(RET.min, ROW_A.min, ROW_B.min) &&
                                            BETWEEN(RET.max, ROW_A.max, ROW_B.max) &&
                                            BETWEEN(RET.rise, ROW_A.rise, ROW_B.rise) &&
                                            BETWEEN(RET.fall, ROW_A.fall, ROW_B.fall)));

#define MEASURED(p, in, i)                                                                         \
  ((p)->channel[i].measured != EG_NONE && SIGNAL_OK(p, in, (p)->channel[i].measured))
#define MEASURED_VALUE(p, in, i) ((in)->signal[(p)->channel[i].measured % EG_MAX_SIGNALS].value)

void eg_channels_start(const eg_policy_t *p, eg_state_t *s, const eg_input_t *in)
    REQUIRES(READS(p) && WRITES(s) && READS(in) && policy_ok(p)) ASSIGNS(s->channel)
    /* ENV-4 */ ENSURES(IMPLIES(ONE_CHANNEL &&OLD(HERE.started),
                                HERE.last == OLD(HERE.last) && HERE.target == OLD(HERE.target) &&
                                    HERE.started))
    /* ENV-4 */ ENSURES(IMPLIES(ONE_CHANNEL && !OLD(HERE.started),
                                HERE.target == HERE.last &&
                                    HERE.last == (MEASURED(p, in, a_channel)
                                                      ? MEASURED_VALUE(p, in, a_channel)
                                                      : p->channel[a_channel].stop)));

void eg_commands_update(const eg_policy_t *p, eg_state_t *s, const eg_input_t *in,
                        eg_decision_t *out)
    REQUIRES(READS(p) && WRITES(s) && READS(in) && WRITES(out) && policy_ok(p))
        REQUIRES(out->mode <= EG_SAFE_STOP)
            ASSIGNS(s->channel, s->conflict, out->channel, s->flow, s->check[EG_CHECK_COMMANDS])
    /* ENV-4 */ ENSURES(IMPLIES(ONE_CHANNEL && !out->active,
                                HERE.target == HERE.last &&
                                    HERE.last == (MEASURED(p, in, a_channel)
                                                      ? MEASURED_VALUE(p, in, a_channel)
                                                      : OLD(HERE.last))))
    /* ENV-3 */ ENSURES(IMPLIES(!out->active, s->conflict == 0))
        ENSURES(IMPLIES(ONE_CHANNEL, OUT.command == HERE.last))
    /* CMD-1 */ ENSURES(IMPLIES(ONE_CHANNEL && out->active && out->mode == EG_SAFE_STOP,
                                OUT.want == (p->channel[a_channel].manoeuvre && in->rule_ok
                                                 ? in->rule[a_channel]
                                                 : p->channel[a_channel].stop)))
    /* CMD-1 */ ENSURES(IMPLIES(ONE_CHANNEL && out->active && out->mode == EG_FALLBACK,
                                OUT.want == (in->rule_ok ? in->rule[a_channel]
                                                         : p->channel[a_channel].stop)))
    /* CMD-2 */ ENSURES(IMPLIES(ONE_CHANNEL && out->active && out->mode < EG_FALLBACK,
                                OUT.want == OLD(HERE.target)))
    /* CMD-2 */ ENSURES(IMPLIES(ONE_CHANNEL && (!out->active || out->mode >= EG_FALLBACK),
                                HERE.target == HERE.last && OUT.granted == 0))
    /* FLOW-1 */ ENSURES(FOLDED(s, EG_CHECK_COMMANDS));

/* ---------------------------------------------------------------- policy.c */

const char *eg_policy_check(const eg_policy_t *p) REQUIRES(READS(p))
    REQUIRES(p->labels == 0 || p->label == NULL ||
             __CPROVER_r_ok(p->label, p->labels * sizeof *p->label)) ASSIGNS()
    /* POL-1 */ ENSURES(IMPLIES(RET == NULL, sizes_ok(p)))
    /* POL-1 */ ENSURES(IMPLIES(RET == NULL, causes_ok(p)))
    /* POL-1 */ ENSURES(IMPLIES(RET == NULL, detectors_ok(p) && members_ok(p)))
    /* POL-1 */ ENSURES(IMPLIES(RET == NULL && ONE_CHANNEL, channel_row_ok(p, a_channel)))
    /* POL-1 */ ENSURES(IMPLIES(RET == NULL && ONE_CHANNEL && ONE_MEMBER &&
                                    may(p, a_member, a_channel),
                                p->member[a_member].kind == p->channel[a_channel].kind))
    /* POL-1 */ ENSURES(
        IMPLIES(RET == NULL && ONE_CHANNEL,
                table_ok(&p->channel[a_channel].nominal, p->channel[a_channel].stop) &&
                    table_ok(&p->channel[a_channel].degraded, p->channel[a_channel].stop)))
    /* POL-1 */ ENSURES(IMPLIES(RET == NULL, label_ok(p, a_label)));

/* ---------------------------------------------------------------- decide.c */

void eg_init(const eg_policy_t *p, eg_state_t *s) REQUIRES(READS(p) && WRITES(s) && sizes_ok(p))
    ASSIGNS(*s) ENSURES(all_held_ok(p, s) && cameras_ok(p, s))
    /* STOP-2 */ ENSURES(!s->armed && !s->taken_over && s->active == 0)
    /* TIME-1 */ ENSURES(IMPLIES(ONE_MEMBER, MEMBER.age_us == EG_AGE_MAX &&
                                                 MEMBER.newest_us == EG_AGE_MAX && !MEMBER.held));

#define LATCHED (HAS(OLD(s->active), a_cause) && p->cause[a_cause].clears != EG_CLEARS_ITSELF)

void eg_arm(const eg_policy_t *p, eg_state_t *s) REQUIRES(READS(p) && WRITES(s))
    ASSIGNS(s->armed, s->active, s->debounce)
    /* LATCH-2 */ ENSURES(IMPLIES(OLD(s->armed), s->active == OLD(s->active) &&
                                                     DEBOUNCE.level_us == OLD(DEBOUNCE.level_us) &&
                                                     s->armed == OLD(s->armed)))
    /* LATCH-4 */ ENSURES(IMPLIES(HAS(OLD(s->active), a_cause) && a_cause != EG_NOT_ARMED &&
                                      p->cause[a_cause].clears == EG_CLEARS_NEVER,
                                  HAS(s->active, a_cause)))
    /* STOP-2 */ ENSURES(IMPLIES(!OLD(s->armed), HAS(s->active, EG_STALE_MODEL))) ENSURES(s->armed);

void eg_takeover(eg_state_t *s) REQUIRES(WRITES(s)) ASSIGNS(s->taken_over)
    ENSURES(s->taken_over == 1);

#define MODE_OF_CAUSE p->cause[a_cause].severity
#define STOPPED (!OLD(s->armed) || (HAS(OLD(s->active), a_cause) && MODE_OF_CAUSE == EG_SAFE_STOP))
#define ACTS (HAS(s->active, a_cause))

void eg_decide(const eg_policy_t *p, eg_state_t *s, const eg_input_t *in, eg_decision_t *out)
    REQUIRES(READS(p) && WRITES(s) && READS(in) && WRITES(out))
        REQUIRES(policy_ok(p) && said_ok(p, in) && all_held_ok(p, s) && cameras_ok(p, s))
            ASSIGNS(*s, *out) ENSURES(all_held_ok(p, s) && cameras_ok(p, s))
                ENSURES(s->armed == OLD(s->armed) && s->taken_over == OLD(s->taken_over))
                    ENSURES(out->sequence == s->sequence &&
                            s->sequence == (uint32_t)(OLD(s->sequence) + 1u))
    /* MODE-1 */ ENSURES(out->causes == s->active && IMPLIES(ACTS, out->mode >= MODE_OF_CAUSE))
    /* MODE-1 */ ENSURES(IMPLIES(s->armed && out->mode != EG_NOMINAL,
                                 has_severity(p, s->active, out->mode)))
    /* STOP-1 */ ENSURES(IMPLIES(STOPPED, out->mode == EG_SAFE_STOP))
    /* LATCH-1 */ ENSURES(IMPLIES(LATCHED, ACTS))
    /* MODE-2 */ ENSURES(IMPLIES(HAS(in->missed, a_cause), HAS(out->present, a_cause)))
    /* MODE-2 */ ENSURES(IMPLIES(HAS(out->present, a_cause) && p->cause[a_cause].on_us == 0, ACTS))
    /* MODE-2 */ ENSURES(IMPLIES(!s->armed,
                                 HAS(out->present, EG_NOT_ARMED) && out->mode == EG_SAFE_STOP))
    /* MODE-3 */ ENSURES(IMPLIES(!in->rule_ok || in->rule_us > p->controller_budget_us,
                                 HAS(out->present, EG_CONTROLLER_LOST)))
    /* TIME-2 */ ENSURES(HAS(out->present, EG_TIME_FAULT) || WATCHED(p, in->elapsed_us))
    /* ENV-3 */ ENSURES(IMPLIES(OLD(s->conflict), HAS(out->present, EG_ENVELOPE_CONFLICT)))
    /* TIME-1 */ ENSURES(IMPLIES(ONE_MEMBER &&MEMBER.held,
                                 MEMBER.age_us <= p->member[a_member].max_age_us))
    /* TIME-1 */ ENSURES(IMPLIES(
        ONE_MEMBER, MEMBER.age_us == AGED(OLD(MEMBER.age_us), STEP_US(p, in->elapsed_us)) ||
                        (NEW_INFERENCE(s, in, a_member) && MEMBER.age_us == SAYS.age_us &&
                         ACCEPTABLE(p, in, a_member) &&
                         SAYS.age_us <= AGED(OLD(MEMBER.newest_us), STEP_US(p, in->elapsed_us)))))
    /* TIME-1 */ ENSURES(IMPLIES(ONE_MEMBER &&MEMBER.held && !OLD(MEMBER.held),
                                 NEW_INFERENCE(s, in, a_member) && MEMBER.age_us == SAYS.age_us))
    /* VOTE-3 */ ENSURES(IMPLIES(ONE_CHANNEL &&HAS(in->missed, a_cause) &&
                                     MODE_OF_CAUSE >= EG_FALLBACK,
                                 OUT.granted == 0))
    /* VOTE-4 */ ENSURES(IMPLIES(ONE_CHANNEL &&OUT.voters < LEAST_QUORUM(&p->channel[a_channel]),
                                 HAS(out->present, EG_STALE_MODEL)))
    /* ENV-4 */ ENSURES(out->active == ((in->engaged || in->engaged_unknown) && !s->taken_over))
    /* ENV-4 */ ENSURES(IMPLIES(ONE_CHANNEL && !out->active && OLD(HERE.started),
                                OUT.command == (MEASURED(p, in, a_channel)
                                                    ? MEASURED_VALUE(p, in, a_channel)
                                                    : OLD(HERE.last))))
    /* CMD-1 */ ENSURES(IMPLIES(ONE_CHANNEL && out->active && out->mode == EG_SAFE_STOP,
                                OUT.want == (p->channel[a_channel].manoeuvre && in->rule_ok
                                                 ? in->rule[a_channel]
                                                 : p->channel[a_channel].stop)))
    /* FLOW-1 */ ENSURES(out->question == in->question &&
                         out->answer == ANSWER(in->question, out->sequence, out->check));

#endif
