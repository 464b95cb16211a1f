/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <string.h>

#include "check.h"
#include "fixture.h"

static void late_is_not_wrong(void) { /* F03 */
  guard_t g;
  guard_start(&g);
  guard_say(&g, 0, 1, EG_ONE);
  guard_members(&g);
  guard_say(&g, 0, 3, EG_ONE);
  g.input.member[0].latency_us = 25001;
  CHECK(guard_members(&g) == EG_BIT(EG_LATE), "late");
  CHECK(g.state.member[0].held && g.state.member[0].evidence.label == 1, "the late one is refused");
  g.input.member[0].pending_us = 25001;
  guard_say(&g, 0, 3, EG_ONE);
  CHECK(guard_members(&g) == EG_BIT(EG_LATE),
        "an answer that is due and not there is late as well");
}

static void stale_never_becomes_fresh(void) { /* F20: at any age, across 2^32 */
  guard_t g;
  guard_start(&g);
  guard_say(&g, 0, 1, EG_ONE);
  guard_members(&g);
  uint32_t before = g.state.member[0].age_us;
  for (int i = 0; i < 100; i++) {
    eg_time_advance(&g.policy, &g.state, 100000000u); /* 10^10 us in all: wraps twice, were it to */
    CHECK(g.state.member[0].age_us >= before, "age fell");
    before = g.state.member[0].age_us;
    guard_members(&g);
    CHECK(!g.state.member[0].held, "held at age %u", before);
  }
  CHECK(before == EG_AGE_MAX, "saturated");
}

static void older_than_held_is_refused(void) {
  guard_t g;
  guard_start(&g);
  guard_say(&g, 0, 1, EG_ONE);
  guard_members(&g);
  guard_say(&g, 0, 3, EG_ONE);
  g.input.member[0].age_us = 6000;
  guard_members(&g);
  CHECK(g.state.member[0].evidence.label == 1, "an older capture replaced a newer one");
  guard_say(&g, 0, 3, EG_ONE);
  g.input.member[0].age_us = EG_AGE_MAX; /* stamped in the future */
  CHECK(guard_members(&g) == EG_BIT(EG_SCORE_INSANE), "future stamp");
  CHECK(!g.state.member[0].held, "a future stamp was used, or kept what was said before");
}

static void insane_scores_abstain(void) { /* F06, F07 */
  for (int fault = 0; fault < 7; fault++) {
    guard_t g;
    guard_start(&g);
    guard_say(&g, 0, 1, EG_ONE);
    guard_members(&g);
    guard_say(&g, 0, 1, EG_ONE);
    eg_evidence_t *e = &g.input.member[0].evidence;
    if (fault == 0) e->bad = 1;
    if (fault == 1) e->out_of_range = 1;
    if (fault == 2) e->rail = 2;
    if (fault == 3) e->distinct = 2;
    if (fault == 4) e->sum = 2 * EG_ONE + 1;
    if (fault == 5) e->sum = -1;
    if (fault == 6) e->label = 6;
    CHECK(guard_members(&g) == EG_BIT(EG_SCORE_INSANE), "fault %d", fault);
    CHECK(!g.state.member[0].held, "fault %d: still votes", fault);
    guard_say(&g, 0, 1, EG_ONE);
    CHECK(guard_members(&g) == 0 && g.state.member[0].held, "fault %d: a sane one is taken again",
          fault);
  }
}

static void older_than_a_refused_one_is_refused(void) {
  guard_t g;
  guard_start(&g);
  guard_say(&g, 0, 1, EG_ONE);
  g.input.member[0].evidence.bad = 1;
  guard_members(&g);
  guard_say(&g, 0, 1, EG_ONE);
  g.input.member[0].age_us = 6000; /* captured before the one that was refused */
  guard_members(&g);
  CHECK(!g.state.member[0].held, "an older result was resurrected");
}

static void silence_is_a_lost_member(void) {
  guard_t g;
  guard_start(&g);
  guard_say(&g, 0, 1, EG_ONE);
  guard_members(&g);
  eg_time_advance(&g.policy, &g.state, 100001);
  CHECK(guard_members(&g) & EG_BIT(EG_MEMBER_LOST), "not named");
}

