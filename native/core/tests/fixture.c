/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <string.h>

static const eg_label_t labels[6] = {{0, 0},     {0, Q(10)},   {0, Q(20)},
                                     {0, Q(30)}, {EG_HOLD, 0}, {1, Q(1)}};

static eg_limit_table_t flat(int32_t min, int32_t max, int32_t rise, int32_t fall) {
  eg_limit_table_t t = {.rows = 1, .row = {{0, {min, max, rise, fall}}}};
  return t;
}

static void causes(eg_policy_t *p) {
  for (int c = 0; c < EG_CAUSES; c++) {
    eg_cause_row_t row = {EG_FALLBACK, EG_CLEARS_ITSELF, 0, 50000, 200000};
    p->cause[c] = row;
  }
  eg_cause_row_t stop = {EG_SAFE_STOP, EG_CLEARS_BY_REARM, 1, 0, 0};
  eg_cause_row_t note = {EG_NOMINAL, EG_CLEARS_ITSELF, 0, 0, 0};
  p->cause[EG_NOT_ARMED] = stop;
  p->cause[EG_CONTROLLER_LOST] = stop;
  p->cause[EG_OPERATION_DENIED] = note;
  p->cause[EG_LATE] = note;
  p->cause[EG_MEMBER_LOST].severity = EG_DEGRADED;
  p->cause[EG_OVERRUN].severity = EG_DEGRADED;
}

eg_policy_t fixture_policy(void) {
  eg_policy_t p;
  memset(&p, 0, sizeof p);
  p.period_us = 10000;
  p.max_gap_us = 100000;
  p.controller_budget_us = 2000;
  p.standstill_signal = 0;
  p.standstill_below = Q(0.1);
  p.members = 3;
  p.cameras = 1;
  p.signals = 1;
  p.channels = 2;
  p.detectors = 1;
  p.labels = 6;
  p.label = labels;
  causes(&p);
  eg_member_t m = {EG_BY_LABEL, 0xF, 0xF, 25000, 100000, 1, 3, 0, 2 * EG_ONE};
  for (int i = 0; i < 3; i++) p.member[i] = m;
  p.camera[0].max_age_us = 100000;
  p.signal[0].max = Q(70);
  p.detector[0] = (eg_detector_t){EG_IMAGE_UNHEALTHY, EG_NONE, 0, Q(0.8)};
  eg_channel_t c = {EG_BY_LABEL, 0, EG_NONE, 0, 0, 0, {{Q(0.98), 3, 1}, {Q(0.80), 2, 1}}, {0}, {0}};
  c.nominal = flat(0, Q(36), Q(1.5), Q(4));
  c.degraded = flat(0, Q(22), Q(0.5), Q(4));
  p.channel[0] = p.channel[1] = c;
  p.channel[1].measured = EG_NONE;
  return p;
}

void guard_start(guard_t *g) {
  memset(g, 0, sizeof *g);
  g->policy = fixture_policy();
  eg_init(&g->policy, &g->state);
  eg_arm(&g->policy, &g->state);
  g->input.engaged = 1;
  g->input.rule_ok = 1;
  g->input.rule[0] = Q(5);
  g->input.elapsed_us = g->policy.period_us;
  g->input.signal[0] = (eg_number_t){EG_VALID, Q(20)};
  for (int i = 0; i < 3; i++) g->input.member[i].present = 1;
}

void guard_say(guard_t *g, int member, int32_t label, int32_t certainty) {
  eg_suggestion_t *s = &g->input.member[member];
  s->serial++;
  s->age_us = 5000;
  s->latency_us = 5000;
  memset(&s->evidence, 0, sizeof s->evidence);
  s->evidence.label = label;
  s->evidence.certainty = certainty;
  s->evidence.distinct = 3;
  s->evidence.sum = EG_ONE;
}

void guard_frame(guard_t *g, uint64_t hash) {
  g->input.frame[0].serial++;
  g->input.frame[0].hash = hash;
  g->input.frame[0].scene = (uint32_t)hash;
  g->input.frame[0].age_us = 5000;
}

uint32_t guard_members(guard_t *g) {
  g->state.member[1].age_us = g->state.member[2].age_us = 0;
  return eg_members_update(&g->policy, &g->state, &g->input);
}

void guard_tick(guard_t *g) {
  eg_decide(&g->policy, &g->state, &g->input, &g->out);
}

void guard_run(guard_t *g, int ticks, int32_t label, int32_t certainty) {
  for (int t = 0; t < ticks; t++) {
    if (t % 3 == 0) {
      guard_frame(g, g->input.frame[0].hash + 1);
      for (int i = 0; i < 3; i++) guard_say(g, i, label, certainty);
    }
    guard_tick(g);
  }
}
