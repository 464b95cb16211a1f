// SPDX-License-Identifier: Apache-2.0
// Area, BGR or RGB: weighted sums of the source rows first, then of their columns. The sums are
// exact integers, so any order of adding gives the reference's.
#include <algorithm>

#include "emit.hpp"
#include "health_avx2.hpp"

#if defined(__x86_64__)
EDGEGUARD_AVX2_BEGIN
namespace edgeguard {
namespace {

struct Four {
  const std::uint8_t *row[4];
  std::uint32_t weight[4];
};

inline __m256i load16(const std::uint8_t *a, const std::uint8_t *b, bool high) {
  const __m128i va = _mm_loadu_si128(reinterpret_cast<const __m128i *>(a));
  const __m128i vb = _mm_loadu_si128(reinterpret_cast<const __m128i *>(b));
  return _mm256_cvtepu8_epi16(high ? _mm_unpackhi_epi8(va, vb) : _mm_unpacklo_epi8(va, vb));
}

// sums[i] (+)= w0 r0[i] + w1 r1[i] + w2 r2[i] + w3 r3[i]
template <bool First> void add_rows(std::uint32_t *sums, const Four &four, int bytes) {
  const __m256i w01 = _mm256_set1_epi32(static_cast<int>(four.weight[0] | four.weight[1] << 16));
  const __m256i w23 = _mm256_set1_epi32(static_cast<int>(four.weight[2] | four.weight[3] << 16));
  int i = 0;
  for (; i + 16 <= bytes; i += 16) {
    for (int high = 0; high < 2; ++high) {
      auto *to = reinterpret_cast<__m256i *>(sums + i + 8 * high);
      const __m256i p01 = load16(four.row[0] + i, four.row[1] + i, high);
      const __m256i p23 = load16(four.row[2] + i, four.row[3] + i, high);
      __m256i sum = _mm256_add_epi32(_mm256_madd_epi16(p01, w01), _mm256_madd_epi16(p23, w23));
      if (!First) sum = _mm256_add_epi32(sum, _mm256_loadu_si256(to));
      _mm256_storeu_si256(to, sum);
    }
  }
  for (; i < bytes; ++i) {
    std::uint32_t sum = First ? 0 : sums[i];
    for (int k = 0; k < 4; ++k) sum += four.weight[k] * four.row[k][i];
    sums[i] = sum;
  }
}

// Two times four neighbouring pixels as dwords, left ones first: pixels 0 2 1 3 of each lane.
inline __m256i dwords(const std::uint8_t *low, const std::uint8_t *high, __m256i order) {
  const __m256i bytes = _mm256_inserti128_si256(
      _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i *>(low))),
      _mm_loadu_si128(reinterpret_cast<const __m128i *>(high)), 1);
  return _mm256_shuffle_epi8(bytes, order);
}

__m256i dword_order(bool swap) {
  const char z = static_cast<char>(0x80);
  const __m128i same = _mm_setr_epi8(0, 1, 2, z, 6, 7, 8, z, 3, 4, 5, z, 9, 10, 11, z);
  const __m128i turned = _mm_setr_epi8(2, 1, 0, z, 8, 7, 6, z, 5, 4, 3, z, 11, 10, 9, z);
  return _mm256_broadcastsi128_si256(swap ? turned : same);
}

// The reference's statistics of a source row, 32 pixels at a time while 16-byte loads stay inside
// the frame's row.
void add_health(Plan &plan, const FrameView &frame, int y) {
  const std::uint8_t *from = frame.data + y * frame.stride + plan.source.x * 3;
  const int width = plan.source.width, readable = (plan.frame_width - plan.source.x) * 3;
  const __m256i order = dword_order(swaps_channels(plan));
  RowHealth health;
  health.begin(plan.sums, plan.spec.colour);
  int i = 0;
  for (; i + 32 <= width && i * 3 + 100 <= readable; i += 32) {
    const std::uint8_t *p = from + i * 3;
    health.add(dwords(p, p + 24, order), dwords(p + 12, p + 36, order),
               dwords(p + 48, p + 72, order), dwords(p + 60, p + 84, order));
  }
  health.end(plan.sums, static_cast<std::uint64_t>(i));
  scalar_health(plan, frame, y, i);
}

