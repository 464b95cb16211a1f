// SPDX-License-Identifier: Apache-2.0
// What a frame size, a box and a model's input have fixed before the first pixel is read.
#pragma once

#include <cstdint>
#include <vector>

#include "health.hpp"
#include "preprocess.hpp"

namespace edgeguard {

// One axis of a bilinear resize. Weights have 15 bits; positions count from the box.
struct Line {
  std::vector<std::int32_t> first, second;
  std::vector<std::int16_t> weight; // of `second`
  std::uint64_t distinct = 0;       // source positions that are read
};

// One axis of an area resize: output i is head * p[start] + middle * (the rest) + tail * p[last].
// With the axis' sizes divided by their common divisor, source S and target D, an output covers S
// units and a whole pixel D of them: a box filter needs no rounding at all.
struct Cover {
  std::vector<std::int32_t> start, count;
  std::vector<std::uint32_t> head, tail;
  std::uint32_t middle = 1, total = 1;
};

inline std::uint32_t weight_at(const Cover &cover, std::size_t n, int k) {
  return k == 0 ? cover.head[n] : k + 1 == cover.count[n] ? cover.tail[n] : cover.middle;
}

// Eight output pixels at a time as the SIMD units want them: where to load the 8 bytes that hold
// both neighbours, and how to spread them to 16-bit lanes in the model's channel order. Where 16
// bytes hold the neighbours of two output pixels, `paired`, one load does for both.
struct Windows {
  bool paired = false;
  std::vector<std::int32_t> offset;
  std::vector<std::int16_t> weight;      // 4 times a pixel
  std::vector<std::uint8_t> near_, far_; // 8 shuffle bytes a pixel
};

struct Plan;
using RowFunction = void (*)(Plan &, const FrameView &, void *out, int row);
using TouchFunction = std::uint64_t (*)(const std::uint8_t *, std::size_t);

struct Plan {
  Spec spec;
  Format format;
  int frame_height, frame_width;
  bool statistics;
  Variant variant;

  Box source{0, 0, 0, 0};  // after `fit`
  Box content{0, 0, 0, 0}; // where it lands in the tensor
  Box asked{0, 0, -1, -1}; // for which all this was computed
  bool area = false;

  Line columns, rows;
  Cover cover_x, cover_y;
  Windows windows;
  float gain[3], bias[3]; // tensor = cell * gain + bias
  float pad_value[3];

  std::vector<std::uint32_t> column_sums; // one source row, interleaved
  std::vector<float> cells; // one output row, planar, integers held exactly or rounded once
  int next_unseen = 0;      // first source row whose statistics are still to come
  Sums sums;
  RowFunction row = nullptr;
  TouchFunction touch = nullptr;

  float *cell(int channel) {
    return cells.data() + static_cast<std::size_t>(channel) * static_cast<std::size_t>(spec.width);
  }
};

// Pixels of a group of eight are stored as AVX2's lanes want them: 0 1 4 5 2 3 6 7.
inline int slot(const Plan &plan, int x) {
  if (plan.variant != Variant::avx2) return x;
  return (x & ~6) | ((x & 2) << 1) | ((x & 4) >> 1);
}

// SIMD adds areas in 32 bits; beyond them the reference adds in 64.
inline bool sums_fit(const Plan &plan) {
  return 255.0 * plan.cover_x.total * plan.cover_y.total < 2147483648.0;
}

// BGR frames for RGB models and the other way round.
inline bool swaps_channels(const Plan &plan) {
  return (plan.format == Format::bgr) != (plan.spec.colour == Colour::bgr);
}

void reserve(Plan &plan);
void lay_out(Plan &plan, const Box &box); // source, content, every table; allocates nothing

RowFunction scalar_row(const Plan &plan);
RowFunction avx2_row(const Plan &plan); // nullptr: not built, or not for this plan
RowFunction avx2_area_row(const Plan &plan);
RowFunction neon_row(const Plan &plan);
RowFunction neon_area_row(const Plan &plan);
TouchFunction scalar_touch();
TouchFunction avx2_touch();

// The reference, for the pixels that do not fill a vector: of an output row, of a source row.
void scalar_bilinear(Plan &plan, const FrameView &frame, void *out, int row, int from);
void scalar_health(Plan &plan, const FrameView &frame, int y, int from);

} // namespace edgeguard
