// SPDX-License-Identifier: Apache-2.0
#include "border.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "tape.hpp"

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
  policy_.looks_through.resize(policy_.scores.size(), EG_NONE);
  for (const ScoreSpec &s : policy_.scores) buffer_.emplace_back(bytes_of(s));
  for (size_t i = 0; i < policy_.scores.size(); i++) input_.member[i].present = 1;
  for (const AssociationSpec &a : policy_.associations) associations_.emplace_back(a);
  for (size_t d = 0; d < policy_.detectors.size(); d++) // until it is heard, nothing vouches for it
    if (policy_.detectors[d].source == Source::kGiven) input_.detector[d].validity = EG_INVALID;
  eg_init(&policy_.table, &state_);
}

void Border::handed(int member, int64_t t_ns) {
  Stamps &s = member_[static_cast<size_t>(member)];
  if (!s.pending) s.pending_since_ns = t_ns;
  s.pending = true;
}

// What the core will make of a result, as far as it can be told before it does. It sees one result
// a decision, so one that it would refuse must not take the place of one that it would not.
Border::Worth Border::worth(int member, const eg_suggestion_t &suggestion, int64_t capture_ns) {
  Stamps &s = member_[static_cast<size_t>(member)];
  uint32_t faults = eg_inference_faults(&policy_.table, static_cast<uint8_t>(member),
                                        eg_mode(&policy_.table, &state_), &suggestion);
  bool older = capture_ns < s.newest_ns, refused = older || (faults & EG_BIT(EG_LATE));
  if (refused && s.fresh && (older || s.worth == Worth::kSeen)) {
    input_.missed |= faults;
    return Worth::kSuperseded;
  }
  if (!older) s.newest_ns = capture_ns;
  return refused ? Worth::kRefused : Worth::kSeen;
}

// What a newer result replaces before a decision saw it still counts for what it was.
Border::Worth Border::arrived(int member, const eg_evidence_t &evidence, int64_t capture_ns,
                              int64_t ready_ns) {
  auto i = static_cast<size_t>(member);
  Stamps &s = member_[i];
  eg_suggestion_t &suggestion = input_.member[i], next = suggestion;
  next.age_us = 0; // known at the decision
  next.latency_us = age_us(capture_ns, ready_ns);
  next.evidence = evidence;
  Worth is = worth(member, next, capture_ns);
  s.pending = false;
  s.took = is == Worth::kSeen;
  if (is == Worth::kSuperseded) return is;
  if (s.fresh)
    input_.missed |= eg_inference_faults(&policy_.table, static_cast<uint8_t>(member),
                                         eg_mode(&policy_.table, &state_), &suggestion);
  if (capture_ns != s.capture_ns) s.known_ns = capture_ns; // a second look is of the same age
  s.capture_ns = capture_ns;
  s.ready_ns = ready_ns;
  s.fresh = true;
  s.worth = is;
  next.serial++;
  suggestion = next;
  if (is == Worth::kRefused)
    return s.basis_ns == kNever ? Worth::kSeen : is; // nothing to vouch for
  s.basis_ns = capture_ns;
  s.spoilt = spoilt(member, capture_ns);
  return is;
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
  Worth is = arrived(member, e, capture_ns, ready_ns);
  std::array<int64_t, 5> q16{};
  for (size_t f = 0; f < kScoreFeatures; f++) q16[f] = one_member_feature(e, f);
  if (tape_ && is != Worth::kSuperseded)
    tape_->scores(static_cast<uint8_t>(member), input_.member[i].serial,
                  static_cast<uint8_t>(policy_.scores[i].dtype), buffer_[i].data(),
                  buffer_[i].size());
  detectors_of(Source::kMember, member, q16, e.bad == 0, is);
  embeddings_of(member, e, is);
}

void Border::unreadable(int member, int64_t capture_ns, int64_t ready_ns, bool empty) {
  auto i = static_cast<size_t>(member);
  eg_evidence_t e{};
  e.label = -1;
  e.bad = empty ? 0 : policy_.scores[i].n;
  e.distinct = empty ? policy_.table.member[i].min_distinct : 0;
  e.sum = empty ? policy_.table.member[i].sum_min : 0;
  Worth is = arrived(member, e, capture_ns, ready_ns);
  if (empty) return;
  detectors_of(Source::kMember, member, {}, false, is);
  embeddings_of(member, e, is);
}

