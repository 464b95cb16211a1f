// SPDX-License-Identifier: Apache-2.0
// Bilinear, BGR or RGB: eight output pixels at a time, from their source bytes to the tensor
// without leaving the registers.
#include <cstring>

#include "emit.hpp"
#include "health_avx2.hpp"

#if defined(__x86_64__)
EDGEGUARD_AVX2_BEGIN
namespace edgeguard {
namespace {

inline __m256i load(const void *at) {
  return _mm256_loadu_si256(static_cast<const __m256i *>(at));
}

inline __m256i broadcast8(const std::uint8_t *at) {
  long long bytes;
  std::memcpy(&bytes, at, sizeof bytes);
  return _mm256_set1_epi64x(bytes);
}

// The source bytes of four output pixels, two a lane. Broadcast and blend keep clear of the shuffle
// port, and unlike gathers they cost the same on every CPU and microcode.
template <bool Paired>
inline __m256i windows(const std::uint8_t *row, const std::int32_t *offset, int a, int b, int c,
                       int d) {
  if constexpr (Paired) {
    const auto *low = reinterpret_cast<const __m128i *>(row + offset[a]);
    const auto *high = reinterpret_cast<const __m128i *>(row + offset[c]);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(low)),
                                   _mm_loadu_si128(high), 1);
  }
  const __m256i low =
      _mm256_blend_epi32(broadcast8(row + offset[a]), broadcast8(row + offset[b]), 0x0c);
  const __m256i high =
      _mm256_blend_epi32(broadcast8(row + offset[c]), broadcast8(row + offset[d]), 0xc0);
  return _mm256_blend_epi32(low, high, 0xf0);
}

// Bytes in 16-bit lanes to 1/128 grey level, then a + (b - a) * weight as the reference has it.
inline __m256i lerp(__m256i a, __m256i b, __m256i weight) {
  return _mm256_add_epi16(a, _mm256_mulhrs_epi16(_mm256_sub_epi16(b, a), weight));
}

inline __m256i lerp_bytes(__m256i a, __m256i b, __m256i weight) {
  return lerp(_mm256_slli_epi16(a, 7), _mm256_slli_epi16(b, 7), weight);
}

struct Taps {
  __m256i near_top, far_top, near_bottom, far_bottom;

  Taps(__m256i top, __m256i bottom, const std::uint8_t *near_shuffle,
       const std::uint8_t *far_shuffle) {
    const __m256i near_order = load(near_shuffle), far_order = load(far_shuffle);
    near_top = _mm256_shuffle_epi8(top, near_order);
    far_top = _mm256_shuffle_epi8(top, far_order);
    near_bottom = _mm256_shuffle_epi8(bottom, near_order);
    far_bottom = _mm256_shuffle_epi8(bottom, far_order);
  }

  inline __m256i blend(__m256i wx, __m256i wy) const {
    return lerp(lerp_bytes(near_top, near_bottom, wy), lerp_bytes(far_top, far_bottom, wy), wx);
  }
};

struct Affine {
  __m256 gain[3], bias[3];
  explicit Affine(const Plan &plan) {
    for (int c = 0; c < 3; ++c) {
      gain[c] = _mm256_set1_ps(plan.gain[c]);
      bias[c] = _mm256_set1_ps(plan.bias[c]);
    }
  }
  inline __m256 operator()(__m256i cells, int c) const {
    return _mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(cells), gain[c]), bias[c]);
  }
};

// Eight floats to eight bytes, rounded half to even and saturated.
template <Dtype D> inline __m128i to_bytes(__m256 v) {
  const __m256i i = _mm256_cvtps_epi32(v);
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(i), _mm256_extracti128_si256(i, 1));
  return D == Dtype::int8 ? _mm_packs_epi16(words, words) : _mm_packus_epi16(words, words);
}

inline void store8(void *at, __m128i v) {
  _mm_storel_epi64(static_cast<__m128i *>(at), v);
}

