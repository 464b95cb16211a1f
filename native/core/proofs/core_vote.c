/* SPDX-License-Identifier: Apache-2.0 */
#ifndef REAL_LABELS
#define OPAQUE_LABELS
#endif
#define OPAQUE_ROWS
#include "contracts_vote.h"
#include "uninterpreted_crc.h"

#include "vote.c"

#define READS_ROW(before) __CPROVER_r_ok((before), sizeof(int32_t) * (EG_MAX_RUN - 1))

/* Voters whose evidence can be read. */
static bool readable(const voters_t *v) {
  if (v->n > EG_MAX_MEMBERS) return false;
  for (uint32_t i = 0; i < EG_MAX_MEMBERS; i++)
    if (i < v->n && !(READS(v->said[i]) && READS_ROW(v->before[i]))) return false;
  return true;
}

static uint8_t say(const voters_t *v, int32_t label) {
  uint8_t n = 0;
  for (uint32_t i = 0; i < EG_MAX_MEMBERS; i++)
    if (i < v->n && v->said[i]->label == label) n++;
  return n;
}

/* Whether as many say another label, or nobody says it. */
static bool rivalled(const voters_t *v, int32_t label) {
  uint8_t n = say(v, label);
  if (n == 0) return true;
  for (uint32_t i = 0; i < EG_MAX_MEMBERS; i++)
    if (i < v->n && v->said[i]->label != label && say(v, v->said[i]->label) >= n) return true;
  return false;
}

static uint8_t below(const voters_t *v, int32_t value) {
  uint8_t n = 0;
  for (uint32_t i = 0; i < EG_MAX_MEMBERS; i++)
    if (i < v->n && v->said[i]->value < value) n++;
  return n;
}

static int64_t apart(int32_t a, int32_t b) {
  return a < b ? (int64_t)b - a : (int64_t)a - b;
}

static uint8_t above(const voters_t *v, int32_t value) {
  uint8_t n = 0;
  for (uint32_t i = 0; i < EG_MAX_MEMBERS; i++)
    if (i < v->n && v->said[i]->value > value) n++;
  return n;
}

static voters_t voters_of_c(const eg_policy_t *p, const eg_state_t *s, uint8_t channel)
    REQUIRES(READS(p) && READS(s) && sizes_ok(p) && channel < p->channels) ASSIGNS()
    /* VOTE-2 */ ENSURES(RET.n == voting(p, s, channel)) ENSURES(readable(&RET));

static winner_t plurality_c(const voters_t *v) REQUIRES(READS(v) && readable(v)) ASSIGNS()
    /* VOTE-6 */ ENSURES(IMPLIES(RET.decided &&a_label != RET.label,
                                 say(v, a_label) < say(v, RET.label)))
        ENSURES(IMPLIES(RET.decided, say(v, RET.label) > 0 && v->n > 0))
    /* VOTE-1 */ ENSURES(IMPLIES(!RET.decided, rivalled(v, a_label)));

static winner_t mid_value_c(const voters_t *v, int32_t dispersion) REQUIRES(READS(v) && readable(v))
    ASSIGNS()
    /* VOTE-6 */ ENSURES(IMPLIES(dispersion >= 0 && v->n % 2 == 1, RET.decided));

#define AGREE(c, w, e)                                                                             \
  ((c)->kind == EG_BY_LABEL ? (e)->label == (w)->label                                             \
                            : (int64_t)(e)->value - (w)->value <= (c)->dispersion &&               \
                                  (int64_t)(w)->value - (e)->value <= (c)->dispersion)

static bool agrees_c(const eg_channel_t *c, const winner_t *w, const eg_evidence_t *e)
    REQUIRES(READS(c) && READS(w) && READS(e)) ASSIGNS()
    /* VOTE-5 */ ENSURES(RET == AGREE(c, w, e));

/* The name of what it returns, for those who only count: it reads nothing but its arguments. */
bool __CPROVER_uninterpreted_agree(const eg_channel_t *c, const winner_t *w,
                                   const eg_evidence_t *e);
static bool agrees_named(const eg_channel_t *c, const winner_t *w, const eg_evidence_t *e)
    REQUIRES(READS(c) && READS(w) && READS(e)) ASSIGNS()
        ENSURES(RET == __CPROVER_uninterpreted_agree(c, w, e));