void Border::lost(int member, bool is_lost) {
  input_.member[static_cast<size_t>(member)].present = !is_lost;
  if (is_lost) member_[static_cast<size_t>(member)].pending = false;
}

// A frame that comes after a newer one says nothing of what the camera sees now.
void Border::frame(int camera, const eg_frame_t &seen, const double *features, int64_t capture_ns) {
  auto i = static_cast<size_t>(camera);
  if (capture_ns < shot_[i].newest_ns) return;
  eg_frame_t &frame = input_.frame[i];
  if (shot_[i].fresh && eg_same_picture(&frame, &seen)) input_.missed |= EG_BIT(EG_FROZEN_INPUT);
  uint32_t serial = frame.serial + 1;
  frame = seen;
  frame.serial = serial;
  shot_[i].capture_ns = shot_[i].newest_ns = capture_ns;
  shot_[i].fresh = true;
  if (!features) return;
  std::array<int64_t, 5> q16{};
  bool good = true;
  for (size_t f = 0; f < kImageFeatures; f++) {
    eg_number_t n = to_number(features[f]);
    good = good && n.validity == EG_VALID;
    q16[f] = n.value;
  }
  detectors_of(Source::kCamera, camera, q16, good, Worth::kSeen);
  note_spoilt(i, capture_ns);
}

void Border::note_spoilt(size_t camera, int64_t capture_ns) {
  uint32_t causes = 0;
  for (size_t d = 0; d < policy_.detectors.size(); d++) {
    const DetectorSource &s = policy_.detectors[d];
    const eg_detector_t &row = policy_.table.detector[d];
    if (s.source == Source::kCamera && s.index == camera &&
        !eg_number_ok(&input_.detector[d], row.min, row.max))
      causes |= EG_BIT(row.cause);
  }
  if (!causes) return;
  Shot &shot = shot_[camera];
  shot.last = (shot.last + 1) % kSpoilt;
  Spoilt &oldest = shot.spoilt[shot.last];
  shot.forgotten.capture_ns = std::max(shot.forgotten.capture_ns, oldest.capture_ns);
  shot.forgotten.causes |= oldest.causes;
  oldest = {capture_ns, causes};
}

// An answer about a picture that was not to be trusted is not, however good the next picture is;
// nor is one from so long ago that nobody knows.
uint32_t Border::spoilt(int member, int64_t capture_ns) const {
  uint8_t camera = policy_.looks_through[static_cast<size_t>(member)];
  if (camera == EG_NONE || capture_ns > shot_[camera].spoilt[shot_[camera].last].capture_ns)
    return 0;
  const Shot &shot = shot_[camera];
  uint32_t causes = capture_ns <= shot.forgotten.capture_ns ? shot.forgotten.causes : 0;
  for (const Spoilt &one : shot.spoilt) // several where several parts of it were looked at
    if (one.capture_ns == capture_ns) causes |= one.causes;
  return causes;
}

// A number that a newer one replaces before a decision saw it still counts for what it was. What
// the core refuses leaves the suggestion before it in force, and so what was found of that.
void Border::put(size_t detector, eg_number_t number, Worth worth) {
  const eg_detector_t &row = policy_.table.detector[detector];
  eg_number_t &kept = input_.detector[detector];
  if (worth != Worth::kSeen && !eg_number_ok(&kept, row.min, row.max)) return;
  if (measured_[detector] && !eg_number_ok(&kept, row.min, row.max)) {
    input_.missed |= EG_BIT(row.cause);
    missed_ |= EG_BIT(detector);
  }
  if (measured_[detector] && speaks(detector)) remember(detector);
  kept = number;
  measured_[detector] = true;
}