// 8 x (a, b, c) floats: a0 b0 c0 a1 ...
inline void interleave(float *to, __m256 a, __m256 b, __m256 c) {
  const __m256i turn[3] = {_mm256_setr_epi32(0, 0, 0, 1, 1, 1, 2, 2),
                           _mm256_setr_epi32(2, 3, 3, 3, 4, 4, 4, 5),
                           _mm256_setr_epi32(5, 5, 6, 6, 6, 7, 7, 7)};
  __m256 p[3][3];
  for (int i = 0; i < 3; ++i) {
    p[i][0] = _mm256_permutevar8x32_ps(a, turn[i]);
    p[i][1] = _mm256_permutevar8x32_ps(b, turn[i]);
    p[i][2] = _mm256_permutevar8x32_ps(c, turn[i]);
  }
  _mm256_storeu_ps(to, _mm256_blend_ps(_mm256_blend_ps(p[0][0], p[0][1], 0x92), p[0][2], 0x24));
  _mm256_storeu_ps(to + 8, _mm256_blend_ps(_mm256_blend_ps(p[1][0], p[1][1], 0x24), p[1][2], 0x49));
  _mm256_storeu_ps(to + 16,
                   _mm256_blend_ps(_mm256_blend_ps(p[2][0], p[2][1], 0x49), p[2][2], 0x92));
}

inline void interleave(void *to, __m128i a, __m128i b, __m128i c) {
  const __m128i ab = _mm_unpacklo_epi64(a, b);
  const char z = static_cast<char>(0x80);
  const __m128i low = _mm_or_si128(
      _mm_shuffle_epi8(ab, _mm_setr_epi8(0, 8, z, 1, 9, z, 2, 10, z, 3, 11, z, 4, 12, z, 5)),
      _mm_shuffle_epi8(c, _mm_setr_epi8(z, z, 0, z, z, 1, z, z, 2, z, z, 3, z, z, 4, z)));
  const __m128i high = _mm_or_si128(
      _mm_shuffle_epi8(ab, _mm_setr_epi8(13, z, 6, 14, z, 7, 15, z, z, z, z, z, z, z, z, z)),
      _mm_shuffle_epi8(c, _mm_setr_epi8(z, 5, z, z, 6, z, z, 7, z, z, z, z, z, z, z, z)));
  _mm_storeu_si128(static_cast<__m128i *>(to), low);
  store8(static_cast<char *>(to) + 16, high);
}

template <Dtype D, Layout L>
inline void store(Element<D> *to, std::size_t plane, __m256 c0, __m256 c1, __m256 c2) {
  if constexpr (D == Dtype::float32 && L == Layout::chw) {
    _mm256_storeu_ps(to, c0);
    _mm256_storeu_ps(to + plane, c1);
    _mm256_storeu_ps(to + 2 * plane, c2);
  } else if constexpr (D == Dtype::float32) {
    interleave(to, c0, c1, c2);
  } else if constexpr (L == Layout::chw) {
    store8(to, to_bytes<D>(c0));
    store8(to + plane, to_bytes<D>(c1));
    store8(to + 2 * plane, to_bytes<D>(c2));
  } else {
    interleave(to, to_bytes<D>(c0), to_bytes<D>(c1), to_bytes<D>(c2));
  }
}

// Dwords (c0, c1) and (c2, 0) of eight pixels; the order of slot() makes them come out in order.
template <Dtype D, Layout L>
inline void emit8(Element<D> *to, std::size_t plane, const Affine &affine, __m256i a, __m256i b) {
  const __m256 fa = _mm256_castsi256_ps(a), fb = _mm256_castsi256_ps(b);
  const __m256i c01 = _mm256_castps_si256(_mm256_shuffle_ps(fa, fb, 0x88));
  const __m256i c2 = _mm256_castps_si256(_mm256_shuffle_ps(fa, fb, 0xdd));
  const __m256i c0 = _mm256_and_si256(c01, _mm256_set1_epi32(0xffff));
  const __m256i c1 = _mm256_srli_epi32(c01, 16);
  store<D, L>(to, plane, affine(c0, 0), affine(c1, 1), affine(c2, 2));
}

// The two source rows of an output row.
struct Rows {
  const std::uint8_t *top, *bottom;
  Rows(const Plan &plan, const FrameView &frame, int row) {
    const auto r = static_cast<std::size_t>(row);
    top = frame.data + (plan.source.y + plan.rows.first[r]) * frame.stride;
    bottom = frame.data + (plan.source.y + plan.rows.second[r]) * frame.stride;
  }
  // The rows that come next start on pages of their own, where the CPU does not prefetch by itself:
  // a tenth of the time when the frame is not in the cache.
  inline void prefetch(std::int32_t offset) const {
    _mm_prefetch(reinterpret_cast<const char *>(top + offset), _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char *>(bottom + offset), _MM_HINT_T0);
  }
};

