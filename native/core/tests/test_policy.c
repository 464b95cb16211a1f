/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "check.h"
#include "fixture.h"

/* Every rule of a policy: what stands at its edge is accepted, the next value refused by this rule.
 */
typedef struct {
  const char *name;
  void (*change)(eg_policy_t *p);
  const char *refused; /* how the refusal begins; NULL: it is accepted */
} edge_t;

#define MEMBERS "members: none"
#define CHANNELS "channels: none"
#define SIZES "cameras, signals or detectors"
#define PERIOD "period"
#define GAP "max_gap"
#define REARM "rearm"
#define UNKNOWN "cause: unknown"
#define RATE "channel: a rate"
#define STOP "channel: stop"
#define ORDER "channel: limit table not in order"
#define ROWS "channel: limit table without"
#define QUORUM "channel: quorum above"
#define KIND "channel: unknown kind"
#define SIGNAL "channel: no such signal"
#define MIXED "channel: granted to a member"

#define EDGE(id, refusal, statement)                                                               \
  static void id(eg_policy_t *p) {                                                                 \
    statement;                                                                                     \
  }                                                                                                \
  static const edge_t id##_edge = {#id, id, refusal};

/* ------------------------------------------------------------------- sizes */
EDGE(no_members, MEMBERS, p->members = 0)
EDGE(one_member, NULL, p->members = 1; p->channel[0].demand[0].quorum = 1;
     p->channel[0].demand[1].quorum = 1; p->channel[1] = p->channel[0])
EDGE(all_members, NULL, p->members = 8; for (int i = 3; i < 8; i++) p->member[i] = p->member[0])
EDGE(many_members, MEMBERS, p->members = 9)
EDGE(no_channels, CHANNELS, p->channels = 0)
EDGE(one_channel, NULL, p->channels = 1; p->labels = 5;
     for (int i = 0; i < 3; i++) p->member[i].may = 3)
EDGE(all_channels, NULL, p->channels = 4; p->channel[3] = p->channel[2] = p->channel[1];
     for (int i = 0; i < 3; i++) p->member[i].may = 0xFF)
EDGE(many_channels, CHANNELS, p->channels = 5)
EDGE(no_cameras, NULL, p->cameras = p->detectors = 0)
EDGE(all_cameras, NULL, p->cameras = 4)
EDGE(many_cameras, SIZES, p->cameras = 5)
EDGE(all_signals, NULL, p->signals = 16)
EDGE(many_signals, SIZES, p->signals = 17)
EDGE(all_detectors, NULL, p->detectors = 16)
EDGE(many_detectors, SIZES, p->detectors = 17)
EDGE(no_period, PERIOD, p->period_us = 0)
EDGE(
    short_period, NULL, p->period_us = 1; for (int i = 0; i < 2; i++) {
      p->channel[i].nominal.row[0].limits.rise = p->channel[i].nominal.row[0].limits.fall = 1000000;
      p->channel[i].degraded = p->channel[i].nominal;
    })
EDGE(longest_period, NULL, p->period_us = p->max_gap_us = 1000000)
EDGE(long_period, PERIOD, p->period_us = p->max_gap_us = 1000001)
EDGE(smallest_gap, NULL, p->max_gap_us = p->period_us)
EDGE(small_gap, GAP, p->max_gap_us = p->period_us - 1)
EDGE(longest_gap, NULL, p->max_gap_us = 60000000)
EDGE(long_gap, GAP, p->max_gap_us = 60000001)
EDGE(no_standstill, NULL, p->standstill_signal = EG_NONE)
EDGE(wrong_standstill, REARM, p->standstill_signal = 1)
EDGE(other_standstill, NULL, p->signals = 3; p->standstill_signal = 2)
EDGE(far_standstill, REARM, p->standstill_signal = 254)
EDGE(zero_standstill, NULL, p->standstill_below = 0)
EDGE(negative_standstill, REARM, p->standstill_below = -1)
EDGE(missing_labels, "labels: missing", p->label = NULL)
EDGE(missing_label, "labels: missing", p->label = NULL; p->labels = 1)
EDGE(no_labels, NULL, p->label = NULL; p->labels = 0)

