/* SPDX-License-Identifier: Apache-2.0 */
#include "edgeguard/core.h"
#include "edgeguard/flow.h"

/* Members that did not abstain on a channel; nothing here depends on their order. */
typedef struct {
  uint8_t n;
  const eg_evidence_t *said[EG_MAX_MEMBERS];
  const int32_t *before[EG_MAX_MEMBERS]; /* certainties of the same label, see types.h */
  uint8_t may[EG_MAX_MEMBERS];           /* operations granted, one bit each */
} voters_t;

typedef struct {
  bool decided;  /* there is a winner */
  int32_t label; /* label channels */
  int32_t value; /* value channels: the mid value */
} winner_t;

static voters_t voters_of(const eg_policy_t *p, const eg_state_t *s, uint8_t channel) {
  voters_t v = {0};
  for (uint8_t i = 0; i < p->members; i++) {
    uint32_t may = (uint32_t)p->member[i].may >> (EG_OPERATIONS * (uint32_t)channel) & 3u;
    if (may == 0 || !s->member[i].held) continue;
    v.may[v.n] = (uint8_t)may;
    v.before[v.n] = s->member[i].before;
    v.said[v.n++] = &s->member[i].evidence;
  }
  return v;
}

/* Plurality: the label that more members name than any other. A tie has no winner. */
static winner_t plurality(const voters_t *v) {
  winner_t best = {0};
  uint8_t most = 0;
  for (uint8_t i = 0; i < v->n; i++) {
    uint8_t count = 0;
    for (uint8_t j = 0; j < v->n; j++)
      if (v->said[j]->label == v->said[i]->label) count++;
    if (count > most) {
      most = count;
      best.decided = true;
      best.label = v->said[i]->label;
    } else if (count == most && v->said[i]->label != best.label) {
      best.decided = false;
    }
  }
  return best;
}

/* Mid value: the median; between the two middle ones when their number is even. Where these are
 * themselves further apart than a supporter may be, it is what nobody said, and there is none: or a
 * lost member would double the disagreement that two bear with. */
static winner_t mid_value(const voters_t *v, int32_t dispersion) {
  int32_t sorted[EG_MAX_MEMBERS] = {0};
  for (uint8_t i = 0; i < v->n; i++) {
    uint8_t at = i;
    for (; at > 0 && sorted[at - 1] > v->said[i]->value; at--) sorted[at] = sorted[at - 1];
    sorted[at] = v->said[i]->value;
  }
  int64_t low = sorted[(v->n - 1) / 2], high = sorted[v->n / 2];
  winner_t w = {.decided = high - low <= dispersion}; /* nobody says one: quorums see to it */
  w.value = (int32_t)((low + high) / 2);
  return w;
}

static bool agrees(const eg_channel_t *c, const winner_t *w, const eg_evidence_t *e) {
  if (c->kind == EG_BY_LABEL) return e->label == w->label;
  int64_t apart = (int64_t)e->value - w->value;
  return apart <= c->dispersion && -apart <= c->dispersion;
}

/* One frame may be rubble that every member reads alike; the next one is another. */
static bool steady(const int32_t *before, int32_t certainty, uint8_t frames) {
  for (uint8_t i = 1; i < frames; i++)
    if (before[i - 1] < certainty) return false;
  return true;
}

/* How many members stand behind the winner with at least this certainty, on so many frames in a
 * row; with an operation, only those that were granted it. */
static uint8_t support(const eg_channel_t *c, const voters_t *v, const winner_t *w,
                       int32_t certainty, uint8_t frames, uint32_t operations) {
  uint8_t n = 0;
  for (uint8_t i = 0; i < v->n; i++) {
    bool may = (v->may[i] & operations) != 0;
    bool certain = v->said[i]->certainty >= certainty && steady(v->before[i], certainty, frames);
    if (certain && may && agrees(c, w, v->said[i])) n++;
  }
  return n;
}