#define SURE_FOR(frames, before, certainty, n) ((frames) < (n) || (before)[(n) - 2] >= (certainty))
#define STEADY(before, certainty, frames)                                                          \
  (SURE_FOR(frames, before, certainty, 2) && SURE_FOR(frames, before, certainty, 3) &&             \
   SURE_FOR(frames, before, certainty, 4))

static bool steady_c(const int32_t *before, int32_t certainty, uint8_t frames)
    REQUIRES(READS_ROW(before) && frames <= EG_MAX_RUN) ASSIGNS()
    /* VOTE-7 */ ENSURES(RET == STEADY(before, certainty, frames));

static uint8_t supporters(const eg_channel_t *c, const voters_t *v, const winner_t *w,
                          int32_t certainty, uint8_t frames, uint32_t operations) {
  uint8_t n = 0;
  for (uint32_t i = 0; i < EG_MAX_MEMBERS; i++)
    if (i < v->n && v->said[i]->certainty >= certainty && (v->may[i] & operations) != 0 &&
        STEADY(v->before[i], certainty, frames) && __CPROVER_uninterpreted_agree(c, w, v->said[i]))
      n++;
  return n;
}

static uint8_t support_c(const eg_channel_t *c, const voters_t *v, const winner_t *w,
                         int32_t certainty, uint8_t frames, uint32_t operations)
    REQUIRES(READS(c) && READS(v) && READS(w) && readable(v) && frames <= EG_MAX_RUN) ASSIGNS()
    /* VOTE-5, VOTE-7 */ ENSURES(RET == supporters(c, v, w, certainty, frames, operations))
        ENSURES(RET <= v->n);

static int32_t quorum_certainty_c(const eg_channel_t *c, const voters_t *v, const winner_t *w,
                                  uint8_t quorum)
    REQUIRES(READS(c) && READS(v) && READS(w) && readable(v)) ASSIGNS()
    /* VOTE-5 */ ENSURES(RET == 0 || (RET > 0 && supporters(c, v, w, RET, 1, 3u) >= quorum));

static eg_demand_t least_c(const eg_channel_t *c) REQUIRES(READS(c)) ASSIGNS()
    ENSURES(RET.quorum == LEAST_QUORUM(c))
        ENSURES(RET.certainty == MIN(c->demand[0].certainty, c->demand[1].certainty));

static int32_t wanted_c(const eg_policy_t *p, uint8_t channel, const winner_t *w, int32_t target)
    REQUIRES(READS(p) && READS(w) && channel < EG_MAX_CHANNELS)
        REQUIRES(p->channel[channel].kind != EG_BY_LABEL ||
                 (w->label >= 0 && w->label < (int32_t)p->labels)) ASSIGNS()
            ENSURES(RET == (p->channel[channel].kind != EG_BY_LABEL ? w->value
                            : label_channel(p, w->label) == channel ? label_value(p, w->label)
                                                                    : target));

#define OPERATION (want > OLD(state->target) ? EG_RAISE : EG_LOWER)

static uint32_t operate_c(const eg_channel_t *c, const voters_t *v, const winner_t *w, int32_t want,
                          bool trusted, eg_channel_state_t *state, eg_command_t *out)
    REQUIRES(READS(c) && READS(v) && READS(w) && readable(v) && WRITES(state) && WRITES(out))
        REQUIRES(c->demand[0].frames <= EG_MAX_RUN && c->demand[1].frames <= EG_MAX_RUN)
            REQUIRES(out->granted == 0) ASSIGNS(state->target, out->granted)
    /* VOTE-3 */ ENSURES(IMPLIES(!trusted, out->granted == 0))
        ENSURES(out->granted <= 1 && state->target == (out->granted ? want : OLD(state->target)))
    /* VOTE-5, VOTE-7 */ ENSURES(
        IMPLIES(out->granted,
                want != OLD(state->target) &&
                    supporters(c, v, w, c->demand[OPERATION].certainty, c->demand[OPERATION].frames,
                               1u << (uint32_t)OPERATION) >= c->demand[OPERATION].quorum))
        ENSURES((RET & ~(EG_BIT(EG_OPERATION_DENIED) | EG_BIT(EG_UNAUTHORIZED_SUGGESTION))) == 0);