/* ------------------------------------------------------------------ causes */
EDGE(worst_severity, NULL, p->cause[EG_LATE].severity = EG_SAFE_STOP; p->cause[EG_LATE].clears = 1)
EDGE(severity, UNKNOWN, p->cause[EG_LATE].severity = EG_SAFE_STOP + 1)
EDGE(never_clears, NULL, p->cause[EG_LATE].clears = EG_CLEARS_NEVER)
EDGE(clears, UNKNOWN, p->cause[EG_LATE].clears = EG_CLEARS_NEVER + 1)
EDGE(first_cause, UNKNOWN, p->cause[0].clears = 9)
EDGE(last_cause, UNKNOWN, p->cause[EG_CAUSES - 1].clears = 9)
EDGE(no_cause_behind, NULL, p->member[0].deadline_us = p->member[0].max_age_us + 1)
EDGE(even_off, NULL, p->cause[EG_STALE_MODEL].off_us = p->cause[EG_STALE_MODEL].on_us)
EDGE(fast_off, "cause: off", p->cause[EG_STALE_MODEL].off_us = p->cause[EG_STALE_MODEL].on_us - 1)
EDGE(soft_stop, "cause: SAFE_STOP", p->cause[EG_CONTROLLER_LOST].clears = EG_CLEARS_ITSELF)
EDGE(hard_stop, NULL, p->cause[EG_CONTROLLER_LOST].clears = EG_CLEARS_NEVER)
EDGE(soft_fallback, NULL, p->cause[EG_OVERRUN].severity = EG_FALLBACK)
EDGE(weak_stale, "cause: STALE_MODEL", p->cause[EG_STALE_MODEL].severity = EG_DEGRADED)
EDGE(strong_stale, NULL, p->cause[EG_STALE_MODEL].severity = EG_SAFE_STOP;
     p->cause[EG_STALE_MODEL].clears = EG_CLEARS_BY_REARM)
EDGE(weak_time, "cause: TIME_FAULT", p->cause[EG_TIME_FAULT].severity = EG_DEGRADED)
EDGE(strong_time, NULL, p->cause[EG_TIME_FAULT].severity = EG_SAFE_STOP;
     p->cause[EG_TIME_FAULT].clears = EG_CLEARS_BY_REARM)
EDGE(weak_controller, "cause: CONTROLLER_LOST", p->cause[EG_CONTROLLER_LOST].severity = EG_FALLBACK)

/* ------------------------------------------------------------------- parts */
static eg_label_t table[4];

