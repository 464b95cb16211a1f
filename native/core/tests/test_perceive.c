/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"
#include "fixture.h"

/* What member 0 stands for; the others are not the matter. */
static uint32_t members(guard_t *g) {
  g->state.member[1].age_us = g->state.member[2].age_us = 0;
  return eg_members_update(&g->policy, &g->state, &g->input);
}

static void late_is_not_wrong(void) { /* F03 */
  guard_t g;
  guard_start(&g);
  guard_say(&g, 0, 1, EG_ONE);
  members(&g);
  guard_say(&g, 0, 3, EG_ONE);
  g.input.member[0].latency_us = 25001;
  CHECK(members(&g) == EG_BIT(EG_LATE), "late");
  CHECK(g.state.member[0].held && g.state.member[0].evidence.label == 1, "the late one is refused");
  g.input.member[0].pending_us = 25001;
  guard_say(&g, 0, 3, EG_ONE);
  CHECK(members(&g) == EG_BIT(EG_LATE), "an answer that is due and not there is late as well");
}

static void stale_never_becomes_fresh(void) { /* F20: at any age, across 2^32 */
  guard_t g;
  guard_start(&g);
  guard_say(&g, 0, 1, EG_ONE);
  members(&g);
  uint32_t before = g.state.member[0].age_us;
  for (int i = 0; i < 100; i++) {
    eg_time_advance(&g.policy, &g.state, 100000000u); /* 10^10 us in all: wraps twice, were it to */
    CHECK(g.state.member[0].age_us >= before, "age fell");
    before = g.state.member[0].age_us;
    members(&g);
    CHECK(!g.state.member[0].held, "held at age %u", before);
  }
  CHECK(before == EG_AGE_MAX, "saturated");
}

static void older_than_held_is_refused(void) {
  guard_t g;
  guard_start(&g);
  guard_say(&g, 0, 1, EG_ONE);
  members(&g);
  guard_say(&g, 0, 3, EG_ONE);
  g.input.member[0].age_us = 6000;
  members(&g);
  CHECK(g.state.member[0].evidence.label == 1, "an older capture replaced a newer one");
  guard_say(&g, 0, 3, EG_ONE);
  g.input.member[0].age_us = EG_AGE_MAX; /* stamped in the future */
  CHECK(members(&g) == EG_BIT(EG_SCORE_INSANE), "future stamp");
  CHECK(!g.state.member[0].held, "a future stamp was used, or kept what was said before");
}

static void insane_scores_abstain(void) { /* F06, F07 */
  for (int fault = 0; fault < 7; fault++) {
    guard_t g;
    guard_start(&g);
    guard_say(&g, 0, 1, EG_ONE);
    members(&g);
    guard_say(&g, 0, 1, EG_ONE);
    eg_evidence_t *e = &g.input.member[0].evidence;
    if (fault == 0) e->bad = 1;
    if (fault == 1) e->out_of_range = 1;
    if (fault == 2) e->rail = 2;
    if (fault == 3) e->distinct = 2;
    if (fault == 4) e->sum = 2 * EG_ONE + 1;
    if (fault == 5) e->sum = -1;
    if (fault == 6) e->label = 6;
    CHECK(members(&g) == EG_BIT(EG_SCORE_INSANE), "fault %d", fault);
    CHECK(!g.state.member[0].held, "fault %d: still votes", fault);
    guard_say(&g, 0, 1, EG_ONE);
    CHECK(members(&g) == 0 && g.state.member[0].held, "fault %d: a sane one is taken again", fault);
  }
}

static void older_than_a_refused_one_is_refused(void) {
  guard_t g;
  guard_start(&g);
  guard_say(&g, 0, 1, EG_ONE);
  g.input.member[0].evidence.bad = 1;
  members(&g);
  guard_say(&g, 0, 1, EG_ONE);
  g.input.member[0].age_us = 6000; /* captured before the one that was refused */
  members(&g);
  CHECK(!g.state.member[0].held, "an older result was resurrected");
}

static void silence_is_a_lost_member(void) {
  guard_t g;
  guard_start(&g);
  guard_say(&g, 0, 1, EG_ONE);
  members(&g);
  eg_time_advance(&g.policy, &g.state, 100001);
  CHECK(members(&g) & EG_BIT(EG_MEMBER_LOST), "not named");
}

static void empty_is_not_clear(void) { /* F05 */
  guard_t g;
  guard_start(&g);
  guard_say(&g, 0, 1, EG_ONE);
  members(&g);
  guard_say(&g, 0, -1, 0);
  CHECK(members(&g) == 0 && !g.state.member[0].held, "an empty answer kept the vote");
}

static void a_value_is_no_label(void) { /* whatever the labels' table says of label 0 */
  guard_t g;
  guard_start(&g);
  g.policy.labels = 0;
  g.policy.member[0].kind = EG_BY_VALUE;
  guard_say(&g, 0, 0, EG_ONE);
  CHECK(members(&g) == 0 && g.state.member[0].held, "refused");
}

static void unauthorized_is_dropped(void) {
  guard_t g;
  guard_start(&g);
  g.policy.member[0].may = 0x3; /* channel 0 only */
  guard_say(&g, 0, 5, EG_ONE);  /* means something for channel 1 */
  CHECK(members(&g) & EG_BIT(EG_UNAUTHORIZED_SUGGESTION), "not named");
  CHECK(!g.state.member[0].held, "not dropped");
}