template <Dtype D, Layout L, bool Statistics, bool Paired>
void bilinear_row(Plan &plan, const FrameView &frame, void *out, int row) {
  const Rows rows(plan, frame, row);
  const Rows next(plan, frame, row + 1 < plan.content.height ? row + 1 : row);
  const __m256i wy = _mm256_set1_epi16(plan.rows.weight[static_cast<std::size_t>(row)]);
  const Cursor to = cursor<L>(plan, row, 0);
  auto *target = static_cast<Element<D> *>(out) + to.at;
  const Affine affine(plan);
  const Windows &w = plan.windows;
  RowHealth health;
  if (Statistics) health.begin(plan.sums, plan.spec.colour);
  const std::size_t whole = static_cast<std::size_t>(plan.content.width) & ~std::size_t{7};
  for (std::size_t x = 0; x < whole; x += 8) {
    const std::int32_t *offset = w.offset.data() + x;
    const std::uint8_t *near_ = w.near_.data() + x * 8, *far_ = w.far_.data() + x * 8;
    next.prefetch(offset[0]);
    if (!Paired) next.prefetch(offset[4]);
    const Taps a(windows<Paired>(rows.top, offset, 0, 1, 4, 5),
                 windows<Paired>(rows.bottom, offset, 0, 1, 4, 5), near_, far_);
    const Taps b(windows<Paired>(rows.top, offset, 2, 3, 6, 7),
                 windows<Paired>(rows.bottom, offset, 2, 3, 6, 7), near_ + 32, far_ + 32);
    const std::int16_t *wx = w.weight.data() + x * 4;
    emit8<D, L>(target + x * to.pixel, to.channel, affine, a.blend(load(wx), wy),
                b.blend(load(wx + 16), wy));
    if (Statistics)
      health.add(_mm256_packus_epi16(a.near_top, a.far_top),
                 _mm256_packus_epi16(b.near_top, b.far_top),
                 _mm256_packus_epi16(a.near_bottom, a.far_bottom),
                 _mm256_packus_epi16(b.near_bottom, b.far_bottom));
  }
  if (Statistics) health.end(plan.sums, whole * 4);
  if (whole < static_cast<std::size_t>(plan.content.width))
    scalar_bilinear(plan, frame, out, row, static_cast<int>(whole));
}

template <Dtype D, Layout L> RowFunction choose_row(const Plan &plan) {
  if (plan.windows.paired)
    return plan.statistics ? bilinear_row<D, L, true, true> : bilinear_row<D, L, false, true>;
  return plan.statistics ? bilinear_row<D, L, true, false> : bilinear_row<D, L, false, false>;
}

template <Dtype D> RowFunction choose(const Plan &plan) {
  return plan.spec.layout == Layout::chw ? choose_row<D, Layout::chw>(plan)
                                         : choose_row<D, Layout::hwc>(plan);
}

std::uint64_t touch(const std::uint8_t *from, std::size_t bytes) {
  __m256i a = _mm256_setzero_si256(), b = a;
  for (; bytes >= 64; bytes -= 64, from += 64) {
    a = _mm256_add_epi64(a, load(from));
    b = _mm256_add_epi64(b, load(from + 32));
  }
  return sum_u64(_mm256_add_epi64(a, b));
}

} // namespace

RowFunction avx2_row(const Plan &plan) {
  if (plan.area) return avx2_area_row(plan);
  switch (plan.spec.dtype) {
  case Dtype::float32: return choose<Dtype::float32>(plan);
  case Dtype::int8: return choose<Dtype::int8>(plan);
  default: return choose<Dtype::uint8>(plan);
  }
}

TouchFunction avx2_touch() {
  return touch;
}

} // namespace edgeguard
EDGEGUARD_AVX2_END

#else

namespace edgeguard {
RowFunction avx2_row(const Plan &) {
  return nullptr;
}
TouchFunction avx2_touch() {
  return nullptr;
}
} // namespace edgeguard

#endif