static void labels(eg_policy_t *p, uint16_t n, int8_t last) {
  for (int i = 0; i < 4; i++) table[i] = (eg_label_t){EG_HOLD, 0};
  table[1].channel = last;
  p->label = table;
  p->labels = n;
}
EDGE(label_holds, NULL, labels(p, 2, -1))
EDGE(label_low, "labels: no such", labels(p, 2, -2))
EDGE(label_top, NULL, labels(p, 2, 1))
EDGE(label_high, "labels: no such", labels(p, 2, 2))
EDGE(first_label, "labels: no such", labels(p, 2, 0); table[0].channel = 2)
EDGE(label_higher, "labels: no such", labels(p, 2, 3))
EDGE(label_behind, NULL, labels(p, 1, 99))
EDGE(old_camera, NULL, p->camera[0].max_age_us = EG_AGE_MAX - 1)
EDGE(ageless_camera, "cameras: no age", p->camera[0].max_age_us = EG_AGE_MAX)
EDGE(second_camera, "cameras: no age", p->cameras = 2; p->camera[1].max_age_us = EG_AGE_MAX)
EDGE(camera_behind, NULL, p->camera[1].max_age_us = EG_AGE_MAX)
EDGE(old_member, NULL, p->member[0].max_age_us = p->member[0].deadline_us = EG_AGE_MAX - 1)
EDGE(ageless_member, "members: no age", p->member[0].max_age_us = EG_AGE_MAX)
EDGE(third_member, "members: no age", p->member[2].max_age_us = EG_AGE_MAX)
EDGE(no_deadline, "members: no age", p->member[2].deadline_us = EG_AGE_MAX)
EDGE(member_behind, NULL, p->member[3].max_age_us = EG_AGE_MAX)
EDGE(mode, "members: granted an unknown mode", p->member[0].modes = 0x1F)
EDGE(third_mode, "members: granted an unknown mode", p->member[2].modes = 0x80)
EDGE(mode_behind, NULL, p->member[3].modes = 0xFF)
EDGE(not_in_fallback, QUORUM, p->member[0].modes = 0xF & ~(1 << EG_FALLBACK))
EDGE(in_fallback_alone, NULL, p->member[0].modes = 1 << EG_FALLBACK)
EDGE(grant, "members: granted", p->member[0].may = 0x1F)
EDGE(third_grant, "members: granted", p->member[2].may = 0x2F)
EDGE(grant_behind, NULL, p->member[3].may = 0xFF)
EDGE(last_detector_cause, NULL, p->detector[0].cause = EG_CAUSES - 1)
EDGE(detector_cause, "detectors", p->detector[0].cause = EG_CAUSES)
EDGE(detector_far_cause, "detectors", p->detector[0].cause = EG_CAUSES + 1)
EDGE(detector_point, NULL, p->detector[0].max = p->detector[0].min)
EDGE(detector_range, "detectors", p->detector[0].max = p->detector[0].min - 1)
EDGE(detector_of_member, NULL, p->detector[0].member = 2)
EDGE(detector_member, "detectors", p->detector[0].member = 3)
EDGE(detector_far_member, "detectors", p->detector[0].member = 254)
EDGE(second_detector, "detectors", p->detectors = 2; p->detector[1].cause = EG_CAUSES)
EDGE(detector_behind, NULL, p->detector[1].cause = EG_CAUSES)

/* ---------------------------------------------------------------- channels */
static void values(eg_policy_t *p, int channel) {
  p->channel[channel].kind = EG_BY_VALUE;
  for (int i = 0; i < 3; i++) {
    p->member[i].kind = i == 0 ? EG_BY_VALUE : EG_BY_LABEL;
    p->member[i].may = (i == 0) == (channel == 0) ? 0x3 : 0xC;
  }
  for (int o = 0; o < EG_OPERATIONS; o++) {
    p->channel[channel].demand[o].quorum = 1;
    p->channel[1 - channel].demand[o].quorum = 2;
  }
}
EDGE(first_by_value, NULL, values(p, 0))
EDGE(second_by_value, NULL, values(p, 1))
EDGE(kind, KIND, values(p, 0); p->channel[0].kind = EG_BY_VALUE + 1)
EDGE(manoeuvre, NULL, p->channel[0].manoeuvre = 1)
EDGE(manoeuvres, KIND, p->channel[0].manoeuvre = 2)
EDGE(second_channel, KIND, p->channel[1].manoeuvre = 2)
EDGE(channel_behind, NULL, p->channel[2].manoeuvre = 2)
EDGE(mixed_kinds, MIXED, p->member[2].kind = EG_BY_VALUE)
EDGE(first_mixed, MIXED, p->member[0].kind = EG_BY_VALUE)
EDGE(mixed_values, MIXED, values(p, 0); p->member[1].may |= 1)
EDGE(mixed_behind, NULL, p->member[3].kind = EG_BY_VALUE; p->member[3].may = 0xF)
EDGE(measured, SIGNAL, p->channel[0].measured = 1)
EDGE(table_signal, SIGNAL, p->channel[0].table_signal = 1)
EDGE(no_dispersion, NULL, p->channel[0].dispersion = 0)
EDGE(some_dispersion, NULL, p->channel[0].dispersion = 1)
EDGE(dispersion, "channel: dispersion", p->channel[0].dispersion = -1)
EDGE(certainty_none, NULL, p->channel[0].demand[EG_RAISE].certainty = 0)
EDGE(certainty_low, "channel: certainty", p->channel[0].demand[EG_RAISE].certainty = -1)
EDGE(certainty_all, NULL, p->channel[0].demand[EG_LOWER].certainty = 65536)
EDGE(certainty_high, "channel: certainty", p->channel[0].demand[EG_LOWER].certainty = 65537)
EDGE(most_frames, NULL, p->channel[0].demand[EG_RAISE].frames = EG_MAX_RUN)
EDGE(no_frames, "channel: frames", p->channel[0].demand[EG_RAISE].frames = 0)
EDGE(many_frames, "channel: frames", p->channel[0].demand[EG_LOWER].frames = EG_MAX_RUN + 1)
EDGE(one_quorum, NULL, p->channel[0].demand[EG_LOWER].quorum = 1)
EDGE(no_quorum, "channel: quorum is", p->channel[0].demand[EG_LOWER].quorum = 0)
EDGE(high_quorum, QUORUM, p->channel[0].demand[EG_RAISE].quorum = 4)
EDGE(quorum_behind, QUORUM, p->channel[0].demand[EG_RAISE].quorum = 4; p->member[3].may = 0xF)
EDGE(raise_not_granted, QUORUM, p->member[1].may = 0xE)
EDGE(lower_is_granted, NULL, p->member[1].may = 0xE; p->channel[0].demand[EG_RAISE].quorum = 2)
EDGE(lower_not_granted, QUORUM, p->member[1].may = p->member[2].may = 0xD;
     p->channel[0].demand[EG_RAISE].quorum = 1)
