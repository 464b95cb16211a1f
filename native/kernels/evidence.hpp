// SPDX-License-Identifier: Apache-2.0
// The evidence kernel: everything that one member's raw scores say, in one call.
#pragma once

#include "edgeguard/evidence.h"

namespace edgeguard {

enum ScoreType : int { kF32 = 0, kI8 = 1, kU8 = 2 };
enum ScoreKind : int { kLogits = 0, kProbabilities = 1, kValue = 2 };

// How to read one member's scores. real = scale * (raw - zero_point); float32 is taken as it is.
struct ScoreSpec {
  int n = 0;          // scores of one inference, 1 to kMaxScores
  int dtype = kF32;   // ScoreType
  float scale = 1.0f; // quantized scores: finite, > 0
  int zero_point = 0;
  int kind = kLogits;       // ScoreKind
  float temperature = 1.0f; // kMinTemperature to kMaxTemperature (Guo et al. 2017)
  float value_min = 0.0f;   // kValue: the declared range
  float value_max = 0.0f;
};

constexpr int kMaxScores = 1 << 20;
constexpr float kMinTemperature = 1.0f / 1024.0f;
constexpr float kMaxTemperature = 1024.0f;

// True if the kernel can read scores with this spec.
bool usable(const ScoreSpec &spec) noexcept;

// Reads spec.n scores of the spec's type and writes what they say.
//
// - Softmax with temperature, top class (the lowest index wins a tie), certainty, margin, entropy,
//   energy; with probabilities, mass that the model did not give is given to nobody: certainty is
//   p / max(1, sum).
// - NaN, Inf or an unusable spec: bad > 0, label -1, all else 0. -0 and denormals are read as 0,
//   whatever the floating-point mode.
// - Compares with nothing that a policy states. Allocates nothing, keeps nothing, never throws.
//   The order of additions is fixed, so every build and CPU with IEEE floats gives the same result.
// - kValue: value is the first score; label is 0, certainty and margin are 65536.
void evidence(const ScoreSpec &spec, const void *scores, eg_evidence_t *out) noexcept;

} // namespace edgeguard
