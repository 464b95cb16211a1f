// SPDX-License-Identifier: Apache-2.0
// Bilinear, BGR or RGB, for aarch64: the same steps as the AVX2 unit, two pixels a register.
#include "emit.hpp"
#include "health_neon.hpp"

#if defined(__aarch64__)
namespace edgeguard {
namespace {

inline uint8x16_t windows(const std::uint8_t *row, const std::int32_t *offset) {
  return vcombine_u8(vld1_u8(row + offset[0]), vld1_u8(row + offset[1]));
}

inline int16x8_t lerp(int16x8_t a, int16x8_t b, int16x8_t weight) {
  return vaddq_s16(a, vqrdmulhq_s16(vsubq_s16(b, a), weight));
}

// Bytes in 16-bit lanes, to 1/128 grey level.
inline int16x8_t fine(uint8x16_t bytes) {
  return vshlq_n_s16(vreinterpretq_s16_u8(bytes), 7);
}

struct Taps {
  uint8x16_t near_top, far_top, near_bottom, far_bottom;

  Taps(uint8x16_t top, uint8x16_t bottom, const std::uint8_t *near_shuffle,
       const std::uint8_t *far_shuffle) {
    const uint8x16_t near_order = vld1q_u8(near_shuffle), far_order = vld1q_u8(far_shuffle);
    near_top = vqtbl1q_u8(top, near_order);
    far_top = vqtbl1q_u8(top, far_order);
    near_bottom = vqtbl1q_u8(bottom, near_order);
    far_bottom = vqtbl1q_u8(bottom, far_order);
  }

  inline uint32x4_t blend(int16x8_t wx, int16x8_t wy) const {
    const int16x8_t near = lerp(fine(near_top), fine(near_bottom), wy);
    const int16x8_t far = lerp(fine(far_top), fine(far_bottom), wy);
    return vreinterpretq_u32_s16(lerp(near, far, wx));
  }
};

// Bytes in 16-bit lanes to the words of RowHealth.
inline uint8x16_t words(uint8x16_t near, uint8x16_t far) {
  return vuzp1q_u8(near, far);
}

inline float32x4_t affine(uint32x4_t cells, float gain, float bias) {
  return vaddq_f32(vmulq_f32(vcvtq_f32_u32(cells), vdupq_n_f32(gain)), vdupq_n_f32(bias));
}

struct Eight {
  float32x4_t low, high;
};

// Words (c0, c1) and (c2, 0) of two pixels a register.
inline void planes(const Plan &plan, const uint32x4_t (&pixels)[4], Eight (&out)[3]) {
  for (int half = 0; half < 2; ++half) {
    const uint32x4_t a = pixels[2 * half], b = pixels[2 * half + 1];
    const uint32x4_t c01 = vuzp1q_u32(a, b), c2 = vuzp2q_u32(a, b);
    const uint32x4_t c0 = vandq_u32(c01, vdupq_n_u32(0xffff)), c1 = vshrq_n_u32(c01, 16);
    const uint32x4_t cells[3] = {c0, c1, c2};
    for (int c = 0; c < 3; ++c)
      (half ? out[c].high : out[c].low) = affine(cells[c], plan.gain[c], plan.bias[c]);
  }
}

inline int16x8_t to_words(const Eight &v) {
  return vcombine_s16(vqmovn_s32(vcvtnq_s32_f32(v.low)), vqmovn_s32(vcvtnq_s32_f32(v.high)));
}

template <Layout L> inline void store(float *to, std::size_t plane, const Eight (&v)[3]) {
  if (L == Layout::hwc) {
    vst3q_f32(to, (float32x4x3_t{{v[0].low, v[1].low, v[2].low}}));
    vst3q_f32(to + 12, (float32x4x3_t{{v[0].high, v[1].high, v[2].high}}));
    return;
  }
  for (std::size_t c = 0; c < 3; ++c) {
    vst1q_f32(to + c * plane, v[c].low);
    vst1q_f32(to + c * plane + 4, v[c].high);
  }
}

template <Layout L> inline void store(std::int8_t *to, std::size_t plane, const Eight (&v)[3]) {
  int8x8x3_t bytes;
  for (int c = 0; c < 3; ++c) bytes.val[c] = vqmovn_s16(to_words(v[c]));
  if (L == Layout::hwc) return vst3_s8(to, bytes);
  for (std::size_t c = 0; c < 3; ++c) vst1_s8(to + c * plane, bytes.val[c]);
}

template <Layout L> inline void store(std::uint8_t *to, std::size_t plane, const Eight (&v)[3]) {
  uint8x8x3_t bytes;
  for (int c = 0; c < 3; ++c) bytes.val[c] = vqmovun_s16(to_words(v[c]));
  if (L == Layout::hwc) return vst3_u8(to, bytes);
  for (std::size_t c = 0; c < 3; ++c) vst1_u8(to + c * plane, bytes.val[c]);
}

template <Dtype D, Layout L, bool Statistics>
void bilinear_row(Plan &plan, const FrameView &frame, void *out, int row) {
  const auto r = static_cast<std::size_t>(row);
  const std::uint8_t *top = frame.data + (plan.source.y + plan.rows.first[r]) * frame.stride;
  const std::uint8_t *bottom = frame.data + (plan.source.y + plan.rows.second[r]) * frame.stride;
  const int16x8_t wy = vdupq_n_s16(plan.rows.weight[r]);
  const Cursor to = cursor<L>(plan, row, 0);
  auto *target = static_cast<Element<D> *>(out) + to.at;
  const Windows &w = plan.windows;
  RowHealth health;
  health.begin(plan.sums, plan.spec.colour);
  const std::size_t whole = static_cast<std::size_t>(plan.content.width) & ~std::size_t{7};
  for (std::size_t x = 0; x < whole; x += 8) {
    uint32x4_t pixels[4];
    for (std::size_t j = 0; j < 4; ++j) {
      const std::size_t at = x + 2 * j;
      const std::int32_t *offset = w.offset.data() + at;
      const Taps taps(windows(top, offset), windows(bottom, offset), w.near_.data() + at * 8,
                      w.far_.data() + at * 8);
      pixels[j] = taps.blend(vld1q_s16(w.weight.data() + at * 4), wy);
      if (!Statistics) continue;
      const int lanes = hash_lane(static_cast<int>(2 * j), 0) / 4;
      health.add(words(taps.near_top, taps.far_top), lanes);
      health.add(words(taps.near_bottom, taps.far_bottom), lanes);
    }
    Eight result[3];
    planes(plan, pixels, result);
    store<L>(target + x * to.pixel, to.channel, result);
  }
  if (Statistics) health.end(plan.sums, whole * 4);
  if (whole < static_cast<std::size_t>(plan.content.width))
    scalar_bilinear(plan, frame, out, row, static_cast<int>(whole));
}

template <Dtype D, Layout L> RowFunction choose(bool statistics) {
  return statistics ? bilinear_row<D, L, true> : bilinear_row<D, L, false>;
}

} // namespace

RowFunction neon_row(const Plan &plan) {
  if (plan.area) return neon_area_row(plan);
  return with_target(plan.spec, [&](auto dtype, auto layout) {
    return choose<dtype(), layout()>(plan.statistics);
  });
}

} // namespace edgeguard

#else

namespace edgeguard {
RowFunction neon_row(const Plan &) {
  return nullptr;
}
} // namespace edgeguard

#endif