EDGE(second_not_granted, QUORUM, p->member[1].may = 0xB)
EDGE(second_lower, QUORUM, p->member[1].may = p->member[2].may = 0x7;
     p->channel[1].demand[EG_RAISE].quorum = 1)

/* ------------------------------------------------------------------ tables */
static void rows(eg_limit_table_t *t, int n, int32_t first, int32_t apart) {
  t->rows = (uint8_t)n;
  for (int i = 0; i < EG_MAX_ROWS; i++) {
    t->row[i] = t->row[0];
    t->row[i].at = first + i * apart;
  }
}

static void two(eg_policy_t *p, int32_t first, int32_t second) {
  rows(&p->channel[0].nominal, 2, 0, 0);
  p->channel[0].nominal.row[0].at = first;
  p->channel[0].nominal.row[1].at = second;
}

static void rate(eg_policy_t *p, int32_t rise, int32_t fall) { /* 100: one step a period of 10 ms */
  p->channel[0].nominal.row[0].limits.rise = rise;
  p->channel[0].nominal.row[0].limits.fall = fall;
}
EDGE(no_rows, ROWS, p->channel[0].nominal.rows = 0)
EDGE(all_rows, NULL, rows(&p->channel[0].degraded, EG_MAX_ROWS, -3, 1))
EDGE(eight_rows, NULL, rows(&p->channel[0].degraded, 8, -3, 1))
EDGE(many_rows, ROWS, rows(&p->channel[0].degraded, EG_MAX_ROWS, -3, 1);
     p->channel[0].degraded.rows = 9)
EDGE(point, NULL, p->channel[0].nominal.row[0].limits.max = 0)
EDGE(reversed, "channel: range", p->channel[0].nominal.row[0].limits.max = -1)
EDGE(reversed_below, "channel: range", p->channel[0].nominal.row[0].limits.min = 36 * 65536 + 1)
EDGE(slowest, NULL, rate(p, 100, 100))
EDGE(slow_rise, RATE, rate(p, 99, 100))
EDGE(slow_fall, RATE, rate(p, 100, 99))
EDGE(no_rise, RATE, rate(p, 0, 100))
EDGE(backward_fall, RATE, rate(p, 100, -1000))
EDGE(tiny_degraded_fall, RATE, p->channel[0].degraded.row[0].limits.fall = 99)
EDGE(stop_lowest, NULL, p->channel[0].stop = 0)
EDGE(stop_below, STOP, p->channel[0].stop = -1)
EDGE(stop_highest, NULL, p->channel[0].stop = Q(22))
EDGE(stop_above, STOP, p->channel[0].stop = Q(22) + 1)
EDGE(stop_above_nominal, STOP, p->channel[0].degraded = p->channel[0].nominal;
     p->channel[0].stop = Q(36) + 1)
