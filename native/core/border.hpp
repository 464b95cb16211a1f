// SPDX-License-Identifier: Apache-2.0
// The border between the floating world and the core: every float and every time stamp becomes an
// integer here, once, and whatever is not a finite number in range becomes EG_INVALID.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "evidence.hpp"

extern "C" {
#include "edgeguard/core.h"
}

namespace edgeguard {

enum Feature { kMean, kContrast, kBlackShare, kSaturatedShare, kSharpness, kImageFeatures };
enum ScoreFeature { kMargin, kEntropy, kEnergy, kCertainty, kScoreFeatures };

struct DetectorSource {
  bool of_member;
  uint8_t index;
  uint8_t feature;
};

// A policy with what only the host needs: names, score layouts, where detectors read.
struct HostPolicy {
  eg_policy_t table{};
  std::vector<eg_label_t> labels;
  std::vector<std::string> members, cameras, signals, channels;
  std::vector<ScoreSpec> scores;
  std::vector<DetectorSource> detectors;
};

class Border {
public:
  explicit Border(HostPolicy policy);
  Border(const Border &) = delete; // the policy's label table points into this object
  Border &operator=(const Border &) = delete;

  const HostPolicy &policy() const { return policy_; }
  void *scores(int member) { return buffer_[static_cast<size_t>(member)].data(); }

  void handed(int member, int64_t t_ns);
  // The score buffer of this member holds a new inference: evidence is taken from it.
  void scored(int member, int64_t capture_ns, int64_t ready_ns);
  // A result that cannot be read as scores at all counts as insane, an empty one as nothing.
  void unreadable(int member, int64_t capture_ns, int64_t ready_ns, bool empty);
  void lost(int member, bool is_lost);
  void frame(int camera, const eg_frame_t &seen, const double *features, int64_t capture_ns);

  void signal(int index, double value);
  void no_signal(int index);
  bool rule(int channel, double value); // false: not a finite number in range
  void engaged(bool is, bool unknown);
  eg_decision_t decide(bool time_known, int64_t t_ns, bool rule_ok, int64_t rule_ns);

  // For the next decision: the other end's watchdog asks, and what the link found.
  void ask(uint32_t question) { input_.question = question; }
  void note(uint32_t causes) { input_.missed |= causes; }

  void arm() { eg_arm(&policy_.table, &state_); }
  eg_rearm_t rearm() { return eg_rearm(&policy_.table, &state_); }
  void takeover() { eg_takeover(&state_); }
  const eg_evidence_t &evidence(int member) const {
    return input_.member[static_cast<size_t>(member)].evidence;
  }

private:
  struct Stamps {
    int64_t capture_ns = 0, ready_ns = 0, pending_since_ns = 0;
    bool pending = false;
    bool fresh = false; // no decision has seen it
  };
  void arrived(int member, const eg_evidence_t &evidence, int64_t capture_ns, int64_t ready_ns);
  void detectors_of(bool of_member, int index, const std::array<int64_t, 5> &q16, bool good);
  void stamp_ages(int64_t now_ns);
  uint32_t elapsed(bool time_known, int64_t t_ns);

  HostPolicy policy_;
  eg_state_t state_{};
  eg_input_t input_{};
  std::vector<std::vector<unsigned char>> buffer_;
  std::array<Stamps, EG_MAX_MEMBERS> member_{};
  struct Shot {
    int64_t capture_ns = 0;
    bool fresh = false;
  };
  std::array<Shot, EG_MAX_CAMERAS> shot_{};
  std::array<bool, EG_MAX_DETECTORS> measured_{}; // since the last decision
  int64_t last_ns_ = 0;
  bool started_ = false;
};

// Q16.16 of a finite number that fits; everything else is EG_INVALID. -0 and denormals are 0.
eg_number_t to_number(double value) noexcept;

// Nanoseconds from `from` to `to` as saturating microseconds. When `to` lies before: 0 within the
// slack, EG_AGE_MAX beyond.
uint32_t age_us(int64_t from_ns, int64_t to_ns, int64_t slack_ns = 0) noexcept;

} // namespace edgeguard
