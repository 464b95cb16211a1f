// SPDX-License-Identifier: Apache-2.0
// How far a member's embedding (its penultimate activation) lies from what it was fitted on.
#pragma once

#include <vector>

namespace edgeguard {

enum class EmbeddingFeature { kMahalanobis, kRelativeMahalanobis, kNearest, kVim };

// What was fitted offline (edgeguard/evidence/embedding.py). Row-major; y = x - centre.
struct EmbeddingFit {
  EmbeddingFeature feature = EmbeddingFeature::kMahalanobis;
  int n = 0;       // values of an embedding
  int dtype = 0;   // ScoreType of evidence.hpp: how they are stored
  float scale = 1; // int8 and uint8: real = scale * (raw - zero_point)
  int zero_point = 0;
  std::vector<float> centre;     // [n]
  std::vector<float> projection; // [k, n]
  std::vector<float> points;     // [m, k]: class means, or a coreset of unit vectors
  std::vector<float> background; // [b, n]: whitens what is common to all classes
  float weight = 1;              // of the residual, kVim
};

// One feature of one member. Larger is further away:
//   mahalanobis           min over points of |projection y - point|^2 (Lee et al. 2018)
//   relative_mahalanobis  that less |background y|^2 (Ren et al. 2021)
//   nearest               min over points of |u - point|^2, u = projection y of length 1
//                         (Sun et al. 2022)
//   vim                   weight |y - projection^T projection y| + energy (Wang et al. 2022)
// NaN and Inf in the embedding come out as such. The order of additions is fixed. Allocates only
// when it is made; one thread at a time.
class EmbeddingDistance {
public:
  // Throws std::invalid_argument when the sizes do not fit together.
  explicit EmbeddingDistance(EmbeddingFit fit);
  int size() const { return fit_.n; }
  double of(const void *embedding, double energy) noexcept;

private:
  void read(const void *embedding) noexcept;
  double project(const std::vector<float> &rows) noexcept; // to image_; its squared length
  double nearest() const noexcept;

  EmbeddingFit fit_;
  std::vector<float> y_, image_;
};

} // namespace edgeguard
