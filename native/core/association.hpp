// SPDX-License-Identifier: Apache-2.0
// Associations: two numbers that belong together, and how far they are from doing so. The residual
// is computed here, in integers, on every tick; the core compares it.
#pragma once

#include <array>
#include <cstdint>

extern "C" {
#include "edgeguard/types.h"
}

namespace edgeguard {

enum class Relation : uint8_t { kDifference, kSum, kProduct, kRatio, kRate, kRelations };
enum class Operand : uint8_t { kSignal, kCommand, kMember, kOperands };

struct AssociationSpec {
  Relation relation = Relation::kDifference;
  Operand kind[2] = {};      // of a and b; b is not read for kRate
  uint8_t index[2] = {0, 0}; // among the signals, channels or members
  double scale = 1.0;
  int32_t offset = 0;    // Q16.16
  int32_t least = 0;     // Q16.16, kRatio: below this |b| it says nothing
  uint32_t delay_us = 0; // b is taken that long ago; kRate: over at least this time
};

// The residual of one association, Q16.16 and saturating:
//   difference  a - (scale b + offset)        product  a b
//   sum         a + (scale b + offset)        ratio    a / b
//   rate        the change of a per second
// An operand that is EG_INVALID makes it EG_INVALID; one that is absent, or not old enough yet,
// EG_ABSENT. After a step with an unknown time the past is forgotten.
class Association {
public:
  static constexpr uint32_t kKept = 256; // a delay may be as many control periods, less one

  explicit Association(const AssociationSpec &spec) : spec_(spec) {}
  const AssociationSpec &spec() const { return spec_; }
  eg_number_t step(const eg_number_t &a, const eg_number_t &b, uint32_t elapsed_us);

private:
  struct Past {
    int64_t t_us;
    eg_number_t number;
  };
  Past delayed(const eg_number_t &now, uint32_t elapsed_us);
  int64_t residual(int64_t a, int64_t b) const;

  AssociationSpec spec_;
  std::array<Past, kKept> past_{};
  uint32_t first_ = 0, count_ = 0; // of what is kept, oldest first
  int64_t now_us_ = 0;
};

} // namespace edgeguard