EDGE(stop_above_at_once, NULL, p->channel[0].degraded = p->channel[0].nominal;
     p->channel[0].stop = Q(36))
EDGE(next_row, NULL, two(p, 5, 6))
EDGE(next_row_below, NULL, two(p, -6, -5))
EDGE(same_row, ORDER, two(p, 5, 5))
EDGE(disorder, ORDER, two(p, 5, 4))
EDGE(far_disorder, ORDER, two(p, 5, -5))
EDGE(widest, NULL, two(p, -1, INT32_MAX - 1))
EDGE(wide, ORDER, two(p, -1, INT32_MAX))
EDGE(wider, ORDER, two(p, INT32_MIN, INT32_MAX))
EDGE(third_row, ORDER, rows(&p->channel[0].nominal, 3, 0, 10); p->channel[0].nominal.row[2].at = 10)
EDGE(third_row_reversed, "channel: range", rows(&p->channel[0].nominal, 3, 0, 10);
     p->channel[0].nominal.row[2].limits.max = -1)
EDGE(first_row_reversed, "channel: range", rows(&p->channel[0].nominal, 2, 0, 10);
     p->channel[0].nominal.row[0].limits.max = -1)
EDGE(row_behind, NULL, rows(&p->channel[0].nominal, 2, 0, 10);
     p->channel[0].nominal.row[2].limits.max = -1)
EDGE(last_table, RATE, p->channel[1].degraded.row[0].limits.rise = 1)