/* Up to 8 voters, each with words of its own. */
#define VOTERS(v)                                                                                  \
  voters_t v;                                                                                      \
  eg_evidence_t v##_said[EG_MAX_MEMBERS];                                                          \
  int32_t v##_before[EG_MAX_MEMBERS][EG_MAX_RUN - 1];                                              \
  for (uint32_t i = 0; i < EG_MAX_MEMBERS; i++)                                                    \
    v.said[i] = &v##_said[i], v.before[i] = v##_before[i];                                         \
  ASSUME(v.n <= EG_MAX_MEMBERS)

/* As many voters as a mid value is proved for: the formulas of more are too hard for the solvers.
 */
#define SORTED 5

/*! enforce voters_of; unwind 10 */
void prove_voters_of(void) {
  eg_policy_t p;
  eg_state_t s;
  uint8_t channel;
  voters_of(&p, &s, channel);
  REACHED;
}

/*! enforce plurality; unwind 10; seconds 8 */
void prove_plurality(void) {
  free_choice();
  VOTERS(v);
  plurality(&v);
  REACHED;
}

/*! enforce mid_value; unwind 10; seconds 5 */
void prove_mid_value(void) {
  VOTERS(v);
  mid_value(&v, nondet_i32());
  REACHED;
}

/*! unwind 10; seconds 60 */
void prove_median(void) {
  VOTERS(v);
  ASSUME(v.n >= 1 && v.n <= SORTED);
  int32_t dispersion = nondet_i32();
  winner_t w = mid_value(&v, dispersion);
  int32_t mid = w.value;
  CHECK(2 * below(&v, mid) <= v.n && 2 * above(&v, mid) <= v.n, "VOTE-6 half of them on each side");
  CHECK(IMPLIES(v.n % 2 == 1, 2 * below(&v, mid) < v.n && 2 * above(&v, mid) < v.n),
        "VOTE-6 the one in the middle");
  CHECK(IMPLIES(v.n == 2 && dispersion >= 0,
                w.decided == (apart(v.said[0]->value, v.said[1]->value) <= dispersion)),
        "VOTE-5 two that are further apart than that have no mid value");
  REACHED;
}

/*! enforce agrees; proves agrees/agrees_named */
void prove_agrees(void) {
  eg_channel_t c;
  winner_t w;
  eg_evidence_t e;
  agrees(&c, &w, &e);
  REACHED;
}

/*! enforce steady; unwind 5 */
void prove_steady(void) {
  int32_t before[EG_MAX_RUN - 1];
  steady(before, nondet_i32(), nondet_u8());
  REACHED;
}

/*! enforce support; replace agrees/agrees_named steady; unwind 10; object-bits 9; solver kissat */
void prove_support(void) {
  eg_channel_t c;
  VOTERS(v);
  winner_t w;
  support(&c, &v, &w, nondet_i32(), nondet_u8(), nondet_u32());
  REACHED;
}

/*! enforce quorum_certainty; replace support; unwind 10; seconds 30 */
void prove_quorum_certainty(void) {
  eg_channel_t c;
  VOTERS(v);
  winner_t w;
  quorum_certainty(&c, &v, &w, nondet_u8());
  REACHED;
}

/*! enforce least */
void prove_least(void) {
  eg_channel_t c;
  least(&c);
  REACHED;
}

/*! enforce operate; replace support; unwind 10; solver kissat */
void prove_operate(void) {
  eg_channel_t c;
  VOTERS(v);
  winner_t w;
  bool trusted;
  eg_channel_state_t state;
  eg_command_t out;
  operate(&c, &v, &w, nondet_i32(), trusted, &state, &out);
  REACHED;
}

/*! enforce eg_vote; replace plurality mid_value support quorum_certainty least wanted operate;
 * unwind 10; seconds 20 */
void prove_vote(void) {
  eg_policy_t p;
  eg_state_t s;
  bool trusted;
  eg_command_t out;
  uint8_t channel;
  eg_vote(&p, &s, channel, trusted, &out);
  REACHED;
}

/*! enforce eg_votes_update; replace eg_vote eg_flow_fold; unwind 6; fields 4; solver kissat;
 * seconds 20 */