static void dead_member_abstains_at_once(void) { /* F01 */
  guard_t g;
  guard_start(&g);
  guard_say(&g, 0, 1, EG_ONE);
  members(&g);
  g.input.member[0].present = 0;
  CHECK(members(&g) == EG_BIT(EG_MEMBER_LOST) && !g.state.member[0].held, "dead and voting");
}

static void frozen_camera(void) { /* F04 */
  guard_t g;
  guard_start(&g);
  guard_frame(&g, 7);
  CHECK(eg_cameras_update(&g.policy, &g.state, &g.input) == 0, "first frame");
  guard_frame(&g, 7); /* a new stamp on the same picture */
  CHECK(eg_cameras_update(&g.policy, &g.state, &g.input) == EG_BIT(EG_FROZEN_INPUT), "repeat");
  CHECK(eg_cameras_update(&g.policy, &g.state, &g.input) == EG_BIT(EG_FROZEN_INPUT), "stays so");
  guard_frame(&g, 8);
  CHECK(eg_cameras_update(&g.policy, &g.state, &g.input) == 0, "moves again");
  eg_time_advance(&g.policy, &g.state, 100001);
  CHECK(eg_cameras_update(&g.policy, &g.state, &g.input) == EG_BIT(EG_FRAME_LOST), "silent");
}

static void frozen_behind_a_ring_and_a_box(void) {
  guard_t g;
  guard_start(&g);
  for (uint64_t i = 0; i < EG_FRAMES_KEPT; i++) {
    guard_frame(&g, 100 + i);
    CHECK(eg_cameras_update(&g.policy, &g.state, &g.input) == 0, "buffer %d", (int)i);
  }
  for (uint64_t i = 0; i < 3 * EG_FRAMES_KEPT; i++) {
    guard_frame(&g, 100 + i % EG_FRAMES_KEPT);
    CHECK(eg_cameras_update(&g.policy, &g.state, &g.input) == EG_BIT(EG_FROZEN_INPUT), "ring");
  }
  guard_frame(&g, 200);
  eg_cameras_update(&g.policy, &g.state, &g.input);
  guard_frame(&g, 201);
  g.input.frame[0].scene = 200; /* another part of the same picture */
  g.input.frame[0].view = 1;
  CHECK(eg_cameras_update(&g.policy, &g.state, &g.input) == EG_BIT(EG_FROZEN_INPUT), "box moved");
  guard_frame(&g, 202);
  g.input.frame[0].scene = 200; /* the same part, and it changed */
  g.input.frame[0].view = 1;
  uint32_t present = eg_cameras_update(&g.policy, &g.state, &g.input);
  CHECK(present == EG_BIT(EG_FROZEN_INPUT), "the kept frame with another box still matches");
}

static void a_detector_is_silent_with_its_member(void) {
  guard_t g;
  guard_start(&g);
  g.policy.detector[0].member = 1;
  g.input.detector[0] = (eg_number_t){EG_VALID, Q(0.9)};
  CHECK(eg_numbers_check(&g.policy, &g.state, &g.input) == 0, "of a member that abstains");
  g.state.member[1].held = 1;
  CHECK(eg_numbers_check(&g.policy, &g.state, &g.input) == EG_BIT(EG_IMAGE_UNHEALTHY), "speaks");
}

static void numbers_out_of_range(void) {
  guard_t g;
  guard_start(&g);
  CHECK(eg_numbers_check(&g.policy, &g.state, &g.input) == 0,
        "good; an absent detector says nothing");
  g.input.signal[0].value = Q(70) + 1;
  CHECK(eg_numbers_check(&g.policy, &g.state, &g.input) == EG_BIT(EG_INPUT_INVALID), "above");
  g.input.signal[0] = (eg_number_t){EG_INVALID, Q(10)};
  CHECK(eg_numbers_check(&g.policy, &g.state, &g.input) == EG_BIT(EG_INPUT_INVALID), "NaN");
  g.input.signal[0] = (eg_number_t){EG_ABSENT, Q(10)};
  CHECK(eg_numbers_check(&g.policy, &g.state, &g.input) == EG_BIT(EG_INPUT_INVALID), "missing");
  g.input.signal[0] = (eg_number_t){EG_VALID, 0};
  g.input.detector[0] = (eg_number_t){EG_VALID, Q(0.8)};
  CHECK(eg_numbers_check(&g.policy, &g.state, &g.input) == 0, "at the threshold");
  g.input.detector[0].value++;
  CHECK(eg_numbers_check(&g.policy, &g.state, &g.input) == EG_BIT(EG_IMAGE_UNHEALTHY), "over it");
  g.input.detector[0] = (eg_number_t){EG_INVALID, 0};
  CHECK(eg_numbers_check(&g.policy, &g.state, &g.input) == EG_BIT(EG_IMAGE_UNHEALTHY),
        "not a number");
}

int main(void) {
  late_is_not_wrong();
  stale_never_becomes_fresh();
  older_than_held_is_refused();
  insane_scores_abstain();
  empty_is_not_clear();
  a_value_is_no_label();
  unauthorized_is_dropped();
  dead_member_abstains_at_once();
  frozen_camera();
  older_than_a_refused_one_is_refused();
  silence_is_a_lost_member();
  frozen_behind_a_ring_and_a_box();
  a_detector_is_silent_with_its_member();
  numbers_out_of_range();
  return 0;
}
