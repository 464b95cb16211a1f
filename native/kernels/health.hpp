// SPDX-License-Identifier: Apache-2.0
// Sensor health, defined once, one pixel at a time; the SIMD units must get the same integers.
#pragma once

#include <cstdint>
#include <cstdlib>

#include "preprocess.hpp"

namespace edgeguard {

constexpr int kBlackLuma = 16, kSaturated = 250;
// BT.601 luma in 7 bits, so that byte multiplies can do it. Kept apart from the model's grey.
constexpr int kLumaRed = 38, kLumaGreen = 75, kLumaBlue = 15;
// The hash is 16 lanes of h = h * (1 + 2^13) + pixel: as the factor is odd, every step is a
// bijection, so that a change of one pixel always changes its lane, and the fold of the lanes
// likewise.
constexpr int kHashShift = 13;
constexpr std::uint32_t kHashFactor = 1u + (1u << kHashShift);
constexpr int kHashLanes = 16;

struct Pixel {
  int r, g, b;
};

struct Sums {
  std::uint64_t pixels, pairs, luma, luma_squared, gradient, black, saturated;
  alignas(32) std::uint32_t lanes[kHashLanes];

  void reset() {
    pixels = pairs = luma = luma_squared = gradient = black = saturated = 0;
    for (int i = 0; i < kHashLanes; ++i) lanes[i] = static_cast<std::uint32_t>(i + 1) * 0x9E3779B1u;
  }
};

inline int luma_of(Pixel p) {
  return (p.r * kLumaRed + p.g * kLumaGreen + p.b * kLumaBlue) >> 7;
}

// Which lane takes neighbour t (0, 1) of column x. The order is that of the AVX2 unit's registers;
// it is arbitrary, but the same for all.
inline int hash_lane(int x, int t) {
  return ((x >> 1) & 1) * 8 + ((x >> 2) & 1) * 4 + t * 2 + (x & 1);
}

// The pixel as the hash sees it: in the tensor's channel order, RGB for a grey model.
inline std::uint32_t hash_word(Pixel p, Colour order) {
  int first = order == Colour::bgr ? p.b : p.r, third = order == Colour::bgr ? p.r : p.b;
  return static_cast<std::uint32_t>(first | p.g << 8 | third << 16);
}

inline int add_pixel(Sums &sums, Pixel p, Colour order, int lane) {
  int luma = luma_of(p);
  sums.pixels += 1;
  sums.luma += static_cast<std::uint64_t>(luma);
  sums.luma_squared += static_cast<std::uint64_t>(luma * luma);
  sums.black += luma <= kBlackLuma;
  sums.saturated += p.r >= kSaturated || p.g >= kSaturated || p.b >= kSaturated;
  sums.lanes[lane] = sums.lanes[lane] * kHashFactor + hash_word(p, order);
  return luma;
}

// Two horizontal neighbours.
inline void add_pair(Sums &sums, Pixel left, Pixel right, Colour order, int x) {
  int a = add_pixel(sums, left, order, hash_lane(x, 0));
  int b = add_pixel(sums, right, order, hash_lane(x, 1));
  sums.pairs += 1;
  sums.gradient += static_cast<std::uint64_t>(std::abs(a - b));
}

inline std::uint64_t fold(const std::uint32_t (&lanes)[kHashLanes]) {
  std::uint64_t h = 0x243F6A8885A308D3u;
  for (std::uint32_t lane : lanes) {
    h = (h ^ lane) * 0x9FB21C651E98DF25u;
    h ^= h >> 32;
  }
  return h;
}

} // namespace edgeguard