static void empty_is_not_clear(void) { /* F05 */
  guard_t g;
  guard_start(&g);
  guard_say(&g, 0, 1, EG_ONE);
  guard_members(&g);
  guard_say(&g, 0, -1, 0);
  CHECK(guard_members(&g) == 0 && !g.state.member[0].held, "an empty answer kept the vote");
}

static void a_value_is_no_label(void) { /* whatever the labels' table says of label 0 */
  guard_t g;
  guard_start(&g);
  g.policy.labels = 0;
  g.policy.member[0].kind = EG_BY_VALUE;
  guard_say(&g, 0, 0, EG_ONE);
  CHECK(guard_members(&g) == 0 && g.state.member[0].held, "refused");
}

static void unauthorized_is_dropped(void) {
  guard_t g;
  guard_start(&g);
  g.policy.member[0].may = 0x3; /* channel 0 only */
  guard_say(&g, 0, 5, EG_ONE);  /* means something for channel 1 */
  CHECK(guard_members(&g) & EG_BIT(EG_UNAUTHORIZED_SUGGESTION), "not named");
  CHECK(!g.state.member[0].held, "not dropped");
}

static void dead_member_abstains_at_once(void) { /* F01 */
  guard_t g;
  guard_start(&g);
  guard_say(&g, 0, 1, EG_ONE);
  guard_members(&g);
  g.input.member[0].present = 0;
  CHECK(guard_members(&g) == EG_BIT(EG_MEMBER_LOST) && !g.state.member[0].held, "dead and voting");
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

/* ------------------------------------------------------- limits, one by one */

static void each_limit_of_sanity(void) {
  guard_t g;
  guard_start(&g);
  eg_member_t *m = &g.policy.member[0];
  m->min_distinct = 2;
  m->sum_min = 100;
  m->sum_max = 200;
  const struct {
    int32_t bad, out_of_range, rail, distinct, sum, label;
    bool sane;
  } row[] = {
      {0, 0, 0, 2, 100, 0, true},   {0, 0, 1, 3, 200, 5, true},   {0, 0, -1, 9, 150, -1, true},
      {1, 0, 0, 3, 150, 0, false},  {-1, 0, 0, 3, 150, 0, false}, {0, 1, 0, 3, 150, 0, false},
      {0, -1, 0, 3, 150, 0, false}, {0, 0, 2, 3, 150, 0, false},  {0, 0, 0, 1, 150, 0, false},
      {0, 0, 0, 3, 99, 0, false},   {0, 0, 0, 3, 201, 0, false},  {0, 0, 0, 3, 150, 6, false},
      {0, 0, 0, 3, 150, 7, false}};
  for (int i = 0; i < 13; i++)
    for (int kind = 0; kind < 2; kind++)
      for (int late = 0; late < 2; late++) {
        eg_suggestion_t in = {.age_us = 1000, .latency_us = late ? 25001 : 25000};
        in.evidence = (eg_evidence_t){.bad = row[i].bad,
                                      .out_of_range = row[i].out_of_range,
                                      .rail = row[i].rail,
                                      .distinct = row[i].distinct,
                                      .sum = row[i].sum,
                                      .label = row[i].label};
        m->kind = (uint8_t)kind;
        bool sane = row[i].sane || (kind == EG_BY_VALUE && i > 10);
        uint32_t want = (sane ? 0 : EG_BIT(EG_SCORE_INSANE)) | (late ? EG_BIT(EG_LATE) : 0);
        uint32_t got = eg_inference_faults(&g.policy, 0, EG_NOMINAL, &in);
        CHECK(got == want, "row %d kind %d late %d: %x, not %x", i, kind, late, got, want);
      }
}

static uint32_t suggests(guard_t *g, uint16_t may, int32_t label) {
  eg_suggestion_t in = {.age_us = 1000};
  in.evidence = (eg_evidence_t){.label = label, .distinct = 3, .sum = EG_ONE};
  g->policy.member[0].may = may;
  return eg_inference_faults(&g->policy, 0, EG_NOMINAL, &in);
}

/* A label is of a channel; one operation on it is enough to be heard. */
static void each_grant(void) {
  static const eg_label_t table[] = {{1, 0}, {0, 0}, {1, 0}, {2, 0}, {3, 0}, {EG_HOLD, 0}};
  guard_t g;
  guard_start(&g);
  g.policy.labels = 5;
  g.policy.label = &table[1]; /* what stands before it belongs to nobody */
  for (int bit = 0; bit < 16; bit++)
    for (int32_t label = 0; label < 4; label++) {
      bool heard = bit / 2 == label;
      uint32_t want = heard ? 0 : EG_BIT(EG_UNAUTHORIZED_SUGGESTION);
      uint32_t got = suggests(&g, (uint16_t)(1u << bit), label);
      CHECK(got == want, "bit %d label %d: %x", bit, label, got);
    }
  CHECK(suggests(&g, 0, 4) == 0, "holding needs no grant");
  CHECK(suggests(&g, 0, -1) == 0, "nothing said, nothing forbidden");
  g.policy.member[0].kind = EG_BY_VALUE;
  CHECK(suggests(&g, 0, 0) == 0, "a value is no label");
}

/* Every set of modes in every mode: what is not granted is refused under its name, and what was
 * said before, in a mode that was granted, is taken back. */
static void each_mode(void) {
  for (uint32_t modes = 0; modes < 16; modes++)
    for (uint32_t mode = EG_NOMINAL; mode <= EG_SAFE_STOP; mode++)
      for (int fresh = 0; fresh < 2; fresh++) {
        guard_t g;
        guard_start(&g);
        guard_say(&g, 0, 2, Q(1));
        eg_members_update(&g.policy, &g.state, &g.input);
        CHECK(g.state.member[0].held, "said in a mode that was granted");
        g.state.active = mode == EG_NOMINAL ? 0 : EG_BIT(EG_LATE);
        g.policy.cause[EG_LATE].severity = (uint8_t)mode;
        g.policy.member[0].modes = (uint8_t)modes;
        if (fresh) guard_say(&g, 0, 2, Q(1));
        uint32_t present = eg_members_update(&g.policy, &g.state, &g.input);
        bool may = modes & (1u << mode);
        uint32_t want = may || !fresh ? 0 : EG_BIT(EG_UNAUTHORIZED_SUGGESTION);
        CHECK(g.state.member[0].held == may, "modes %x in %u: held", modes, mode);
        CHECK((present & EG_BIT(EG_UNAUTHORIZED_SUGGESTION)) == want, "modes %x in %u", modes,
              mode);
      }
}

/* Whoever may not say it lives all the same; whoever says it too late does not live for that. */
static void forbidden_is_not_lost(void) {
  for (uint32_t late = 0; late < 2; late++) {
    guard_t g;
    guard_start(&g);
    g.policy.member[0].modes = 0;
    g.state.member[0].age_us = g.state.member[0].newest_us = 100001;
    guard_say(&g, 0, 2, Q(1));
    g.input.member[0].latency_us = 25000 + late;
    uint32_t present = eg_members_update(&g.policy, &g.state, &g.input);
    CHECK(!g.state.member[0].held, "not heard");
    CHECK(g.state.member[0].age_us == (late ? 100001 : 5000), "late %u", late);
    g.state.member[1].age_us = g.state.member[2].age_us = 0;
    present = eg_members_update(&g.policy, &g.state, &g.input);
    CHECK((present & EG_BIT(EG_MEMBER_LOST)) == (late ? EG_BIT(EG_MEMBER_LOST) : 0), "%x", present);
  }
}

static void too_old_when_it_comes(void) {
  guard_t g;
  guard_start(&g);
  guard_say(&g, 0, 1, EG_ONE);
  g.input.member[0].age_us = 100001;
  CHECK(guard_members(&g) == EG_BIT(EG_MEMBER_LOST) && !g.state.member[0].held, "heard");
}

static void the_mode_before_arming_is_safe_stop(void) {
  guard_t g;
  guard_start(&g);
  g.state.active = 0;
  g.state.armed = 0;
  CHECK(eg_mode(&g.policy, &g.state) == EG_SAFE_STOP, "unarmed");
  g.state.armed = 1;
  CHECK(eg_mode(&g.policy, &g.state) == EG_NOMINAL, "armed, no cause");
}

static void each_part_of_a_picture(void) {
  for (int s = -1; s <= 1; s++)
    for (int v = -1; v <= 1; v++)
      for (int h = -1; h <= 1; h++) {
        eg_frame_t a = {9, 5, 100, 200, 300}, b = {8, 4, 100, 200, 300};
        b.scene += (uint32_t)s;
        b.view += (uint32_t)v;
        b.hash += (uint64_t)(int64_t)h;
        bool want = s == 0 && (v != 0 || h == 0);
        CHECK(eg_same_picture(&a, &b) == want, "scene %d view %d hash %d", s, v, h);
      }
}

static void each_limit_of_a_number(void) {
  const struct {
    uint8_t validity;
    int32_t value;
    bool ok;
  } row[] = {{EG_VALID, -5, true},   {EG_VALID, 7, true},  {EG_VALID, 0, true},
             {EG_VALID, -6, false},  {EG_VALID, 8, false}, {EG_ABSENT, 0, false},
             {EG_INVALID, 0, false}, {255, 0, false}};
  for (int i = 0; i < 8; i++) {
    eg_number_t n = {row[i].validity, row[i].value};
    CHECK(eg_number_ok(&n, -5, 7) == row[i].ok, "row %d", i);
  }
}

/* ----------------------------------------------------------------- cameras */

static uint32_t look(guard_t *g) {
  return eg_cameras_update(&g->policy, &g->state, &g->input);
}

static void a_black_first_picture_is_no_repeat(void) {
  guard_t g;
  guard_start(&g);
  g.input.frame[0].serial = 1; /* all of it zero: what an empty memory would show */
  CHECK(look(&g) == 0, "frozen at the first picture");
  CHECK(g.state.camera[0].seen == 1 && g.state.camera[0].repeats == 0, "seen");
  g.input.frame[0].serial = 0; /* the counter started anew */
  CHECK(look(&g) == EG_BIT(EG_FROZEN_INPUT), "the same picture under a smaller number");
  CHECK(g.state.camera[0].repeats == 1, "a flag is 1: %d", g.state.camera[0].repeats);
}

static void as_many_pictures_are_kept_as_fit(void) {
  guard_t g;
  guard_start(&g);
  g.state.camera[1].kept[0].scene = 77;
  for (uint64_t i = 1; i <= EG_FRAMES_KEPT + 2; i++) {
    guard_frame(&g, 1000 + i);
    CHECK(look(&g) == 0, "picture %d", (int)i);
    CHECK(g.state.camera[0].kept[0].hash == 1000 + i, "the newest comes first");
    CHECK(g.state.camera[0].age_us == 5000, "its age counts");
  }
  CHECK(g.state.camera[0].seen == EG_FRAMES_KEPT, "seen %u", g.state.camera[0].seen);
  for (uint64_t i = 0; i < EG_FRAMES_KEPT; i++)
    CHECK(g.state.camera[0].kept[i].hash == 1000 + EG_FRAMES_KEPT + 2 - i, "kept %d", (int)i);
  guard_frame(&g, 1002); /* long gone */
  CHECK(look(&g) == 0, "a picture from before the ring");
}

static void each_camera_has_its_age_limit(void) {
  guard_t g;
  guard_start(&g);
  g.policy.cameras = 3;
  g.policy.camera[1].max_age_us = 50;
  g.policy.camera[2].max_age_us = 70;
  for (uint32_t i = 0; i < 3; i++) g.input.frame[i] = (eg_frame_t){1, 0, i, 10 + i, 0};
  CHECK(look(&g) == 0, "all new");
  const uint32_t age[3] = {100000, 50, 70};
  for (int old = -1; old < 3; old++) {
    for (int i = 0; i < 3; i++) g.state.camera[i].age_us = age[i] + (i == old);
    CHECK(look(&g) == (old < 0 ? 0 : EG_BIT(EG_FRAME_LOST)), "camera %d", old);
  }
  g.state.camera[0].repeats = 1;
  CHECK(look(&g) == (EG_BIT(EG_FRAME_LOST) | EG_BIT(EG_FROZEN_INPUT)), "one frozen, another lost");
  g.policy.cameras = 2;
  CHECK(look(&g) == EG_BIT(EG_FROZEN_INPUT), "no third camera");
}

/* ----------------------------------------------------------------- members */

static void a_member_that_starts_anew(void) { /* its counter falls, its inferences are new */
  guard_t g;
  guard_start(&g);
  g.input.member[0].serial = 1000;
  guard_say(&g, 0, 1, EG_ONE);
  guard_members(&g);
  g.input.member[0].serial = 5;
  guard_say(&g, 0, 2, EG_ONE);
  CHECK(guard_members(&g) == 0 && g.state.member[0].evidence.label == 2, "not taken");
  CHECK(g.state.member[0].held == 1, "a flag is 1: %d", g.state.member[0].held);
}

/* Ages 5, 7 (refused), 6: the last is still older than the first, whatever came between. */
static void the_newest_stays_the_newest(void) {
  guard_t g;
  guard_start(&g);
  const uint32_t age[] = {5000, 7000, 6000, 5001, 5000};
  for (int i = 0; i < 5; i++) {
    guard_say(&g, 0, i, EG_ONE);
    g.input.member[0].age_us = age[i];
    guard_members(&g);
    int32_t label = i == 4 ? 4 : 0;
    CHECK(g.state.member[0].evidence.label == label, "round %d: %d", i,
          g.state.member[0].evidence.label);
    CHECK(g.state.member[0].newest_us == 5000, "round %d: %u", i, g.state.member[0].newest_us);
  }
}

static void each_age_limit_of_a_member(void) {
  guard_t g;
  guard_start(&g);
  const struct {
    uint32_t age_us, pending_us, present, held;
  } row[] = {{100000, 0, 0, 1},
             {100001, 0, EG_BIT(EG_MEMBER_LOST), 0},
             {0, 25000, 0, 1},
             {0, 25001, EG_BIT(EG_LATE), 1}};
  for (int i = 0; i < 4; i++) {
    g.state.member[0].held = 1;
    g.state.member[0].age_us = row[i].age_us;
    g.input.member[0].pending_us = row[i].pending_us;
    CHECK(guard_members(&g) == row[i].present, "row %d", i);
    CHECK(g.state.member[0].held == row[i].held, "row %d: %d", i, g.state.member[0].held);
  }
}

static void each_member_is_looked_at(void) {
  for (int lost = 0; lost < 4; lost++) {
    guard_t g;
    guard_start(&g);
    g.input.member[3].present = 1;
    for (int i = 0; i < 4; i++) {
      g.state.member[i].age_us = 0;
      g.state.member[i].held = 1;
    }
    g.input.member[lost].present = 0;
    uint32_t present = eg_members_update(&g.policy, &g.state, &g.input);
    CHECK(present == (lost < 3 ? EG_BIT(EG_MEMBER_LOST) : 0), "member %d: %x", lost, present);
    CHECK(g.state.member[lost].held == (lost == 3), "member %d", lost);
  }
}

/* ----------------------------------------------------------------- numbers */

static uint32_t numbers(guard_t *g) {
  return eg_numbers_check(&g->policy, &g->state, &g->input);
}

static void each_number_is_looked_at(void) {
  guard_t g;
  guard_start(&g);
  g.policy.signals = g.policy.detectors = 3;
  const eg_cause_t cause[] = {EG_IMAGE_UNHEALTHY, EG_OUT_OF_DISTRIBUTION, EG_LOW_CERTAINTY,
                              EG_DISAGREEMENT};
  for (int i = 0; i < 4; i++) {
    g.policy.signal[i] = (eg_signal_t){0, 100 + i};
    g.policy.detector[i] = (eg_detector_t){(uint8_t)cause[i], EG_NONE, 0, 200 + i};
    g.input.signal[i] = (eg_number_t){EG_VALID, 100 + i};
    g.input.detector[i] = (eg_number_t){EG_VALID, 200 + i};
  }
  g.input.signal[3].value = g.input.detector[3].value = 1000;
  CHECK(numbers(&g) == 0, "all at their limits, and no fourth");
  for (int i = 0; i < 3; i++) {
    g.input.signal[i].value++;
    CHECK(numbers(&g) == EG_BIT(EG_INPUT_INVALID), "signal %d", i);
    g.input.signal[i].value--;
    g.input.detector[i].value++;
    CHECK(numbers(&g) == EG_BIT(cause[i]), "detector %d", i);
    g.input.detector[i].value--;
  }
  g.input.engaged_unknown = 1;
  CHECK(numbers(&g) == EG_BIT(EG_INPUT_INVALID), "nobody knows whether it is engaged");
  g.policy.detector[1].cause = EG_LATE;
  g.input.detector[1].validity = EG_INVALID;
  CHECK(numbers(&g) == (EG_BIT(EG_INPUT_INVALID) | EG_BIT(EG_LATE)), "both");
}

static void when_a_detector_speaks(void) {
  const struct {
    uint8_t validity, member, held;
    bool present;
  } row[] = {{EG_VALID, EG_NONE, 0, true}, {EG_VALID, 1, 1, true},
             {EG_VALID, 1, 0, false},      {EG_INVALID, EG_NONE, 0, true},
             {EG_INVALID, 1, 0, true},     {EG_ABSENT, EG_NONE, 0, false},
             {EG_ABSENT, 1, 1, false},     {255, EG_NONE, 0, false}};
  for (int i = 0; i < 8; i++) {
    guard_t g;
    guard_start(&g);
    g.policy.detector[0].member = row[i].member;
    g.state.member[1].held = row[i].held;
    g.input.detector[0] = (eg_number_t){row[i].validity, EG_ONE};
    CHECK(numbers(&g) == (row[i].present ? EG_BIT(EG_IMAGE_UNHEALTHY) : 0), "row %d", i);
  }
}

static void a_signal_or_none(void) {
  guard_t g;
  guard_start(&g);
  g.policy.signal[3] = (eg_signal_t){5, 6};
  g.input.signal[3] = (eg_number_t){EG_VALID, 6};
  CHECK(eg_signal(&g.policy, &g.input, 3) == &g.input.signal[3], "the fourth");
  g.input.signal[3].value = 7;
  CHECK(eg_signal(&g.policy, &g.input, 3) == NULL, "out of its range");
}

/* EG_NONE is no index: what lies there looks like a good number here. */
static void none_is_no_index(void) {
  static struct {
    eg_policy_t policy;
    eg_signal_t behind[EG_NONE];
  } p;
  static struct {
    eg_input_t input;
    eg_number_t behind[EG_NONE];
  } in;
  memset(&in, EG_VALID, sizeof in);
  memset(&p, EG_VALID, sizeof p); /* every number is valid and exactly its range */
  CHECK(eg_signal(&p.policy, &in.input, EG_NONE) == NULL, "none");
}

int main(void) {
  each_limit_of_sanity();
  each_grant();
  each_mode();
  forbidden_is_not_lost();
  too_old_when_it_comes();
  the_mode_before_arming_is_safe_stop();
  each_part_of_a_picture();
  each_limit_of_a_number();
  a_black_first_picture_is_no_repeat();
  as_many_pictures_are_kept_as_fit();
  each_camera_has_its_age_limit();
  a_member_that_starts_anew();
  the_newest_stays_the_newest();
  each_age_limit_of_a_member();
  each_member_is_looked_at();
  each_number_is_looked_at();
  when_a_detector_speaks();
  a_signal_or_none();
  none_is_no_index();
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