static const edge_t *const edges[] = {&no_members_edge,
                                      &one_member_edge,
                                      &all_members_edge,
                                      &many_members_edge,
                                      &no_channels_edge,
                                      &one_channel_edge,
                                      &all_channels_edge,
                                      &many_channels_edge,
                                      &no_cameras_edge,
                                      &all_cameras_edge,
                                      &many_cameras_edge,
                                      &all_signals_edge,
                                      &many_signals_edge,
                                      &all_detectors_edge,
                                      &many_detectors_edge,
                                      &no_period_edge,
                                      &short_period_edge,
                                      &longest_period_edge,
                                      &long_period_edge,
                                      &smallest_gap_edge,
                                      &small_gap_edge,
                                      &longest_gap_edge,
                                      &long_gap_edge,
                                      &no_standstill_edge,
                                      &wrong_standstill_edge,
                                      &other_standstill_edge,
                                      &far_standstill_edge,
                                      &zero_standstill_edge,
                                      &negative_standstill_edge,
                                      &missing_labels_edge,
                                      &missing_label_edge,
                                      &no_labels_edge,
                                      &worst_severity_edge,
                                      &severity_edge,
                                      &never_clears_edge,
                                      &clears_edge,
                                      &first_cause_edge,
                                      &last_cause_edge,
                                      &no_cause_behind_edge,
                                      &even_off_edge,
                                      &fast_off_edge,
                                      &soft_stop_edge,
                                      &hard_stop_edge,
                                      &soft_fallback_edge,
                                      &weak_stale_edge,
                                      &strong_stale_edge,
                                      &weak_time_edge,
                                      &strong_time_edge,
                                      &weak_controller_edge,
                                      &label_holds_edge,
                                      &label_low_edge,
                                      &label_top_edge,
                                      &label_high_edge,
                                      &first_label_edge,
                                      &label_higher_edge,
                                      &label_behind_edge,
                                      &old_camera_edge,
                                      &ageless_camera_edge,
                                      &second_camera_edge,
                                      &camera_behind_edge,
                                      &old_member_edge,
                                      &ageless_member_edge,
                                      &third_member_edge,
                                      &no_deadline_edge,
                                      &member_behind_edge,
                                      &mode_edge,
                                      &third_mode_edge,
                                      &mode_behind_edge,
                                      &not_in_fallback_edge,
                                      &in_fallback_alone_edge,
                                      &grant_edge,
                                      &third_grant_edge,
                                      &grant_behind_edge,
                                      &last_detector_cause_edge,
                                      &detector_cause_edge,
                                      &detector_far_cause_edge,
                                      &detector_point_edge,
                                      &detector_range_edge,
                                      &detector_of_member_edge,
                                      &detector_member_edge,
                                      &detector_far_member_edge,
                                      &second_detector_edge,
                                      &detector_behind_edge,
                                      &first_by_value_edge,
                                      &second_by_value_edge,
                                      &kind_edge,
                                      &manoeuvre_edge,
                                      &manoeuvres_edge,
                                      &second_channel_edge,
                                      &channel_behind_edge,
                                      &mixed_kinds_edge,
                                      &first_mixed_edge,
                                      &mixed_values_edge,
                                      &mixed_behind_edge,
                                      &measured_edge,
                                      &table_signal_edge,
                                      &no_dispersion_edge,
                                      &some_dispersion_edge,
                                      &dispersion_edge,
                                      &certainty_none_edge,
                                      &certainty_low_edge,
                                      &certainty_all_edge,
                                      &certainty_high_edge,
                                      &most_frames_edge,
                                      &no_frames_edge,
                                      &many_frames_edge,
                                      &one_quorum_edge,
                                      &no_quorum_edge,
                                      &high_quorum_edge,
                                      &quorum_behind_edge,
                                      &raise_not_granted_edge,
                                      &lower_is_granted_edge,
                                      &lower_not_granted_edge,
                                      &second_not_granted_edge,
                                      &second_lower_edge,
                                      &no_rows_edge,
                                      &all_rows_edge,
                                      &eight_rows_edge,
                                      &many_rows_edge,
                                      &point_edge,
                                      &reversed_edge,
                                      &reversed_below_edge,
                                      &slowest_edge,
                                      &slow_rise_edge,
                                      &slow_fall_edge,
                                      &no_rise_edge,
                                      &backward_fall_edge,
                                      &tiny_degraded_fall_edge,
                                      &stop_lowest_edge,
                                      &stop_below_edge,
                                      &stop_highest_edge,
                                      &stop_above_edge,
                                      &stop_above_nominal_edge,
                                      &stop_above_at_once_edge,
                                      &next_row_edge,
                                      &next_row_below_edge,
                                      &same_row_edge,
                                      &disorder_edge,
                                      &far_disorder_edge,
                                      &widest_edge,
                                      &wide_edge,
                                      &wider_edge,
                                      &third_row_edge,
                                      &third_row_reversed_edge,
                                      &first_row_reversed_edge,
                                      &row_behind_edge,
                                      &last_table_edge};

/* A policy as large as it gets: what one may write is what is checked. */
static void the_largest(void) {
  eg_policy_t p = fixture_policy();
  p.members = EG_MAX_MEMBERS;
  for (int i = 3; i < EG_MAX_MEMBERS; i++) p.member[i] = p.member[0];
  p.cameras = EG_MAX_CAMERAS;
  p.signals = EG_MAX_SIGNALS;
  p.channels = EG_MAX_CHANNELS;
  for (int i = 2; i < EG_MAX_CHANNELS; i++) p.channel[i] = p.channel[1];
  for (int i = 0; i < EG_MAX_MEMBERS; i++) p.member[i].may = 0xFF;
  CHECK(eg_policy_check(&p) == NULL, "%s", eg_policy_check(&p));
}

int main(void) {
  eg_policy_t good = fixture_policy();
  CHECK(eg_policy_check(&good) == NULL, "the good one: %s", eg_policy_check(&good));
  for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
    const edge_t *e = edges[i];
    eg_policy_t p = fixture_policy();
    e->change(&p);
    const char *said = eg_policy_check(&p);
    if (!e->refused) CHECK(said == NULL, "%s was refused: %s", e->name, said);
    if (e->refused) CHECK(said != NULL, "%s was accepted", e->name);
    if (e->refused)
      CHECK(strncmp(said, e->refused, strlen(e->refused)) == 0, "%s: %s", e->name, said);
  }
  the_largest();
  return 0;
}
