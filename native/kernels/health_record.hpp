// SPDX-License-Identifier: Apache-2.0
// Integers, so that every variant of the kernel gets the same ones. A bilinear resize counts the
// four neighbours of every output pixel, an area resize every pixel of the box once.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

namespace edgeguard {

using ImageFeatures = std::array<double, 5>; // in the order of the decision core

struct Health {
  std::uint64_t pixels = 0, pairs = 0;
  std::uint64_t luma = 0, luma_squared = 0, gradient = 0; // sums
  std::uint64_t black = 0, saturated = 0;                 // counts
  std::uint64_t distinct = 0, frame_pixels = 0;
  std::uint64_t content_hash = 0;

  double mean() const { return share(luma, pixels); }
  double variance() const { return std::max(0.0, share(luma_squared, pixels) - mean() * mean()); }
  double black_share() const { return share(black, pixels); }         // luma <= 16
  double saturated_share() const { return share(saturated, pixels); } // any channel >= 250
  double sharpness() const { return share(gradient, pairs); } // mean |luma step| to the right
  double share_read() const { return share(distinct, frame_pixels); } // of the frame's pixels

  ImageFeatures features() const {
    return {mean(), std::sqrt(variance()), black_share(), saturated_share(), sharpness()};
  }

private:
  static double share(std::uint64_t part, std::uint64_t whole) {
    return whole ? static_cast<double>(part) / static_cast<double>(whole) : 0.0;
  }
};

} // namespace edgeguard
