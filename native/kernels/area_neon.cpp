// SPDX-License-Identifier: Apache-2.0
// Area, BGR or RGB, for aarch64: rows first, then columns, in exact integers.
#include "emit.hpp"
#include "health_neon.hpp"

#if defined(__aarch64__)
namespace edgeguard {
namespace {

// sums[i] (+)= weight * row[i]
void add_row(std::uint32_t *sums, const std::uint8_t *row, std::uint32_t weight, int bytes,
             bool first) {
  const auto w = static_cast<std::uint16_t>(weight);
  int i = 0;
  for (; i + 8 <= bytes; i += 8) {
    const uint16x8_t p = vmovl_u8(vld1_u8(row + i));
    const uint32x4_t low = first ? vdupq_n_u32(0) : vld1q_u32(sums + i);
    const uint32x4_t high = first ? vdupq_n_u32(0) : vld1q_u32(sums + i + 4);
    vst1q_u32(sums + i, vmlal_n_u16(low, vget_low_u16(p), w));
    vst1q_u32(sums + i + 4, vmlal_n_u16(high, vget_high_u16(p), w));
  }
  for (; i < bytes; ++i) sums[i] = (first ? 0 : sums[i]) + weight * row[i];
}

// Four neighbouring pixels as words, left ones of two pairs first: pixels 0 2 1 3.
inline uint8x16_t word_order(bool swap) {
  constexpr std::uint8_t z = 0x80;
  constexpr std::uint8_t same[16] = {0, 1, 2, z, 6, 7, 8, z, 3, 4, 5, z, 9, 10, 11, z};
  constexpr std::uint8_t turned[16] = {2, 1, 0, z, 8, 7, 6, z, 5, 4, 3, z, 11, 10, 9, z};
  return vld1q_u8(swap ? turned : same);
}

// The reference's statistics of a source row, while 16-byte loads stay inside the frame's row.
void add_health(Plan &plan, const FrameView &frame, int y) {
  const std::uint8_t *from = frame.data + y * frame.stride + plan.source.x * 3;
  const int width = plan.source.width, readable = (plan.frame_width - plan.source.x) * 3;
  const uint8x16_t order = word_order(swaps_channels(plan));
  RowHealth health;
  health.begin(plan.sums, plan.spec.colour);
  int i = 0;
  for (; i + 4 <= width && i * 3 + 16 <= readable; i += 4)
    health.add(vqtbl1q_u8(vld1q_u8(from + i * 3), order), hash_lane(i / 2, 0) / 4);
  health.end(plan.sums, static_cast<std::uint64_t>(i));
  scalar_health(plan, frame, y, i);
}

void sum_rows(Plan &plan, const FrameView &frame, int row) {
  const Cover &cover = plan.cover_y;
  const auto r = static_cast<std::size_t>(row);
  for (int k = 0; k < cover.count[r]; ++k) {
    const int y = cover.start[r] + k;
    if (plan.statistics && y >= plan.next_unseen) {
      add_health(plan, frame, plan.source.y + y);
      plan.next_unseen = y + 1;
    }
    const std::uint8_t *source = frame.data + (plan.source.y + y) * frame.stride;
    add_row(plan.column_sums.data(), source + plan.source.x * 3, weight_at(cover, r, k),
            plan.source.width * 3, k == 0);
  }
}

void sum_columns(Plan &plan) {
  const bool swap = swaps_channels(plan);
  float *first = plan.cell(swap ? 2 : 0), *second = plan.cell(1), *third = plan.cell(swap ? 0 : 2);
  const Cover &cover = plan.cover_x;
  for (int x = 0; x < plan.content.width; ++x) {
    const auto n = static_cast<std::size_t>(x);
    const std::uint32_t *sums = plan.column_sums.data() + cover.start[n] * 3;
    uint32x4_t cell = vdupq_n_u32(0);
    for (int k = 0; k < cover.count[n]; ++k)
      cell = vmlaq_n_u32(cell, vld1q_u32(sums + k * 3), weight_at(cover, n, k));
    const float32x4_t value = vcvtq_f32_u32(cell);
    first[x] = vgetq_lane_f32(value, 0);
    second[x] = vgetq_lane_f32(value, 1);
    third[x] = vgetq_lane_f32(value, 2);
  }
}

template <Dtype D, Layout L> void area_row(Plan &plan, const FrameView &frame, void *out, int row) {
  sum_rows(plan, frame, row);
  sum_columns(plan);
  emit_typed<D, L>(plan, out, row, 0);
}

} // namespace

RowFunction neon_area_row(const Plan &plan) {
  if (!sums_fit(plan)) return nullptr;
  return with_target(plan.spec, [](auto dtype, auto layout) -> RowFunction {
    return area_row<dtype(), layout()>;
  });
}

} // namespace edgeguard
#endif