void Border::detectors_of(Source source, int index, const std::array<int64_t, 5> &q16, bool good,
                          Worth worth) {
  for (size_t d = 0; d < policy_.detectors.size(); d++) {
    const DetectorSource &s = policy_.detectors[d];
    if (s.source != source || s.index != index) continue;
    put(d, {good ? EG_VALID : EG_INVALID, static_cast<int32_t>(q16[s.feature])}, worth);
  }
}

void Border::embeddings_of(int member, const eg_evidence_t &e, Worth worth) {
  for (size_t d = 0; d < policy_.detectors.size(); d++) {
    const DetectorSource &s = policy_.detectors[d];
    if (s.source != Source::kEmbedding || s.index != member) continue;
    const Embedded &here = embedded_[d];
    bool readable = e.bad == 0 && here.distance && here.memory;
    double energy = static_cast<double>(e.energy) / EG_ONE;
    put(d,
        readable ? to_number(here.distance->of(here.memory, energy)) : eg_number_t{EG_INVALID, 0},
        worth);
  }
}

void Border::embedding(int detector, EmbeddingFit fit, const void *memory) {
  auto distance = std::make_unique<EmbeddingDistance>(std::move(fit));
  embedded_[static_cast<size_t>(detector)] = {std::move(distance), memory};
}

void Border::measure(int detector, double value, int64_t t_ns) {
  put(static_cast<size_t>(detector), to_number(value), Worth::kSeen);
  given_ns_[static_cast<size_t>(detector)] = t_ns;
}

void Border::expire_given(int64_t now_ns) {
  int64_t slack_ns = int64_t{1000} * policy_.table.period_us;
  for (size_t d = 0; d < policy_.detectors.size(); d++) {
    const DetectorSource &s = policy_.detectors[d];
    if (s.source == Source::kGiven && age_us(given_ns_[d], now_ns, slack_ns) > s.max_age_us)
      input_.detector[d] = {EG_INVALID, 0};
  }
}

// A signal, the command in force, or what a member that is heard says, all Q16.16.
eg_number_t Border::operand(Operand kind, uint8_t index) const {
  if (kind == Operand::kSignal) return input_.signal[index];
  if (kind == Operand::kCommand) {
    const eg_channel_state_t &c = state_.channel[index];
    return {c.started ? EG_VALID : EG_ABSENT, c.last};
  }
  const eg_member_state_t &m = state_.member[index];
  if (!m.held) return {EG_ABSENT, 0};
  if (policy_.table.member[index].kind == EG_BY_VALUE) return {EG_VALID, m.evidence.value};
  const eg_label_t &label = policy_.table.label[m.evidence.label];
  return {label.channel < 0 ? EG_ABSENT : EG_VALID, label.value};
}

void Border::associate() {
  for (size_t d = 0; d < policy_.detectors.size(); d++) {
    const DetectorSource &s = policy_.detectors[d];
    if (s.source != Source::kAssociation) continue;
    Association &a = associations_[s.index];
    const AssociationSpec &spec = a.spec();
    eg_number_t first = operand(spec.kind[0], spec.index[0]);
    eg_number_t second = operand(spec.kind[1], spec.index[1]);
    input_.detector[d] = a.step(first, second, input_.elapsed_us);
  }
}

// As the core's eg_numbers_check judges it, after the core has.
bool Border::speaks(size_t detector) const {
  const eg_detector_t &row = policy_.table.detector[detector];
  const eg_number_t &n = input_.detector[detector];
  bool abstains = row.member != EG_NONE && !state_.member[row.member].held;
  return n.validity == EG_INVALID || (n.validity == EG_VALID && !abstains);
}

// What this decision's detectors said: for its reader, and for what watches them over time.
void Border::look_back() {
  tripped_ = missed_;
  missed_ = 0;
  for (size_t d = 0; d < policy_.detectors.size(); d++) {
    if (!speaks(d)) continue;
    const eg_detector_t &row = policy_.table.detector[d];
    const eg_number_t &n = input_.detector[d];
    if (!eg_number_ok(&n, row.min, row.max)) tripped_ |= EG_BIT(d);
    remember(d);
  }
}

