// SPDX-License-Identifier: Apache-2.0
// health.hpp for 32 pixels at a time.
#pragma once

#include "plan.hpp"
#include "target_avx2.hpp"

#if defined(__x86_64__)
EDGEGUARD_AVX2_BEGIN
namespace edgeguard {
namespace {

inline std::uint64_t sum_u64(__m256i v) {
  alignas(32) std::uint64_t lane[4];
  _mm256_store_si256(reinterpret_cast<__m256i *>(lane), v);
  return lane[0] + lane[1] + lane[2] + lane[3];
}

inline std::uint64_t sum_u32(__m256i v) {
  const __m256i low = _mm256_set1_epi64x(0xffffffff);
  return sum_u64(_mm256_add_epi64(_mm256_and_si256(v, low), _mm256_srli_epi64(v, 32)));
}

// Sums of one row, in registers. Pixels come as dwords (c0, c1, c2, 0), four a lane: the left
// neighbours of two output pixels, then their right neighbours.
struct RowHealth {
  __m256i weights, hash[2];
  __m256i luma, squares, gradient, black, dark; // `dark`: no channel is saturated
  __m256i black_bytes, dark_bytes;              // counts of at most `room` more additions
  int room;

  void begin(const Sums &sums, Colour order) {
    const int first = order == Colour::bgr ? kLumaBlue : kLumaRed;
    const int third = order == Colour::bgr ? kLumaRed : kLumaBlue;
    weights = _mm256_set1_epi32(first | kLumaGreen << 8 | third << 16);
    for (int i = 0; i < 2; ++i)
      hash[i] = _mm256_load_si256(reinterpret_cast<const __m256i *>(sums.lanes) + i);
    luma = squares = gradient = black = dark = black_bytes = dark_bytes = _mm256_setzero_si256();
    room = 255;
  }

  inline void flush() {
    const __m256i zero = _mm256_setzero_si256();
    black = _mm256_add_epi64(black, _mm256_sad_epu8(black_bytes, zero));
    dark = _mm256_add_epi64(dark, _mm256_sad_epu8(dark_bytes, zero));
    black_bytes = dark_bytes = zero;
    room = 255;
  }

  inline void mix(__m256i pixels, int i) {
    const __m256i shifted = _mm256_slli_epi32(hash[i], kHashShift);
    hash[i] = _mm256_add_epi32(_mm256_add_epi32(hash[i], pixels), shifted);
  }

  // Luma of 16 pixels, as words.
  inline __m256i grey(__m256i a, __m256i b) const {
    const __m256i one = _mm256_set1_epi16(1);
    const __m256i wide_a = _mm256_madd_epi16(_mm256_maddubs_epi16(a, weights), one);
    const __m256i wide_b = _mm256_madd_epi16(_mm256_maddubs_epi16(b, weights), one);
    return _mm256_srli_epi16(_mm256_packs_epi32(wide_a, wide_b), 7);
  }

  // Not zero in each word whose pixel has a saturated channel.
  static inline __m256i over(__m256i a, __m256i b) {
    const __m256i limit = _mm256_set1_epi8(static_cast<char>(kSaturated - 1));
    return _mm256_packs_epi32(_mm256_subs_epu8(a, limit), _mm256_subs_epu8(b, limit));
  }

  // Upper source row, then lower one.
  inline void add(__m256i top_a, __m256i top_b, __m256i bottom_a, __m256i bottom_b) {
    mix(top_a, 0), mix(top_b, 1), mix(bottom_a, 0), mix(bottom_b, 1);
    const __m256i top = grey(top_a, top_b), bottom = grey(bottom_a, bottom_b);
    squares = _mm256_add_epi32(
        squares, _mm256_add_epi32(_mm256_madd_epi16(top, top), _mm256_madd_epi16(bottom, bottom)));
    const __m256i bytes = _mm256_packus_epi16(top, bottom), zero = _mm256_setzero_si256();
    luma = _mm256_add_epi64(luma, _mm256_sad_epu8(bytes, zero));
    const __m256i left = _mm256_and_si256(bytes, _mm256_set1_epi32(0xffff));
    gradient = _mm256_add_epi64(gradient, _mm256_sad_epu8(left, _mm256_srli_epi32(bytes, 16)));
    const __m256i lit = _mm256_subs_epu8(bytes, _mm256_set1_epi8(kBlackLuma));
    black_bytes = _mm256_sub_epi8(black_bytes, _mm256_cmpeq_epi8(lit, zero));
    const __m256i high = _mm256_packs_epi16(over(top_a, top_b), over(bottom_a, bottom_b));
    dark_bytes = _mm256_sub_epi8(dark_bytes, _mm256_cmpeq_epi8(high, zero));
    if (--room == 0) flush();
  }

  // `count` pixels went through add().
  void end(Sums &sums, std::uint64_t count) {
    flush();
    for (int i = 0; i < 2; ++i)
      _mm256_store_si256(reinterpret_cast<__m256i *>(sums.lanes) + i, hash[i]);
    sums.pixels += count;
    sums.pairs += count / 2;
    sums.luma += sum_u64(luma);
    sums.luma_squared += sum_u32(squares);
    sums.gradient += sum_u64(gradient);
    sums.black += sum_u64(black);
    sums.saturated += count - sum_u64(dark);
  }
};

} // namespace
} // namespace edgeguard
EDGEGUARD_AVX2_END
#endif
