// SPDX-License-Identifier: Apache-2.0
#include "border.hpp"

#include <cmath>
#include <utility>

namespace edgeguard {

eg_number_t to_number(double value) noexcept {
  eg_number_t out{EG_INVALID, 0};
  if (!std::isfinite(value) || std::fabs(value) >= 32767.0) return out;
  out.validity = EG_VALID;
  out.value = static_cast<int32_t>(std::lrint(value * EG_ONE));
  return out;
}

uint32_t age_us(int64_t from_ns, int64_t to_ns, int64_t slack_ns) noexcept {
  // unsigned differences: right even when the two lie on both sides of int64's range
  auto from = static_cast<uint64_t>(from_ns), to = static_cast<uint64_t>(to_ns);
  if (to_ns < from_ns) return from - to <= static_cast<uint64_t>(slack_ns) ? 0 : EG_AGE_MAX;
  uint64_t us = (to - from) / 1000;
  return us >= EG_AGE_MAX ? EG_AGE_MAX : static_cast<uint32_t>(us);
}

static size_t bytes_of(const ScoreSpec &s) {
  return static_cast<size_t>(s.n) * (s.dtype == 0 ? sizeof(float) : 1);
}

Border::Border(HostPolicy policy) : policy_(std::move(policy)) {
  policy_.table.label = policy_.labels.data();
  policy_.table.labels = static_cast<uint16_t>(policy_.labels.size());
  for (const ScoreSpec &s : policy_.scores) buffer_.emplace_back(bytes_of(s));
  for (size_t i = 0; i < policy_.scores.size(); i++) input_.member[i].present = 1;
  eg_init(&policy_.table, &state_);
}

void Border::handed(int member, int64_t t_ns) {
  Stamps &s = member_[static_cast<size_t>(member)];
  if (!s.pending) s.pending_since_ns = t_ns;
  s.pending = true;
}

// What a newer result replaces before a decision saw it still counts for what it was.
void Border::arrived(int member, const eg_evidence_t &evidence, int64_t capture_ns,
                     int64_t ready_ns) {
  auto i = static_cast<size_t>(member);
  Stamps &s = member_[i];
  eg_suggestion_t &suggestion = input_.member[i];
  if (s.fresh)
    input_.missed |= eg_inference_faults(&policy_.table, static_cast<uint8_t>(member),
                                         eg_mode(&policy_.table, &state_), &suggestion);
  s.capture_ns = capture_ns;
  s.ready_ns = ready_ns;
  s.pending = false;
  s.fresh = true;
  suggestion.serial++;
  suggestion.age_us = 0; // known at the decision
  suggestion.latency_us = age_us(capture_ns, ready_ns);
  suggestion.evidence = evidence;
}

static int64_t one_member_feature(const eg_evidence_t &e, size_t feature) {
  switch (feature) {
  case kMargin: return e.margin;
  case kEntropy: return e.entropy;
  case kEnergy: return e.energy;
  default: return e.certainty;
  }
}

void Border::scored(int member, int64_t capture_ns, int64_t ready_ns) {
  auto i = static_cast<size_t>(member);
  eg_evidence_t e;
  edgeguard::evidence(policy_.scores[i], buffer_[i].data(), &e);
  arrived(member, e, capture_ns, ready_ns);
  std::array<int64_t, 5> q16{};
  for (size_t f = 0; f < kScoreFeatures; f++) q16[f] = one_member_feature(e, f);
  detectors_of(true, member, q16, e.bad == 0);
}

void Border::unreadable(int member, int64_t capture_ns, int64_t ready_ns, bool empty) {
  auto i = static_cast<size_t>(member);
  eg_evidence_t e{};
  e.label = -1;
  e.bad = empty ? 0 : policy_.scores[i].n;
  e.distinct = empty ? policy_.table.member[i].min_distinct : 0;
  e.sum = empty ? policy_.table.member[i].sum_min : 0;
  arrived(member, e, capture_ns, ready_ns);
  if (!empty) detectors_of(true, member, {}, false);
}

void Border::lost(int member, bool is_lost) {
  input_.member[static_cast<size_t>(member)].present = !is_lost;
  if (is_lost) member_[static_cast<size_t>(member)].pending = false;
}

void Border::frame(int camera, const eg_frame_t &seen, const double *features, int64_t capture_ns) {
  auto i = static_cast<size_t>(camera);
  eg_frame_t &frame = input_.frame[i];
  if (shot_[i].fresh && eg_same_picture(&frame, &seen)) input_.missed |= EG_BIT(EG_FROZEN_INPUT);
  uint32_t serial = frame.serial + 1;
  frame = seen;
  frame.serial = serial;
  shot_[i] = {capture_ns, true};
  if (!features) return;
  std::array<int64_t, 5> q16{};
  bool good = true;
  for (size_t f = 0; f < kImageFeatures; f++) {
    eg_number_t n = to_number(features[f]);
    good = good && n.validity == EG_VALID;
    q16[f] = n.value;
  }
  detectors_of(false, camera, q16, good);
}

void Border::detectors_of(bool of_member, int index, const std::array<int64_t, 5> &q16, bool good) {
  for (size_t d = 0; d < policy_.detectors.size(); d++) {
    const DetectorSource &source = policy_.detectors[d];
    if (source.of_member != of_member || source.index != index) continue;
    const eg_detector_t &row = policy_.table.detector[d];
    eg_number_t &number = input_.detector[d];
    if (measured_[d] && !eg_number_ok(&number, row.min, row.max))
      input_.missed |= EG_BIT(row.cause);
    number.validity = good ? EG_VALID : EG_INVALID;
    number.value = static_cast<int32_t>(q16[source.feature]);
    measured_[d] = true;
  }
}

void Border::signal(int index, double value) {
  auto i = static_cast<size_t>(index);
  const eg_signal_t &declared = policy_.table.signal[i];
  input_.signal[i] = to_number(value);
  if (!eg_number_ok(&input_.signal[i], declared.min, declared.max)) no_signal(index);
}

void Border::no_signal(int index) {
  input_.signal[static_cast<size_t>(index)] = eg_number_t{EG_INVALID, 0};
}

void Border::engaged(bool is, bool unknown) {
  input_.engaged = is;
  input_.engaged_unknown = unknown;
}

bool Border::rule(int channel, double value) {
  eg_number_t n = to_number(value);
  input_.rule[static_cast<size_t>(channel)] = n.value;
  return n.validity == EG_VALID;
}

// Others observe while one thread decides, so a stamp may lie a little after "now"; one that lies
// further ahead than a control period gives EG_AGE_MAX, which the core refuses.
void Border::stamp_ages(int64_t now_ns) {
  int64_t slack_ns = int64_t{1000} * policy_.table.period_us;
  for (size_t i = 0; i < policy_.members.size(); i++) {
    Stamps &s = member_[i];
    input_.member[i].age_us = age_us(s.capture_ns, now_ns, slack_ns);
    input_.member[i].pending_us = s.pending ? age_us(s.pending_since_ns, now_ns, slack_ns) : 0;
    s.fresh = false;
  }
  for (size_t i = 0; i < policy_.cameras.size(); i++) {
    input_.frame[i].age_us = age_us(shot_[i].capture_ns, now_ns, slack_ns);
    shot_[i].fresh = false;
  }
}

// Whole microseconds; the rest is kept for the next time, so that ages do not drift.
uint32_t Border::elapsed(bool time_known, int64_t t_ns) {
  if (!time_known) return EG_AGE_MAX;
  uint32_t us = started_ ? age_us(last_ns_, t_ns) : policy_.table.period_us;
  bool forward = started_ && us != EG_AGE_MAX;
  last_ns_ = forward ? last_ns_ + int64_t{1000} * us : t_ns; // after a step back: the new clock
  started_ = true;
  return us;
}

eg_decision_t Border::decide(bool time_known, int64_t t_ns, bool rule_ok, int64_t rule_ns) {
  input_.elapsed_us = elapsed(time_known, t_ns);
  input_.rule_ok = rule_ok;
  input_.rule_us = age_us(0, rule_ns);
  stamp_ages(time_known ? t_ns : last_ns_);
  eg_decision_t out;
  eg_decide(&policy_.table, &state_, &input_, &out);
  input_.missed = 0;
  input_.question = 0;
  measured_ = {};
  return out;
}

} // namespace edgeguard
