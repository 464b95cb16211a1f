/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "check.h"
#include "fixture.h"

typedef void (*spoil_t)(eg_policy_t *p);

#define SPOIL(name, statement)                                                                     \
  static void name(eg_policy_t *p) {                                                               \
    statement;                                                                                     \
  }
SPOIL(no_members, p->members = 0)
SPOIL(many_members, p->members = EG_MAX_MEMBERS + 1)
SPOIL(no_channels, p->channels = 0)
SPOIL(many_cameras, p->cameras = EG_MAX_CAMERAS + 1)
SPOIL(many_signals, p->signals = EG_MAX_SIGNALS + 1)
SPOIL(many_detectors, p->detectors = EG_MAX_DETECTORS + 1)
SPOIL(no_period, p->period_us = 0)
SPOIL(small_gap, p->max_gap_us = p->period_us - 1)
SPOIL(negative_standstill, p->standstill_below = -1)
SPOIL(long_period, p->period_us = p->max_gap_us = 1000001)
SPOIL(long_gap, p->max_gap_us = 60000001)
SPOIL(ageless_member, p->member[0].max_age_us = EG_AGE_MAX)
SPOIL(no_deadline, p->member[0].deadline_us = EG_AGE_MAX)
SPOIL(ageless_camera, p->camera[0].max_age_us = EG_AGE_MAX)
SPOIL(stop_outside, p->channel[0].stop = -1)
SPOIL(wide_table, p->channel[0].nominal.rows = 2;
      p->channel[0].nominal.row[1] = p->channel[0].nominal.row[0];
      p->channel[0].nominal.row[0].at = INT32_MIN; p->channel[0].nominal.row[1].at = 0)
SPOIL(detector_member, p->detector[0].member = 3)
SPOIL(no_standstill, p->standstill_signal = 1)
SPOIL(no_labels, p->label = NULL)
SPOIL(severity, p->cause[EG_LATE].severity = EG_SAFE_STOP + 1)
SPOIL(clears, p->cause[EG_LATE].clears = EG_CLEARS_NEVER + 1)
SPOIL(fast_off, p->cause[EG_STALE_MODEL].off_us = p->cause[EG_STALE_MODEL].on_us - 1)
SPOIL(soft_stop, p->cause[EG_CONTROLLER_LOST].clears = EG_CLEARS_ITSELF)
SPOIL(weak_stale, p->cause[EG_STALE_MODEL].severity = EG_DEGRADED)
SPOIL(weak_time, p->cause[EG_TIME_FAULT].severity = EG_DEGRADED)
SPOIL(weak_controller, p->cause[EG_CONTROLLER_LOST].severity = EG_FALLBACK)
SPOIL(kind, p->channel[0].kind = EG_BY_VALUE + 1)
SPOIL(mixed_kinds, p->member[2].kind = EG_BY_VALUE)
SPOIL(measured, p->channel[0].measured = 1)
SPOIL(table_signal, p->channel[0].table_signal = 1)
SPOIL(dispersion, p->channel[0].dispersion = -1)
SPOIL(certainty_low, p->channel[0].demand[EG_RAISE].certainty = -1)
SPOIL(certainty_high, p->channel[0].demand[EG_LOWER].certainty = EG_ONE + 1)
SPOIL(no_quorum, p->channel[0].demand[EG_LOWER].quorum = 0)
SPOIL(high_quorum, p->channel[0].demand[EG_RAISE].quorum = 4)
SPOIL(ungranted_quorum, p->member[1].may = 0xE)
SPOIL(no_rows, p->channel[0].nominal.rows = 0)
SPOIL(many_rows, p->channel[0].degraded.rows = EG_MAX_ROWS + 1)
SPOIL(reversed, p->channel[0].nominal.row[0].limits.min = Q(37))
SPOIL(no_rise, p->channel[0].nominal.row[0].limits.rise = 0)
SPOIL(tiny_fall, p->channel[0].degraded.row[0].limits.fall = 99) /* under one step a period */
SPOIL(disorder, p->channel[0].nominal.rows = 2;
      p->channel[0].nominal.row[1] = p->channel[0].nominal.row[0])
SPOIL(label_low, static eg_label_t l; l.channel = -2; p->label = &l; p->labels = 1)
SPOIL(label_high, static eg_label_t l; l.channel = 2; p->label = &l; p->labels = 1)
SPOIL(may, p->member[0].may = 0x1F)
SPOIL(detector_cause, p->detector[0].cause = EG_CAUSES)
SPOIL(detector_range, p->detector[0].max = p->detector[0].min - 1)

int main(void) {
  const spoil_t spoils[] = {no_members,     many_members,    no_channels,
                            many_cameras,   many_signals,    many_detectors,
                            no_period,      small_gap,       negative_standstill,
                            long_period,    long_gap,        ageless_member,
                            no_deadline,    ageless_camera,  stop_outside,
                            wide_table,     detector_member, no_standstill,
                            no_labels,      severity,        clears,
                            fast_off,       soft_stop,       weak_stale,
                            weak_time,      weak_controller, kind,
                            mixed_kinds,    measured,        table_signal,
                            dispersion,     certainty_low,   certainty_high,
                            no_quorum,      high_quorum,     ungranted_quorum,
                            no_rows,        many_rows,       reversed,
                            no_rise,        tiny_fall,       disorder,
                            label_low,      label_high,      may,
                            detector_cause, detector_range};
  eg_policy_t good = fixture_policy();
  CHECK(eg_policy_check(&good) == NULL, "the good one: %s", eg_policy_check(&good));
  for (size_t i = 0; i < sizeof spoils / sizeof *spoils; i++) {
    eg_policy_t p = fixture_policy();
    spoils[i](&p);
    CHECK(eg_policy_check(&p) != NULL, "spoil %zu was accepted", i);
  }
  return 0;
}