void Border::remember(size_t detector) {
  const eg_number_t &n = input_.detector[detector];
  Extremes &seen = extremes_[detector];
  seen.spoke = true;
  seen.unreadable |= n.validity == EG_INVALID;
  if (n.validity != EG_VALID) return;
  seen.least = std::min(seen.least, n.value);
  seen.most = std::max(seen.most, n.value);
}

void Border::signal(int index, double value) {
  auto i = static_cast<size_t>(index);
  const eg_signal_t &declared = policy_.table.signal[i];
  input_.signal[i] = to_number(value);
  if (!eg_number_ok(&input_.signal[i], declared.min, declared.max)) no_signal(index);
}

bool Border::believes(int index, double *value) const {
  const eg_signal_t &declared = policy_.table.signal[static_cast<size_t>(index)];
  eg_number_t n = to_number(*value);
  if (!eg_number_ok(&n, declared.min, declared.max)) return false;
  double steps = *value * EG_ONE;
  bool itself = steps >= declared.min && steps <= declared.max && std::isnormal(*value);
  if (!itself) *value = static_cast<double>(n.value) / EG_ONE; // beyond an end, -0 or denormal
  return true;
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
    input_.member[i].age_us = age_us(s.known_ns, now_ns, slack_ns);
    if (input_.member[i].age_us == 0) s.known_ns = std::min(s.known_ns, now_ns);
    input_.member[i].pending_us = s.pending ? age_us(s.pending_since_ns, now_ns, slack_ns) : 0;
    s.newest_ns = std::min(s.newest_ns, now_ns); // one from the future outdates what is past alone
    bool of_use = age_us(s.basis_ns, now_ns, slack_ns) <= policy_.table.member[i].max_age_us;
    if (of_use) input_.missed |= s.spoilt;
    if (!of_use) s.basis_ns = kNever;
    s.fresh = false;
  }
  for (size_t i = 0; i < policy_.cameras.size(); i++) {
    input_.frame[i].age_us = age_us(shot_[i].capture_ns, now_ns, slack_ns);
    shot_[i].newest_ns = std::min(shot_[i].newest_ns, now_ns);
    int64_t &forgotten_ns = shot_[i].forgotten.capture_ns; // of a clock that ran back since: past
    forgotten_ns = std::min(forgotten_ns, now_ns);
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
  hasty_ = us < policy_.table.period_us / 100 ? std::min(hasty_ + 1, kHasty) : 0;
  if (hasty_ == kHasty) note(EG_BIT(EG_TIME_FAULT));
  return us;
}

void Border::arm() {
  eg_arm(&policy_.table, &state_);
  if (tape_) tape_->operation(EG_RECORD_ARM, 0);
}

eg_rearm_t Border::rearm() {
  eg_rearm_t result = eg_rearm(&policy_.table, &state_);
  if (tape_) tape_->operation(EG_RECORD_REARM, static_cast<uint8_t>(result));
  return result;
}

void Border::takeover() {
  eg_takeover(&state_);
  if (tape_) tape_->operation(EG_RECORD_TAKEOVER, 0);
}

bool Border::record(Tape *tape) {
  tape_ = tape && tape->begin(policy_.table, state_) ? tape : nullptr;
  return tape_ == tape;
}

eg_decision_t Border::decide(bool time_known, int64_t t_ns, bool rule_ok, int64_t rule_ns) {
  input_.elapsed_us = elapsed(time_known, t_ns);
  input_.rule_ok = rule_ok;
  input_.rule_us = age_us(0, rule_ns);
  stamp_ages(time_known ? t_ns : last_ns_);
  expire_given(time_known ? t_ns : last_ns_);
  associate();
  if (tape_ && tape_->lost()) note(EG_BIT(EG_RECORDER_LOST)); // told of here, be it one record
  if (tape_) tape_->state_due(policy_.table, state_);         // forgets it, once the gap is kept
  eg_decision_t out;
  eg_decide(&policy_.table, &state_, &input_, &out);
  if (tape_) tape_->decision(policy_.table, time_known ? t_ns : last_ns_, input_, out);
  look_back();
  input_.missed = 0;
  input_.question = 0;
  measured_ = {};
  return out;
}

} // namespace edgeguard