/* Certainty of the weakest vote in the strongest quorum behind the winner. */
static int32_t quorum_certainty(const eg_channel_t *c, const voters_t *v, const winner_t *w,
                                uint8_t quorum) {
  int32_t best = 0;
  for (uint8_t i = 0; i < v->n; i++) {
    int32_t candidate = v->said[i]->certainty;
    if (candidate > best && support(c, v, w, candidate, 1, 3u) >= quorum) best = candidate;
  }
  return best;
}

static eg_demand_t least(const eg_channel_t *c) {
  const eg_demand_t *a = &c->demand[EG_RAISE], *b = &c->demand[EG_LOWER];
  eg_demand_t l = {a->certainty < b->certainty ? a->certainty : b->certainty,
                   a->quorum < b->quorum ? a->quorum : b->quorum, 1};
  return l;
}

/* What the winner asks of this channel; the target itself when it asks nothing of it. */
static int32_t wanted(const eg_policy_t *p, uint8_t channel, const winner_t *w, int32_t target) {
  if (p->channel[channel].kind != EG_BY_LABEL) return w->value;
  const eg_label_t *l = &p->label[w->label];
  return l->channel == (int8_t)channel ? l->value : target;
}

static uint32_t operate(const eg_channel_t *c, const voters_t *v, const winner_t *w, int32_t want,
                        bool trusted, eg_channel_state_t *state, eg_command_t *out) {
  if (want == state->target) return 0;
  eg_operation_t operation = want > state->target ? EG_RAISE : EG_LOWER;
  const eg_demand_t *d = &c->demand[operation];
  uint32_t bit = 1u << (uint32_t)operation;
  bool forbidden = support(c, v, w, 0, 1, 3u) > support(c, v, w, 0, 1, bit);
  uint32_t present = forbidden ? EG_BIT(EG_UNAUTHORIZED_SUGGESTION) : 0;
  if (!trusted || support(c, v, w, d->certainty, d->frames, bit) < d->quorum)
    return present | EG_BIT(EG_OPERATION_DENIED);
  state->target = want;
  out->granted = 1;
  return present;
}

uint32_t eg_vote(const eg_policy_t *p, eg_state_t *s, uint8_t channel, bool trusted,
                 eg_command_t *out) {
  const eg_channel_t *c = &p->channel[channel];
  voters_t v = voters_of(p, s, channel);
  winner_t w = c->kind == EG_BY_LABEL ? plurality(&v) : mid_value(&v, c->dispersion);
  eg_demand_t floor = least(c);
  out->label = w.decided && c->kind == EG_BY_LABEL ? w.label : EG_HOLD;
  out->voters = v.n;
  out->votes = w.decided ? support(c, &v, &w, 0, 1, 3u) : 0;
  out->certainty = w.decided ? quorum_certainty(c, &v, &w, floor.quorum) : 0;
  if (v.n < floor.quorum) return EG_BIT(EG_STALE_MODEL);
  if (out->votes < floor.quorum) return EG_BIT(EG_DISAGREEMENT);
  if (support(c, &v, &w, floor.certainty, 1, 3u) < floor.quorum) return EG_BIT(EG_LOW_CERTAINTY);
  eg_channel_state_t *state = &s->channel[channel];
  return operate(c, &v, &w, wanted(p, channel, &w, state->target), trusted, state, out);
}

uint32_t eg_votes_update(const eg_policy_t *p, eg_state_t *s, bool trusted, eg_decision_t *out) {
  uint32_t present = 0, crc = EG_CRC_START;
  for (uint8_t i = 0; i < p->channels; i++) {
    eg_command_t *c = &out->channel[i];
    present |= eg_vote(p, s, i, trusted, c);
    crc = eg_crc_u32(eg_crc_u32(crc, (uint32_t)c->label), (uint32_t)s->channel[i].target);
  }
  eg_flow_fold(s, EG_CHECK_VOTES, eg_crc_u32(crc, present));
  return present;
}
