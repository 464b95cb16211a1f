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

uint32_t age_us(int64_t from_ns, int64_t to_ns) noexcept {
  if (to_ns < from_ns) return EG_AGE_MAX;
  // unsigned difference: right even when the two lie on both sides of int64's range
  uint64_t us = (static_cast<uint64_t>(to_ns) - static_cast<uint64_t>(from_ns)) / 1000;
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

void Border::arrived(int member, int64_t capture_ns, int64_t ready_ns) {
  auto i = static_cast<size_t>(member);
  Stamps &s = member_[i];
  s.capture_ns = capture_ns;
  s.ready_ns = ready_ns;
  s.pending = false;
  input_.member[i].serial++;
  input_.member[i].latency_us = age_us(capture_ns, ready_ns);
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
  eg_evidence_t &e = input_.member[i].evidence;
  edgeguard::evidence(policy_.scores[i], buffer_[i].data(), &e);
  arrived(member, capture_ns, ready_ns);
  std::array<int64_t, 5> q16{};
  for (size_t f = 0; f < kScoreFeatures; f++) q16[f] = one_member_feature(e, f);
  detectors_of(true, member, q16, e.bad == 0);
}

void Border::unreadable(int member, int64_t capture_ns, int64_t ready_ns, bool empty) {
  auto i = static_cast<size_t>(member);
  input_.member[i].evidence = eg_evidence_t{};
  input_.member[i].evidence.label = -1;
  input_.member[i].evidence.bad = empty ? 0 : policy_.scores[i].n;
  input_.member[i].evidence.distinct = empty ? policy_.table.member[i].min_distinct : 0;
  input_.member[i].evidence.sum = empty ? policy_.table.member[i].sum_min : 0;
  arrived(member, capture_ns, ready_ns);
}

void Border::lost(int member, bool is_lost) {
  input_.member[static_cast<size_t>(member)].present = !is_lost;
  if (is_lost) member_[static_cast<size_t>(member)].pending = false;
}

void Border::frame(int camera, uint64_t hash, const double *features, int64_t capture_ns) {
  auto i = static_cast<size_t>(camera);
  input_.frame[i].serial++;
  input_.frame[i].hash = hash;
  frame_ns_[i] = capture_ns;
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
    input_.detector[d].validity = good ? EG_VALID : EG_INVALID;
    input_.detector[d].value = static_cast<int32_t>(q16[source.feature]);
  }
}

void Border::signal(int index, double value) {
  input_.signal[static_cast<size_t>(index)] = to_number(value);
}

void Border::no_signal(int index) {
  input_.signal[static_cast<size_t>(index)] = eg_number_t{EG_INVALID, 0};
}

bool Border::rule(int channel, double value) {
  eg_number_t n = to_number(value);
  input_.rule[static_cast<size_t>(channel)] = n.value;
  return n.validity == EG_VALID;
}

// A stamp after "now" gives EG_AGE_MAX, which the core refuses.
void Border::stamp_ages(int64_t now_ns) {
  for (size_t i = 0; i < policy_.members.size(); i++) {
    const Stamps &s = member_[i];
    input_.member[i].age_us = age_us(s.capture_ns, now_ns);
    input_.member[i].pending_us = s.pending ? age_us(s.pending_since_ns, now_ns) : 0;
  }
  for (size_t i = 0; i < policy_.cameras.size(); i++)
    input_.frame[i].age_us = age_us(frame_ns_[i], now_ns);
}

uint32_t Border::elapsed(bool time_known, int64_t t_ns) {
  if (!time_known) return EG_AGE_MAX;
  uint32_t us = started_ ? age_us(last_ns_, t_ns) : policy_.table.period_us;
  started_ = true;
  last_ns_ = t_ns; // also after a step back: the new clock is the clock from now on
  return us;
}

eg_decision_t Border::decide(bool time_known, int64_t t_ns, bool engaged, bool rule_ok,
                             int64_t rule_ns) {
  input_.elapsed_us = elapsed(time_known, t_ns);
  input_.engaged = engaged;
  input_.rule_ok = rule_ok;
  input_.rule_us = age_us(0, rule_ns);
  stamp_ages(time_known ? t_ns : last_ns_);
  eg_decision_t out;
  eg_decide(&policy_.table, &state_, &input_, &out);
  return out;
}

}  // namespace edgeguard