void prove_votes_update(void) {
  free_choice();
  eg_policy_t p;
  eg_state_t s;
  bool trusted;
  eg_decision_t out;
  eg_votes_update(&p, &s, trusted, &out);
  REACHED;
}

/* Two voters that stand beside each other change places; every order is made of such steps. */
#define SWAPPED(v, w)                                                                              \
  voters_t w = v;                                                                                  \
  uint8_t at = nondet_u8();                                                                        \
  ASSUME(at + 1 < v.n);                                                                            \
  for (uint8_t i = 0; i + 1 < EG_MAX_MEMBERS; i++)                                                 \
    if (i == at) {                                                                                 \
      w.said[i] = v.said[i + 1], w.may[i] = v.may[i + 1], w.before[i] = v.before[i + 1];           \
      w.said[i + 1] = v.said[i], w.may[i + 1] = v.may[i], w.before[i + 1] = v.before[i];           \
    }

/* The winner is who its contract says, by how many say each label; and these have no order. */
/*! unwind 10; solver kissat */
void prove_order_plurality(void) {
  VOTERS(v);
  int32_t label = nondet_i32();
  for (uint8_t i = 0; i + 1 < EG_MAX_MEMBERS; i++) {
    voters_t w = v;
    w.said[i] = v.said[i + 1], w.said[i + 1] = v.said[i];
    CHECK(i + 1 >= v.n || say(&v, label) == say(&w, label),
          "VOTE-1 who is asked first has no say in the winner");
  }
  REACHED;
}

/* The mid value is where its place among all of them is, and that has no order. */
/*! unwind 10; seconds 60 */
void prove_order_mid_value(void) {
  VOTERS(v);
  ASSUME(v.n <= SORTED);
  SWAPPED(v, w);
  CHECK(mid_value(&v, 0).value == mid_value(&w, 0).value, "VOTE-1 nor in the mid value");
  REACHED;
}

/* Two middle ones there are from two voters on; of four they have neighbours on both sides. */
/*! unwind 10; seconds 60 */
void prove_order_mid_decided(void) {
  VOTERS(v);
  ASSUME(v.n <= 4);
  SWAPPED(v, w);
  int32_t dispersion = nondet_i32();
  CHECK(mid_value(&v, dispersion).decided == mid_value(&w, dispersion).decided,
        "VOTE-1 nor in whether there is one");
  REACHED;
}

/*! replace agrees/agrees_named steady; unwind 10; object-bits 10; solver kissat; seconds 60 */
void prove_order_support(void) {
  VOTERS(v);
  SWAPPED(v, w);
  eg_channel_t c;
  winner_t won;
  int32_t certainty = nondet_i32();
  uint32_t operations = nondet_u32();
  uint8_t frames = nondet_u8();
  ASSUME(frames <= EG_MAX_RUN);
  CHECK(support(&c, &v, &won, certainty, frames, operations) ==
            support(&c, &w, &won, certainty, frames, operations),
        "VOTE-1 nor in who stands behind it");
  REACHED;
}

/* What somebody says now and what he said before are of one member. */
/*! unwind 10 */
void prove_of_one_member(void) {
  eg_policy_t p;
  eg_state_t s;
  uint8_t channel = nondet_u8(), k = nondet_u8();
  ASSUME(sizes_ok(&p) && channel < p.channels && k < p.members);
  voters_t v = voters_of(&p, &s, channel);
  for (uint32_t i = 0; i < EG_MAX_MEMBERS; i++)
    CHECK(i >= v.n || (v.said[i] == &s.member[k].evidence) == (v.before[i] == s.member[k].before),
          "VOTE-7 what was said before is of who says it now");
  REACHED;
}

/* What a member that abstains holds, and what it may, is nobody's business. */
/*! unwind 10 */
void prove_abstains(void) {
  eg_policy_t p;
  eg_state_t s;
  uint8_t channel = nondet_u8(), k = nondet_u8();
  ASSUME(sizes_ok(&p) && channel < p.channels && k < p.members);
  ASSUME(!s.member[k].held || may(&p, k, channel) == 0);
  voters_t v = voters_of(&p, &s, channel);
  for (uint32_t i = 0; i < EG_MAX_MEMBERS; i++)
    CHECK(i >= v.n || v.said[i] != &s.member[k].evidence, "VOTE-2 it is not among the voters");
  REACHED;
}
