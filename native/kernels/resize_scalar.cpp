// SPDX-License-Identifier: Apache-2.0
// The reference: every format, every model, defined in integers up to one multiply and one add.
#include <cstring>

#include "colour.hpp"
#include "emit.hpp"

namespace edgeguard {
namespace {

// a..b with a 15-bit weight, rounded half up: x86's pmulhrsw, ARM's sqrdmulh.
inline int lerp(int a, int b, int weight) {
  return a + (((b - a) * weight + (1 << 14)) >> 15);
}

// Bilinear cells are in 1/128 grey level: 255 * 128 is the most that 16 signed bits hold.
inline int blend(int top0, int top1, int bottom0, int bottom1, int wx, int wy) {
  return lerp(lerp(top0 * 128, bottom0 * 128, wy), lerp(top1 * 128, bottom1 * 128, wy), wx);
}

template <Format F, Colour C>
void bilinear_cells(Plan &plan, const FrameView &frame, int row, int from) {
  auto r = static_cast<std::size_t>(row);
  const Row<F> top(frame, plan.source.y + plan.rows.first[r]);
  const Row<F> bottom(frame, plan.source.y + plan.rows.second[r]);
  for (int x = from; x < plan.content.width; ++x) {
    auto n = static_cast<std::size_t>(x);
    int x0 = plan.source.x + plan.columns.first[n], x1 = plan.source.x + plan.columns.second[n];
    Pixel a0 = top[x0], a1 = top[x1], b0 = bottom[x0], b1 = bottom[x1];
    auto ta0 = channels_of<C>(a0), ta1 = channels_of<C>(a1);
    auto tb0 = channels_of<C>(b0), tb1 = channels_of<C>(b1);
    for (std::size_t c = 0; c < ta0.size(); ++c)
      plan.cell(static_cast<int>(c))[x] = static_cast<float>(
          blend(ta0[c], ta1[c], tb0[c], tb1[c], plan.columns.weight[n], plan.rows.weight[r]));
    if (!plan.statistics) continue;
    add_pair(plan.sums, a0, a1, C, x);
    add_pair(plan.sums, b0, b1, C, x);
  }
}

// Statistics of the box's part of a source row; its pixels pair up as columns of the hash.
template <Format F> void add_row(Plan &plan, const Row<F> &source, int from) {
  const Colour order = plan.spec.colour;
  int width = plan.source.width;
  for (int i = from; i + 1 < width; i += 2)
    add_pair(plan.sums, source[plan.source.x + i], source[plan.source.x + i + 1], order, i / 2);
  if (width % 2 == 0) return;
  int i = width - 1;
  add_pixel(plan.sums, source[plan.source.x + i], order, hash_lane(i / 2, 0));
}

template <Format F, Colour C> void sum_rows(Plan &plan, const FrameView &frame, int row) {
  auto r = static_cast<std::size_t>(row);
  const Cover &cover = plan.cover_y;
  auto width = static_cast<std::size_t>(plan.source.width);
  constexpr std::size_t channels = C == Colour::gray ? 1 : 3;
  std::fill_n(plan.column_sums.begin(), width * channels, 0u);
  for (int k = 0; k < cover.count[r]; ++k) {
    int y = cover.start[r] + k;
    const Row<F> source(frame, plan.source.y + y);
    std::uint32_t weight = weight_at(cover, r, k), *sum = plan.column_sums.data();
    for (int x = 0; x < plan.source.width; ++x)
      for (int value : channels_of<C>(source[plan.source.x + x]))
        *sum++ += weight * static_cast<std::uint32_t>(value);
    if (!plan.statistics || y < plan.next_unseen) continue;
    add_row<F>(plan, source, 0);
    plan.next_unseen = y + 1;
  }
}

template <Colour C> void sum_columns(Plan &plan) {
  constexpr std::size_t channels = C == Colour::gray ? 1 : 3;
  const Cover &cover = plan.cover_x;
  for (int x = 0; x < plan.content.width; ++x) {
    auto n = static_cast<std::size_t>(x);
    const std::uint32_t *sums =
        plan.column_sums.data() + static_cast<std::size_t>(cover.start[n]) * channels;
    for (std::size_t c = 0; c < channels; ++c) {
      std::uint64_t cell = 0;
      for (int k = 0; k < cover.count[n]; ++k)
        cell += std::uint64_t{weight_at(cover, n, k)} *
                sums[static_cast<std::size_t>(k) * channels + c];
      plan.cell(static_cast<int>(c))[x] = static_cast<float>(cell);
    }
  }
}

template <Format F, Colour C>
void row_from(Plan &plan, const FrameView &frame, void *out, int row, int from) {
  if (plan.area) {
    sum_rows<F, C>(plan, frame, row);
    sum_columns<C>(plan);
  } else {
    bilinear_cells<F, C>(plan, frame, row, from);
  }
  emit(plan, out, row, from);
}

using RowFrom = void (*)(Plan &, const FrameView &, void *, int, int);

template <Format F> RowFrom for_colour(Colour colour) {
  switch (colour) {
  case Colour::rgb: return row_from<F, Colour::rgb>;
  case Colour::bgr: return row_from<F, Colour::bgr>;
  default: return row_from<F, Colour::gray>;
  }
}

RowFrom for_plan(const Plan &plan) {
  Colour colour = plan.spec.colour;
  switch (plan.format) {
  case Format::bgr: return for_colour<Format::bgr>(colour);
  case Format::rgb: return for_colour<Format::rgb>(colour);
  case Format::bgra: return for_colour<Format::bgra>(colour);
  case Format::gray: return for_colour<Format::gray>(colour);
  case Format::yuyv: return for_colour<Format::yuyv>(colour);
  default: return for_colour<Format::nv12>(colour);
  }
}

void whole_row(Plan &plan, const FrameView &frame, void *out, int row) {
  for_plan(plan)(plan, frame, out, row, 0);
}

std::uint64_t touch(const std::uint8_t *from, std::size_t bytes) {
  std::uint64_t sum = 0, word;
  for (; bytes >= sizeof word; bytes -= sizeof word, from += sizeof word) {
    std::memcpy(&word, from, sizeof word);
    sum += word;
  }
  return sum;
}

} // namespace

RowFunction scalar_row(const Plan &) {
  return whole_row;
}
TouchFunction scalar_touch() {
  return touch;
}

void scalar_bilinear(Plan &plan, const FrameView &frame, void *out, int row, int from) {
  for_plan(plan)(plan, frame, out, row, from);
}

void scalar_health(Plan &plan, const FrameView &frame, int y, int from) {
  if (plan.format == Format::bgr) return add_row(plan, Row<Format::bgr>(frame, y), from);
  add_row(plan, Row<Format::rgb>(frame, y), from);
}

} // namespace edgeguard
