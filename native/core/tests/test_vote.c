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
}

int main(void) {
  guard_t g;
  guard_start(&g);
  order_does_not_matter(&g);
  raising_asks_for_more_than_lowering(&g);
  causes_of_the_vote(&g);
  single_operations_are_granted(&g);
  nothing_is_granted_on_untrusted_evidence(&g);
  mid_value(&g);
  return 0;
}
