// SPDX-License-Identifier: Apache-2.0
// One pixel of any camera format as RGB, and as the channels that a model wants.
#pragma once

#include <algorithm>

#include "health.hpp"
#include "preprocess.hpp"

namespace edgeguard {

inline int clamp_byte(int v) {
  return std::min(std::max(v, 0), 255);
}

// BT.601, limited range, in the 20-bit integers that OpenCV uses.
inline Pixel yuv_pixel(int y, int u, int v) {
  constexpr int half = 1 << 19;
  int luma = std::max(y - 16, 0) * 1220542 + half;
  u -= 128, v -= 128;
  return {clamp_byte((luma + 1673527 * v) >> 20),
          clamp_byte((luma - 852492 * v - 409993 * u) >> 20),
          clamp_byte((luma + 2116026 * u) >> 20)};
}

// The grey of OpenCV's cvtColor: BT.601 in 15 bits, rounded.
inline int grey_of(Pixel p) {
  return (p.r * 9798 + p.g * 19235 + p.b * 3735 + 16384) >> 15;
}

template <Format F> class Row {
public:
  Row(const FrameView &frame, int y) : row_(frame.data + y * frame.stride) {
    if (F == Format::nv12) chroma_ = frame.data + (frame.height + y / 2) * frame.stride;
  }

  Pixel operator[](int x) const {
    if constexpr (F == Format::bgr || F == Format::bgra) {
      const std::uint8_t *p = row_ + static_cast<std::ptrdiff_t>(x) * (F == Format::bgr ? 3 : 4);
      return {p[2], p[1], p[0]};
    } else if constexpr (F == Format::rgb) {
      const std::uint8_t *p = row_ + static_cast<std::ptrdiff_t>(x) * 3;
      return {p[0], p[1], p[2]};
    } else if constexpr (F == Format::gray) {
      return {row_[x], row_[x], row_[x]};
    } else if constexpr (F == Format::yuyv) {
      const std::uint8_t *two = row_ + static_cast<std::ptrdiff_t>(x / 2) * 4;
      return yuv_pixel(two[(x & 1) * 2], two[1], two[3]);
    } else {
      const std::uint8_t *uv = chroma_ + x / 2 * 2;
      return yuv_pixel(row_[x], uv[0], uv[1]);
    }
  }

private:
  const std::uint8_t *row_;
  const std::uint8_t *chroma_ = nullptr;
};

// Channels in the model's order; a grey model has one.
template <Colour C> inline std::array<int, C == Colour::gray ? 1 : 3> channels_of(Pixel p) {
  if constexpr (C == Colour::gray) {
    return {grey_of(p)};
  } else if constexpr (C == Colour::bgr) {
    return {p.b, p.g, p.r};
  } else {
    return {p.r, p.g, p.b};
  }
}

} // namespace edgeguard