void sum_rows(Plan &plan, const FrameView &frame, int row) {
  const Cover &cover = plan.cover_y;
  const auto r = static_cast<std::size_t>(row);
  for (int k = 0; k < cover.count[r]; k += 4) {
    Four four;
    for (int j = 0; j < 4; ++j) {
      const bool there = k + j < cover.count[r];
      const int y = cover.start[r] + (there ? k + j : k);
      four.row[j] = frame.data + (plan.source.y + y) * frame.stride + plan.source.x * 3;
      four.weight[j] = there ? weight_at(cover, r, k + j) : 0;
      if (!plan.statistics || y < plan.next_unseen) continue;
      add_health(plan, frame, plan.source.y + y);
      plan.next_unseen = y + 1;
    }
    const auto add = k == 0 ? add_rows<true> : add_rows<false>;
    add(plan.column_sums.data(), four, plan.source.width * 3);
  }
}

inline __m128i load_sum(const std::uint32_t *at) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i *>(at));
}

// One output pixel: (c0, c1, c2, whatever follows).
inline __m128 sum_pixel(const std::uint32_t *sums, const Cover &cover, std::size_t n) {
  const int last = cover.count[n] - 1;
  __m128i cell = _mm_mullo_epi32(load_sum(sums), _mm_set1_epi32(static_cast<int>(cover.head[n])));
  __m128i middle = _mm_setzero_si128();
  for (int k = 1; k < last; ++k) middle = _mm_add_epi32(middle, load_sum(sums + k * 3));
  middle = _mm_mullo_epi32(middle, _mm_set1_epi32(static_cast<int>(cover.middle)));
  const __m128i tail = _mm_set1_epi32(last > 0 ? static_cast<int>(cover.tail[n]) : 0);
  cell = _mm_add_epi32(cell, _mm_mullo_epi32(load_sum(sums + last * 3), tail));
  return _mm_cvtepi32_ps(_mm_add_epi32(cell, middle));
}

void sum_columns(Plan &plan) {
  const bool swap = swaps_channels(plan);
  float *first = plan.cell(swap ? 2 : 0), *second = plan.cell(1), *third = plan.cell(swap ? 0 : 2);
  const Cover &cover = plan.cover_x;
  for (int x = 0; x < plan.content.width; x += 4) {
    __m128 cell[4];
    for (int j = 0; j < 4; ++j) {
      const auto n = static_cast<std::size_t>(std::min(x + j, plan.content.width - 1));
      cell[j] = sum_pixel(plan.column_sums.data() + cover.start[n] * 3, cover, n);
    }
    _MM_TRANSPOSE4_PS(cell[0], cell[1], cell[2], cell[3]);
    if (x + 4 <= plan.content.width) {
      _mm_storeu_ps(first + x, cell[0]);
      _mm_storeu_ps(second + x, cell[1]);
      _mm_storeu_ps(third + x, cell[2]);
      continue;
    }
    alignas(16) float rest[3][4];
    for (int c = 0; c < 3; ++c) _mm_store_ps(rest[c], cell[c]);
    for (int j = 0; x + j < plan.content.width; ++j)
      first[x + j] = rest[0][j], second[x + j] = rest[1][j], third[x + j] = rest[2][j];
  }
}

template <Dtype D, Layout L> void area_row(Plan &plan, const FrameView &frame, void *out, int row) {
  sum_rows(plan, frame, row);
  sum_columns(plan);
  emit_typed<D, L>(plan, out, row, 0);
}

template <Dtype D> RowFunction choose(Layout layout) {
  return layout == Layout::chw ? area_row<D, Layout::chw> : area_row<D, Layout::hwc>;
}

} // namespace

RowFunction avx2_area_row(const Plan &plan) {
  if (!sums_fit(plan)) return nullptr;
  switch (plan.spec.dtype) {
  case Dtype::float32: return choose<Dtype::float32>(plan.spec.layout);
  case Dtype::int8: return choose<Dtype::int8>(plan.spec.layout);
  default: return choose<Dtype::uint8>(plan.spec.layout);
  }
}

} // namespace edgeguard
EDGEGUARD_AVX2_END
#endif
