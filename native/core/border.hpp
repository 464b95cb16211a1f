// SPDX-License-Identifier: Apache-2.0
// The border between the floating world and the core: every float and every time stamp becomes an
// integer here, once, and whatever is not a finite number in range becomes EG_INVALID.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "association.hpp"
#include "embedding.hpp"
#include "evidence.hpp"

extern "C" {
#include "edgeguard/core.h"
}

namespace edgeguard {

class Tape;

enum Feature { kMean, kContrast, kBlackShare, kSaturatedShare, kSharpness, kImageFeatures };
enum ScoreFeature { kMargin, kEntropy, kEnergy, kCertainty, kScoreFeatures };

// Where a detector's number comes from. kGiven: from outside, by measure().
enum class Source : uint8_t { kCamera, kMember, kEmbedding, kAssociation, kGiven, kSources };

struct DetectorSource {
  Source source;
  uint8_t index;       // of the camera, member or association
  uint8_t feature;     // kCamera, kMember
  uint32_t max_age_us; // kGiven: an older number is as good as none
};

// A policy with what only the host needs: names, score layouts, where detectors read.
struct HostPolicy {
  eg_policy_t table{};
  std::vector<eg_label_t> labels;
  std::vector<std::string> members, cameras, signals, channels, detector_names;
  std::vector<uint8_t> looks_through; // of each member: a camera, or EG_NONE
  std::vector<ScoreSpec> scores;
  std::vector<DetectorSource> detectors;
  std::vector<AssociationSpec> associations;
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
  // Whether a signal will be valid with this value; then it becomes what the core takes it for.
  bool believes(int index, double *value) const;
  void no_signal(int index);
  bool rule(int channel, double value); // false: not a finite number in range
  void engaged(bool is, bool unknown);
  eg_decision_t decide(bool time_known, int64_t t_ns, bool rule_ok, int64_t rule_ns);

  // A detector that reads an embedding: how far away it is, and where the member leaves it.
  void embedding(int detector, EmbeddingFit fit, const void *memory);
  // A detector of kGiven; the number stands until it is older than the policy allows.
  void measure(int detector, double value, int64_t t_ns);
  // Detectors outside their limits at the last decision, or between it and the one before.
  uint32_t tripped() const { return tripped_; }
  // What a detector's number was at its least and most at all decisions since `forget`.
  struct Extremes {
    int32_t least = INT32_MAX, most = INT32_MIN;
    bool spoke = false, unreadable = false;
  };
  const Extremes &extremes(size_t detector) const { return extremes_[detector]; }
  void forget() { extremes_ = {}; }

  // For the next decision: the other end's watchdog asks, and what the link found.
  void ask(uint32_t question) { input_.question = question; }
  void note(uint32_t causes) { input_.missed |= causes; }

  void arm();
  eg_rearm_t rearm();
  void takeover();

  // From now on all of this is recorded there (or nowhere: nullptr); false: no room for a policy.
  bool record(Tape *tape);
  // Whether the last result of this member is one to be held, and not late or out of order.
  bool took(int member) const { return member_[static_cast<size_t>(member)].took; }
  const eg_evidence_t &evidence(int member) const {
    return input_.member[static_cast<size_t>(member)].evidence;
  }

private:
  // A result is taken for what it says (kSeen); or does not change what the core holds, so that it
  // takes no doubt back either (kRefused); or a newer one came first (kSuperseded).
  enum class Worth : uint8_t { kSeen, kRefused, kSuperseded };
  static constexpr int64_t kNever = INT64_MIN;
  struct Stamps {
    int64_t capture_ns = 0, ready_ns = 0, pending_since_ns = 0;
    int64_t known_ns = 0; // the capture, as the core is told: never after the decision that saw it
    int64_t newest_ns = kNever; // capture of the newest, not after the decision that saw it
    int64_t basis_ns = kNever;  // capture of the last one that may be held, while it may
    uint32_t spoilt = 0;        // causes that were present in its picture
    Worth worth = Worth::kSeen; // of the one that the next decision sees
    bool took = false;          // the last one that arrived is to be held
    bool pending = false;
    bool fresh = false; // no decision has seen it
  };
  Worth worth(int member, const eg_suggestion_t &suggestion, int64_t capture_ns);
  Worth arrived(int member, const eg_evidence_t &evidence, int64_t capture_ns, int64_t ready_ns);
  void detectors_of(Source source, int index, const std::array<int64_t, 5> &q16, bool good,
                    Worth worth);
  void embeddings_of(int member, const eg_evidence_t &e, Worth worth);
  void put(size_t detector, eg_number_t number, Worth worth);
  void note_spoilt(size_t camera, int64_t capture_ns);
  uint32_t spoilt(int member, int64_t capture_ns) const;
  bool speaks(size_t detector) const;
  void look_back();
  void remember(size_t detector);
  eg_number_t operand(Operand kind, uint8_t index) const;
  void associate();
  void expire_given(int64_t now_ns);
  void stamp_ages(int64_t now_ns);
  uint32_t elapsed(bool time_known, int64_t t_ns);

  HostPolicy policy_;
  eg_state_t state_{};
  eg_input_t input_{};
  Tape *tape_ = nullptr;
  std::vector<std::vector<unsigned char>> buffer_;
  std::array<Stamps, EG_MAX_MEMBERS> member_{};
  struct Spoilt { // a picture that a detector of its camera did not like, and the causes of that
    int64_t capture_ns = kNever;
    uint32_t causes = 0;
  };
  static constexpr size_t kSpoilt = 64;
  struct Shot {
    int64_t capture_ns = 0, newest_ns = kNever;
    bool fresh = false;
    std::array<Spoilt, kSpoilt> spoilt{};
    Spoilt forgotten; // up to when, and all causes
    size_t last = 0;
  };
  std::array<Shot, EG_MAX_CAMERAS> shot_{};
  std::array<bool, EG_MAX_DETECTORS> measured_{}; // since the last decision
  std::array<int64_t, EG_MAX_DETECTORS> given_ns_{};
  std::array<Extremes, EG_MAX_DETECTORS> extremes_{};
  uint32_t tripped_ = 0, missed_ = 0; // bit for each detector; missed_ for the next decision
  std::vector<Association> associations_;
  struct Embedded {
    std::unique_ptr<EmbeddingDistance> distance;
    const void *memory = nullptr;
  };
  std::array<Embedded, EG_MAX_DETECTORS> embedded_{};
  int64_t last_ns_ = 0;
  bool started_ = false;
  // Decisions in a row that came within a hundredth of the period: with a clock in microseconds
  // every limit would be a thousand times as long, so that many are no accident.
  static constexpr uint32_t kHasty = 100;
  uint32_t hasty_ = 0;
};

// Q16.16 of a finite number that fits; everything else is EG_INVALID. -0 and denormals are 0.
eg_number_t to_number(double value) noexcept;

// Nanoseconds from `from` to `to` as saturating microseconds. When `to` lies before: 0 within the
// slack, EG_AGE_MAX beyond.
uint32_t age_us(int64_t from_ns, int64_t to_ns, int64_t slack_ns = 0) noexcept;

} // namespace edgeguard
