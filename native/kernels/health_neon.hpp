// SPDX-License-Identifier: Apache-2.0
// health.hpp for four pixels at a time.
#pragma once

#include "plan.hpp"

#if defined(__aarch64__)
#include <arm_neon.h>

namespace edgeguard {
namespace {

struct RowHealth {
  uint8x8_t weights;
  uint32x4_t hash[4]; // the lanes of health.hpp, four a register
  uint32x4_t luma, squares, black, dark;
  uint32x2_t gradient;

  void begin(const Sums &sums, Colour order) {
    const int first = order == Colour::bgr ? kLumaBlue : kLumaRed;
    const int third = order == Colour::bgr ? kLumaRed : kLumaBlue;
    const auto word = static_cast<std::uint32_t>(first | kLumaGreen << 8 | third << 16);
    weights = vreinterpret_u8_u32(vdup_n_u32(word));
    for (int i = 0; i < 4; ++i) hash[i] = vld1q_u32(sums.lanes + 4 * i);
    luma = squares = black = dark = vdupq_n_u32(0);
    gradient = vdup_n_u32(0);
  }

  // Pixels as words (c0, c1, c2, 0): the left neighbours of two output pixels, then their right
  // ones. Register i of the hash takes them.
  inline void add(uint8x16_t pixels, int i) {
    const uint32x4_t words = vreinterpretq_u32_u8(pixels);
    hash[i] = vmlaq_u32(words, hash[i], vdupq_n_u32(kHashFactor));
    const uint8x16_t over = vqsubq_u8(pixels, vdupq_n_u8(kSaturated - 1));
    dark = vsubq_u32(dark, vceqzq_u32(vreinterpretq_u32_u8(over)));
    const uint16x8_t low = vmull_u8(vget_low_u8(pixels), weights);
    const uint16x8_t high = vmull_u8(vget_high_u8(pixels), weights);
    const uint32x4_t grey = vshrq_n_u32(vpaddq_u32(vpaddlq_u16(low), vpaddlq_u16(high)), 7);
    luma = vaddq_u32(luma, grey);
    squares = vmlaq_u32(squares, grey, grey);
    black = vsubq_u32(black, vcleq_u32(grey, vdupq_n_u32(kBlackLuma)));
    gradient = vadd_u32(gradient, vabd_u32(vget_low_u32(grey), vget_high_u32(grey)));
  }

  void end(Sums &sums, std::uint64_t count) const {
    for (int i = 0; i < 4; ++i) vst1q_u32(sums.lanes + 4 * i, hash[i]);
    sums.pixels += count;
    sums.pairs += count / 2;
    sums.luma += vaddlvq_u32(luma);
    sums.luma_squared += vaddlvq_u32(squares);
    sums.gradient += vaddlv_u32(gradient);
    sums.black += vaddlvq_u32(black);
    sums.saturated += count - vaddlvq_u32(dark);
  }
};

} // namespace
} // namespace edgeguard
#endif
