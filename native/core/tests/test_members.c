/* SPDX-License-Identifier: Apache-2.0 */
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

int main(void) {
  each_limit_of_sanity();
  each_grant();
  each_mode();
  forbidden_is_not_lost();
  too_old_when_it_comes();
  the_mode_before_arming_is_safe_stop();
  a_member_that_starts_anew();
  the_newest_stays_the_newest();
  each_age_limit_of_a_member();
  each_member_is_looked_at();
  late_is_not_wrong();
  stale_never_becomes_fresh();
  older_than_held_is_refused();
  insane_scores_abstain();
  empty_is_not_clear();
  a_value_is_no_label();
  unauthorized_is_dropped();
  dead_member_abstains_at_once();
  older_than_a_refused_one_is_refused();
  silence_is_a_lost_member();
  return 0;
}
