/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "check.h"
#include "fixture.h"

static void hold(guard_t *g, int member, int32_t label, int32_t value, int32_t certainty) {
  eg_member_state_t *m = &g->state.member[member];
  memset(m, 0, sizeof *m);
  m->held = 1;
  m->evidence.label = label;
  m->evidence.value = value;
  m->evidence.certainty = certainty;
}

static uint32_t vote(guard_t *g, eg_command_t *out) {
  memset(out, 0, sizeof *out);
  g->state.channel[0].target = Q(20);
  return eg_vote(&g->policy, &g->state, 0, true, out);
}

/* Any three votes in any order give the same verdict, target and counts. */
static void order_does_not_matter(guard_t *g) {
  static const uint8_t order[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                      {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
  const int32_t certainty[3] = {Q(0.5), Q(0.9), Q(0.99)};
  for (int32_t code = 0; code < 6 * 6 * 6 * 27; code++) {
    int32_t said[3] = {code % 6, code / 6 % 6, code / 36 % 6}, sure = code / 216;
    eg_command_t first, out;
    uint32_t first_present = 0;
    for (int o = 0; o < 6; o++) {
      int32_t digits = sure;
      for (int i = 0; i < 3; i++, digits /= 3)
        hold(g, order[o][i], said[i], 0, certainty[digits % 3]);
      uint32_t present = vote(g, &out);
      if (o == 0) first = out, first_present = present;
      CHECK(present == first_present && memcmp(&out, &first, sizeof out) == 0, "code %d", code);
    }
  }
}

static void raising_asks_for_more_than_lowering(guard_t *g) {
  eg_command_t out;
  for (int i = 0; i < 3; i++) hold(g, i, 1, 0, Q(0.85));
  CHECK(vote(g, &out) == 0 && g->state.channel[0].target == Q(10), "lowered on 0.85");
  for (int i = 0; i < 3; i++) hold(g, i, 3, 0, Q(0.85));
  CHECK(vote(g, &out) == EG_BIT(EG_OPERATION_DENIED), "raise on 0.85");
  CHECK(g->state.channel[0].target == Q(20) && !out.granted, "held");
  for (int i = 0; i < 3; i++) hold(g, i, 3, 0, Q(0.99));
  CHECK(vote(g, &out) == 0 && g->state.channel[0].target == Q(30), "raised on 0.99");
  hold(g, 2, 1, 0, Q(0.99));
  CHECK(vote(g, &out) == EG_BIT(EG_OPERATION_DENIED), "two of three may not raise");
}

static void each_supporter_on_each_frame(guard_t *g) {
  eg_command_t out;
  for (uint8_t frames = 1; frames <= EG_MAX_RUN; frames++)
    for (int before = 0; before < EG_MAX_RUN; before++) /* frames that all three were sure on */
      for (int weak = 0; weak < 3; weak++) {
        g->policy.channel[0].demand[EG_RAISE].frames = frames;
        for (int i = 0; i < 3; i++) {
          hold(g, i, 3, 0, Q(0.98));
          for (int k = 0; k < EG_MAX_RUN - 1; k++)
            g->state.member[i].before[k] = k < before ? Q(0.98) : Q(0.98) - 1;
        }
        bool granted = before >= frames - 1;
        CHECK((vote(g, &out) == 0) == granted && out.granted == granted, "%d of %d", before,
              frames);
        if (before > 0) g->state.member[weak].before[before - 1]--;
        granted = granted && (before == 0 || before - 1 >= frames - 1);
        CHECK((vote(g, &out) == 0) == granted, "one was unsure %d frames ago", before);
        CHECK(granted || g->state.channel[0].target == Q(20), "and the target rose");
      }
  g->policy.channel[0].demand[EG_RAISE].frames = EG_MAX_RUN;
  for (int i = 0; i < 3; i++) hold(g, i, 1, 0, EG_ONE);
  CHECK(vote(g, &out) == 0 && g->state.channel[0].target == Q(10), "lowering asks for one");
  g->policy.channel[0].demand[EG_RAISE].frames = 1;
}

static void causes_of_the_vote(guard_t *g) {
  eg_command_t out;
  for (int i = 0; i < 3; i++) hold(g, i, i, 0, EG_ONE);
  CHECK(vote(g, &out) == EG_BIT(EG_DISAGREEMENT) && out.label == EG_HOLD, "three labels");
  for (int i = 0; i < 3; i++) hold(g, i, 1, 0, Q(0.5));
  CHECK(vote(g, &out) == EG_BIT(EG_LOW_CERTAINTY), "all unsure");
  CHECK(out.certainty == Q(0.5) && out.votes == 3, "says how sure");
  g->state.member[0].held = g->state.member[1].held = 0;
  CHECK(vote(g, &out) == EG_BIT(EG_STALE_MODEL), "one voter left");
  for (int i = 0; i < 3; i++) hold(g, i, 4, 0, EG_ONE);
  CHECK(vote(g, &out) == 0 && g->state.channel[0].target == Q(20), "a label that holds");
}

static void single_operations_are_granted(guard_t *g) {
  eg_command_t out;
  g->policy.member[2].may = 0xE; /* may not raise channel 0 */
  for (int i = 0; i < 3; i++) hold(g, i, 3, 0, EG_ONE);
  uint32_t present = vote(g, &out);
  CHECK(present == (EG_BIT(EG_UNAUTHORIZED_SUGGESTION) | EG_BIT(EG_OPERATION_DENIED)), "%x",
        present);
  CHECK(g->state.channel[0].target == Q(20), "its vote was dropped");
  for (int i = 0; i < 3; i++) hold(g, i, 1, 0, EG_ONE);
  CHECK(vote(g, &out) == 0 && g->state.channel[0].target == Q(10), "it may lower");
  g->policy.member[2].may = 0xF;
}

static void nothing_is_granted_on_untrusted_evidence(guard_t *g) {
  eg_command_t out = {0};
  for (int32_t label = 1; label <= 3; label += 2) {
    for (int i = 0; i < 3; i++) hold(g, i, label, 0, EG_ONE);
    g->state.channel[0].target = Q(20);
    uint32_t present = eg_vote(&g->policy, &g->state, 0, false, &out);
    CHECK(present == EG_BIT(EG_OPERATION_DENIED) && !out.granted, "granted label %d", label);
    CHECK(g->state.channel[0].target == Q(20), "moved the target");
  }
}

static void mid_value(guard_t *g) {
  eg_command_t out;
  g->policy.channel[0].kind = EG_BY_VALUE;
  g->policy.channel[0].dispersion = Q(1);
  const int32_t said[3] = {Q(18), Q(17.5), Q(-300)};
  for (int i = 0; i < 3; i++) hold(g, i, 0, said[i], EG_ONE);
  CHECK(vote(g, &out) == 0 && g->state.channel[0].target == Q(17.5), "one outlier is outvoted");
  CHECK(out.votes == 2 && out.voters == 3, "and counted out");
  hold(g, 1, 0, Q(12), EG_ONE);
  CHECK(vote(g, &out) == EG_BIT(EG_DISAGREEMENT), "no two within the dispersion");
  hold(g, 0, 0, INT32_MAX, EG_ONE);
  hold(g, 1, 0, INT32_MIN, EG_ONE);
  hold(g, 2, 0, INT32_MIN, EG_ONE);
  CHECK(vote(g, &out) == 0 && out.votes == 2, "edges do not overflow");
  g->state.member[2].held = 0;
  CHECK(vote(g, &out) == EG_BIT(EG_DISAGREEMENT), "two that are worlds apart");
  hold(g, 0, 0, Q(3), EG_ONE);
  hold(g, 1, 0, Q(4), EG_ONE);
  CHECK(vote(g, &out) == 0 && g->state.channel[0].target == Q(3.5), "two at the dispersion");
  hold(g, 1, 0, Q(4) + 1, EG_ONE);
  CHECK(vote(g, &out) == EG_BIT(EG_DISAGREEMENT) && out.votes == 0,
        "no more than three would bear with, though each is near their mean");
}

/* ------------------------------------------------- against the definition, in other words */

static uint32_t dice;

static uint32_t roll(uint32_t n) {
  dice = dice * 1664525u + 1013904223u;
  return (dice >> 8) % n;
}

typedef struct {
  int n; /* members that have a say on the channel */
  eg_evidence_t said[EG_MAX_MEMBERS];
  int32_t surest[EG_MAX_MEMBERS][EG_MAX_RUN + 1]; /* on so many frames in a row */
  uint32_t may[EG_MAX_MEMBERS];
} say_t;

static say_t say_of(const guard_t *g, int channel) {
  say_t y = {0};
  for (int i = 0; i < g->policy.members; i++) {
    uint32_t may = (uint32_t)(g->policy.member[i].may / (1 << 2 * channel)) % 4u;
    if (!may || !g->state.member[i].held) continue;
    y.said[y.n] = g->state.member[i].evidence;
    int32_t least = y.said[y.n].certainty;
    for (int frames = 1; frames <= EG_MAX_RUN; frames++) {
      y.surest[y.n][frames] = least;
      int32_t further = frames < EG_MAX_RUN ? g->state.member[i].before[frames - 1] : 0;
      if (further < least) least = further;
    }
    y.may[y.n++] = may;
  }
  return y;
}

/* The label that more members name than any other; false: there is none. */
static bool most_named(const say_t *y, int32_t *label) {
  int count[6] = {0}, leaders = 0, most = 1;
  for (int i = 0; i < y->n; i++) count[y->said[i].label]++;
  for (int l = 0; l < 6; l++)
    if (count[l] > most) most = count[l];
  for (int l = 0; l < 6; l++)
    if (count[l] == most) leaders++, *label = l;
  return leaders == 1;
}

/* The one with as many below as above; halfway between the two in the middle, towards zero. false:
 * these two do not even agree with each other. */
static bool median(const say_t *y, int32_t dispersion, int32_t *value) {
  int64_t middle[2] = {0, 0};
  for (int i = 0; i < y->n; i++) {
    int below = 0, upto = 0;
    for (int j = 0; j < y->n; j++) {
      below += y->said[j].value < y->said[i].value;
      upto += y->said[j].value <= y->said[i].value;
    }
    for (int k = 0; k < 2; k++) {
      int rank = (y->n - 1 + k) / 2;
      if (below <= rank && rank < upto) middle[k] = y->said[i].value;
    }
  }
  *value = (int32_t)((middle[0] + middle[1]) / 2);
  return middle[1] <= middle[0] + dispersion;
}

typedef struct {
  bool by_label, decided;
  int32_t label, value, dispersion;
} standpoint_t;

/* Members that stand behind it, with at least this certainty on so many frames, that may do one of
 * these operations; and the certainty that the n-th surest of them has. */
static int behind_for(const say_t *y, const standpoint_t *p, int32_t certainty, int frames,
                      uint32_t operations) {
  int n = 0;
  for (int i = 0; p->decided && i < y->n; i++) {
    int64_t apart = (int64_t)y->said[i].value - p->value;
    bool agrees = p->by_label ? y->said[i].label == p->label
                              : apart >= -(int64_t)p->dispersion && apart <= p->dispersion;
    n += agrees && y->surest[i][frames] >= certainty && (y->may[i] & operations);
  }
  return n;
}

static int behind(const say_t *y, const standpoint_t *p, int32_t certainty, uint32_t operations) {
  return behind_for(y, p, certainty, 1, operations);
}

static int32_t nth_surest(const say_t *y, const standpoint_t *p, int n) {
  int32_t best = 0;
  for (int i = 0; i < y->n; i++) /* the largest certainty that n of them reach */
    if (behind(y, p, y->said[i].certainty, 3u) >= n && y->said[i].certainty > best)
      best = y->said[i].certainty;
  return best;
}

static int32_t asked_for(const guard_t *g, int channel, const standpoint_t *p, int32_t target) {
  if (!p->by_label) return p->value;
  const eg_label_t *l = &g->policy.label[p->label];
  return l->channel == channel ? l->value : target;
}

static uint32_t defined(const guard_t *g, int channel, bool trusted, eg_command_t *out,
                        int32_t *target) {
  const eg_channel_t *c = &g->policy.channel[channel];
  const eg_demand_t *up = &c->demand[EG_RAISE], *down = &c->demand[EG_LOWER];
  int quorum = up->quorum < down->quorum ? up->quorum : down->quorum;
  int32_t certainty = up->certainty < down->certainty ? up->certainty : down->certainty;
  say_t y = say_of(g, channel);
  standpoint_t p = {c->kind == EG_BY_LABEL, true, 0, 0, c->dispersion};
  if (p.by_label)
    p.decided = most_named(&y, &p.label);
  else
    p.decided = median(&y, p.dispersion, &p.value);
  out->label = p.by_label && p.decided ? p.label : EG_HOLD;
  out->voters = (uint8_t)y.n;
  out->votes = (uint8_t)behind(&y, &p, 0, 3u);
  out->certainty = nth_surest(&y, &p, quorum);
  if (y.n < quorum) return EG_BIT(EG_STALE_MODEL);
  if (out->votes < quorum) return EG_BIT(EG_DISAGREEMENT);
  if (behind(&y, &p, certainty, 3u) < quorum) return EG_BIT(EG_LOW_CERTAINTY);
  int32_t want = asked_for(g, channel, &p, *target);
  if (want == *target) return 0;
  const eg_demand_t *d = want > *target ? up : down;
  uint32_t bit = want > *target ? 1u : 2u;
  bool forbidden = behind(&y, &p, 0, bit) < out->votes; /* one of them may not do that */
  uint32_t present = forbidden ? EG_BIT(EG_UNAUTHORIZED_SUGGESTION) : 0;
  if (!trusted || behind_for(&y, &p, d->certainty, d->frames, bit) < d->quorum)
    return present | EG_BIT(EG_OPERATION_DENIED);
  *target = want;
  out->granted = 1;
  return present;
}

static int32_t any_value(void) {
  static const int32_t edge[] = {INT32_MIN, INT32_MAX, INT32_MIN + 1, INT32_MAX - 1};
  uint32_t kind = roll(20);
  if (kind == 0) return edge[roll(4)];
  return kind < 14 ? (int32_t)roll(9) - 4 : (int32_t)roll(2000000) - 1000000;
}

static void any_vote(guard_t *g) {
  eg_policy_t *p = &g->policy;
  p->members = (uint8_t)(1 + roll(EG_MAX_MEMBERS));
  p->channels = EG_MAX_CHANNELS;
  for (int i = 0; i < EG_MAX_CHANNELS; i++) {
    eg_channel_t *c = &p->channel[i];
    c->kind = (uint8_t)roll(2);
    c->dispersion = roll(4) ? (int32_t)roll(4) : INT32_MAX;
    for (int o = 0; o < EG_OPERATIONS; o++)
      c->demand[o] =
          (eg_demand_t){(int32_t)roll(5), (uint8_t)(1 + roll(5)), (uint8_t)(1 + roll(EG_MAX_RUN))};
    static const int32_t at[] = {0, Q(10), Q(20), Q(30), Q(1), 2, -1};
    g->state.channel[i].target = at[roll(7)];
  }
  for (int i = 0; i < EG_MAX_MEMBERS; i++) {
    p->member[i].may = (uint16_t)roll(65536);
    if (roll(2)) p->member[i].may = 0xFF;
    eg_member_state_t *m = &g->state.member[i];
    m->held = roll(8) != 0;
    m->evidence.label = (int32_t)(roll(2) ? roll(6) : roll(2));
    m->evidence.value = any_value();
    m->evidence.certainty = (int32_t)roll(7) - 1; /* below 0 it supports nothing */
    for (int k = 0; k < EG_MAX_RUN - 1; k++) m->before[k] = (int32_t)roll(7) - 1;
  }
}

static void every_vote_is_as_defined(void) {
  guard_t g;
  guard_start(&g);
  dice = 1;
  for (int round = 0; round < 60000; round++) {
    any_vote(&g);
    uint8_t channel = (uint8_t)roll(EG_MAX_CHANNELS);
    bool trusted = roll(4) != 0;
    eg_state_t before = g.state;
    eg_command_t want = {.command = 7, .want = 8}, got = want;
    int32_t target = g.state.channel[channel].target;
    uint32_t present = defined(&g, channel, trusted, &want, &target);
    uint32_t said = eg_vote(&g.policy, &g.state, channel, trusted, &got);
    CHECK(said == present, "round %d: %x, not %x", round, said, present);
    CHECK(memcmp(&got, &want, sizeof got) == 0, "round %d: label %d certainty %d votes %d", round,
          got.label, got.certainty, got.votes);
    CHECK(g.state.channel[channel].target == target, "round %d: target", round);
    before.channel[channel].target = target;
    CHECK(memcmp(&before, &g.state, sizeof before) == 0, "round %d: something else moved", round);
  }
}

/* All channels, in their order, each with a verdict of its own; none beyond. */
static void every_channel_is_voted_on(void) {
  guard_t g;
  guard_start(&g);
  g.policy.channels = 3;
  g.policy.channel[2] = g.policy.channel[1];
  const eg_label_t three[] = {{0, Q(5)}, {1, Q(6)}, {2, Q(7)}};
  g.policy.label = three;
  for (int label = 0; label < 3; label++) {
    memset(&g.out, 0, sizeof g.out);
    for (int i = 0; i < 3; i++) {
      g.policy.member[i].may = 0xFF;
      hold(&g, i, label, 0, EG_ONE);
      g.state.channel[i].target = Q(20);
    }
    CHECK(eg_votes_update(&g.policy, &g.state, true, &g.out) == 0, "label %d", label);
    for (int i = 0; i < 4; i++) {
      CHECK(g.out.channel[i].granted == (i == label), "label %d channel %d", label, i);
      CHECK(g.out.channel[i].voters == (i < 3 ? 3 : 0), "label %d channel %d", label, i);
    }
    CHECK(g.state.channel[label].target == Q(5 + label), "label %d", label);
  }
  g.state.member[0].held = g.state.member[1].held = 0;
  CHECK(eg_votes_update(&g.policy, &g.state, true, &g.out) == EG_BIT(EG_STALE_MODEL), "one voter");
}

int main(void) {
  every_vote_is_as_defined();
  every_channel_is_voted_on();
  guard_t g;
  guard_start(&g);
  order_does_not_matter(&g);
  raising_asks_for_more_than_lowering(&g);
  each_supporter_on_each_frame(&g);
  causes_of_the_vote(&g);
  single_operations_are_granted(&g);
  nothing_is_granted_on_untrusted_evidence(&g);
  mid_value(&g);
  return 0;
}
