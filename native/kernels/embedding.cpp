// SPDX-License-Identifier: Apache-2.0
#include "embedding.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <utility>

#include "evidence.hpp"

namespace edgeguard {
namespace {

constexpr size_t kLanes = 8; // additions go to eight sums, joined in a fixed order

template <class Term> double sum(size_t n, Term term) {
  float lane[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (size_t l = 0; l < kLanes; ++l) lane[l] += term(i + l);
  for (size_t l = 0; i < n; ++i, ++l) lane[l] += term(i);
  double total = 0;
  for (float part : lane) total += static_cast<double>(part);
  return total;
}

bool rows_of(const std::vector<float> &array, size_t columns) {
  return columns > 0 && array.size() % columns == 0;
}

bool fits(const EmbeddingFit &f) {
  auto n = static_cast<size_t>(f.n);
  if (f.n < 1 || f.centre.size() != n || f.projection.empty()) return false;
  if (!rows_of(f.projection, n) || !rows_of(f.background, n)) return false;
  if (!rows_of(f.points, f.projection.size() / n)) return false;
  bool near = f.feature != EmbeddingFeature::kVim;
  return near != f.points.empty() &&
         (f.feature != EmbeddingFeature::kRelativeMahalanobis || !f.background.empty());
}

} // namespace

EmbeddingDistance::EmbeddingDistance(EmbeddingFit fit) : fit_(std::move(fit)) {
  if (!fits(fit_)) throw std::invalid_argument("arrays do not fit together");
  y_.resize(fit_.centre.size());
  image_.resize(std::max(fit_.projection.size(), fit_.background.size()) / y_.size());
}

void EmbeddingDistance::read(const void *embedding) noexcept {
  for (size_t i = 0; i < y_.size(); ++i) {
    float x;
    if (fit_.dtype == kF32) {
      x = static_cast<const float *>(embedding)[i];
    } else {
      int raw = fit_.dtype == kI8 ? static_cast<const int8_t *>(embedding)[i]
                                  : static_cast<const uint8_t *>(embedding)[i];
      x = fit_.scale * static_cast<float>(raw - fit_.zero_point);
    }
    y_[i] = x - fit_.centre[i];
  }
}

double EmbeddingDistance::project(const std::vector<float> &rows) noexcept {
  const size_t n = y_.size(), k = rows.size() / n;
  for (size_t r = 0; r < k; ++r) {
    const float *row = rows.data() + r * n;
    image_[r] = static_cast<float>(sum(n, [&](size_t i) { return row[i] * y_[i]; }));
  }
  return sum(k, [&](size_t i) { return image_[i] * image_[i]; });
}

// Squared; NaN when the image is none of finite numbers.
double EmbeddingDistance::nearest() const noexcept {
  const size_t k = fit_.projection.size() / y_.size();
  double least = std::numeric_limits<double>::infinity();
  for (size_t p = 0; p < fit_.points.size(); p += k) {
    const float *point = fit_.points.data() + p;
    const double d =
        sum(k, [&](size_t i) { return (image_[i] - point[i]) * (image_[i] - point[i]); });
    if (!(d >= least)) least = d; // also takes NaN
  }
  return least;
}

double EmbeddingDistance::of(const void *embedding, double energy) noexcept {
  read(embedding);
  const double squared = project(fit_.projection);
  if (fit_.feature == EmbeddingFeature::kVim) {
    const double rest = sum(y_.size(), [&](size_t i) { return y_[i] * y_[i]; }) - squared;
    return static_cast<double>(fit_.weight) * std::sqrt(rest < 0 ? 0 : rest) + energy;
  }
  if (!std::isfinite(squared)) return std::numeric_limits<double>::quiet_NaN(); // or inside a limit
  if (fit_.feature == EmbeddingFeature::kNearest) {
    const float length = static_cast<float>(std::sqrt(squared));
    for (float &x : image_) x = length == 0 ? 0 : x / length;
  }
  const double near = nearest();
  if (fit_.feature != EmbeddingFeature::kRelativeMahalanobis) return near;
  return near - project(fit_.background);
}

} // namespace edgeguard
