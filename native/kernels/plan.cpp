// SPDX-License-Identifier: Apache-2.0
#include "plan.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace edgeguard {
namespace {

using i64 = std::int64_t;

// The largest centred part of `box` with the tensor's aspect ratio.
Box centre_crop(const Box &box, const Spec &spec) {
  i64 w = box.width, h = box.height, W = spec.width, H = spec.height;
  if (w * H > h * W) {
    int width = static_cast<int>(std::max<i64>(1, h * W / H));
    return {box.x + (box.width - width) / 2, box.y, width, box.height};
  }
  int height = static_cast<int>(std::max<i64>(1, w * H / W));
  return {box.x, box.y + (box.height - height) / 2, box.width, height};
}

// Rounds down and centres like OpenCV's letterbox, so that the two can be compared.
Box letterbox(const Box &box, const Spec &spec) {
  i64 w = box.width, h = box.height, W = spec.width, H = spec.height;
  Box content{0, 0, spec.width, spec.height};
  if (w * H >= h * W)
    content.height = static_cast<int>(std::max<i64>(1, h * W / w));
  else
    content.width = static_cast<int>(std::max<i64>(1, w * H / h));
  content.x = (spec.width - content.width) / 2;
  content.y = (spec.height - content.height) / 2;
  return content;
}

// Half-pixel centres without antialiasing, in exact integers: position = (2i + 1) S / 2D - 1/2.
void fill_line(Line &line, int source, int target) {
  i64 unit = 2 * static_cast<i64>(target), seen = -1;
  line.distinct = 0;
  for (int i = 0; i < target; ++i) {
    i64 position = (2 * static_cast<i64>(i) + 1) * source - target;
    i64 first = position < 0 ? 0 : position / unit;
    i64 rest = position < 0 ? 0 : position % unit;
    if (first >= source - 1) first = source - 1, rest = 0;
    i64 second = std::min<i64>(first + 1, source - 1);
    auto n = static_cast<std::size_t>(i);
    line.first[n] = static_cast<std::int32_t>(first);
    line.second[n] = static_cast<std::int32_t>(second);
    line.weight[n] =
        static_cast<std::int16_t>(std::min<i64>((rest * 32768 + target) / unit, 32767));
    line.distinct += static_cast<std::uint64_t>((first > seen) + (second > std::max(first, seen)));
    seen = second;
  }
}

void fill_box_filter(Cover &cover, int source, int target) {
  i64 divisor = std::gcd(source, target), s = source / divisor, d = target / divisor;
  cover.middle = static_cast<std::uint32_t>(d);
  cover.total = static_cast<std::uint32_t>(s);
  for (int i = 0; i < target; ++i) {
    i64 begin = i * s, end = begin + s; // in units of 1/d source pixel
    i64 first = begin / d, last = (end - 1) / d;
    auto n = static_cast<std::size_t>(i);
    cover.start[n] = static_cast<std::int32_t>(first);
    cover.count[n] = static_cast<std::int32_t>(last - first + 1);
    cover.head[n] = static_cast<std::uint32_t>(std::min((first + 1) * d, end) - begin);
    cover.tail[n] = static_cast<std::uint32_t>(end - last * d);
  }
}

// An axis that an area resize enlarges is interpolated, as OpenCV does.
void fill_interpolation(Cover &cover, const Line &line, int target) {
  constexpr std::uint32_t unit = 2048;
  cover.middle = cover.total = unit;
  for (int i = 0; i < target; ++i) {
    auto n = static_cast<std::size_t>(i);
    auto weight = (static_cast<std::uint32_t>(line.weight[n]) + 8) >> 4;
    bool one = line.first[n] == line.second[n];
    cover.start[n] = line.first[n];
    cover.count[n] = one ? 1 : 2;
    cover.head[n] = one ? unit : unit - weight;
    cover.tail[n] = one ? unit : weight;
  }
}

void fill_cover(Cover &cover, Line &line, int source, int target) {
  if (source >= target) return fill_box_filter(cover, source, target);
  fill_line(line, source, target);
  fill_interpolation(cover, line, target);
}

// Bytes from the start of a frame's row to the neighbours of output pixel x.
int near_at(const Plan &plan, int x) {
  return (plan.source.x + plan.columns.first[static_cast<std::size_t>(x)]) * 3;
}

int far_at(const Plan &plan, int x) {
  return (plan.source.x + plan.columns.second[static_cast<std::size_t>(x)]) * 3;
}

// Where the loads start. They must stay inside their row of the frame, so the last ones start
// earlier and the shuffles make up for it.
void fill_offsets(Plan &plan) {
  Windows &windows = plan.windows;
  const int row = plan.frame_width * 3, width = plan.content.width;
  windows.paired = plan.variant == Variant::avx2 && row >= 16;
  for (int x = 0; x + 1 < width; x += 2)
    windows.paired = windows.paired && far_at(plan, x + 1) + 3 - near_at(plan, x) <= 16;
  for (int x = 0; x < width; ++x) {
    const int from = windows.paired ? std::min(near_at(plan, x & ~1), row - 16)
                                    : std::min(near_at(plan, x), row - 8);
    windows.offset[static_cast<std::size_t>(x)] = from;
  }
}

void fill_windows(Plan &plan) {
  const bool swap = swaps_channels(plan);
  Windows &windows = plan.windows;
  fill_offsets(plan);
  for (int x = 0; x < plan.content.width; ++x) {
    auto n = static_cast<std::size_t>(x), at = static_cast<std::size_t>(slot(plan, x));
    const int base = (windows.paired ? 0 : (x & 1) * 8) - windows.offset[n];
    for (int c = 0; c < 4; ++c) {
      auto lane = at * 4 + static_cast<std::size_t>(c);
      const int channel = base + (swap ? 2 - c : c);
      windows.weight[lane] = plan.columns.weight[n];
      windows.near_[lane * 2] =
          static_cast<std::uint8_t>(c == 3 ? 0x80 : near_at(plan, x) + channel);
      windows.far_[lane * 2] = static_cast<std::uint8_t>(c == 3 ? 0x80 : far_at(plan, x) + channel);
    }
  }
}

void set_affine(Plan &plan) {
  const Spec &spec = plan.spec;
  double unit = plan.area ? static_cast<double>(plan.cover_x.total) * plan.cover_y.total : 128.0;
  double step = spec.dtype == Dtype::float32 ? 1.0 : spec.scale;
  for (std::size_t c = 0; c < 3; ++c) {
    double gain = 1.0 / 255.0 / spec.std[c] / step;
    double bias = -spec.mean[c] / spec.std[c] / step;
    if (spec.dtype != Dtype::float32) bias += spec.zero_point;
    plan.gain[c] = static_cast<float>(gain / unit);
    plan.bias[c] = static_cast<float>(bias);
    plan.pad_value[c] = static_cast<float>(spec.pad) * static_cast<float>(gain) + plan.bias[c];
  }
}

} // namespace

void reserve(Plan &plan) {
  auto width = static_cast<std::size_t>(plan.spec.width) + 8;
  auto height = static_cast<std::size_t>(plan.spec.height);
  for (auto [line, size] : {std::pair{&plan.columns, width}, std::pair{&plan.rows, height}}) {
    line->first.resize(size);
    line->second.resize(size);
    line->weight.resize(size);
  }
  for (auto [cover, size] : {std::pair{&plan.cover_x, width}, std::pair{&plan.cover_y, height}}) {
    cover->start.resize(size);
    cover->count.resize(size);
    cover->head.resize(size);
    cover->tail.resize(size);
  }
  plan.windows.offset.resize(width);
  plan.windows.weight.resize(width * 4);
  plan.windows.near_.assign(width * 8, 0x80); // odd bytes stay "nothing": 8 bits become 16
  plan.windows.far_.assign(width * 8, 0x80);
  plan.column_sums.resize(static_cast<std::size_t>(plan.frame_width) * 3 + 32);
  plan.cells.resize(width * 3);
}

void lay_out(Plan &plan, const Box &box) {
  const Spec &spec = plan.spec;
  plan.asked = box;
  plan.source = spec.fit == Fit::crop ? centre_crop(box, spec) : box;
  plan.content =
      spec.fit == Fit::letterbox ? letterbox(box, spec) : Box{0, 0, spec.width, spec.height};
  const Box &from = plan.source, &to = plan.content;
  plan.area = spec.resize == Resize::area && (from.width > to.width || from.height > to.height);
  if (plan.area) {
    fill_cover(plan.cover_x, plan.columns, from.width, to.width);
    fill_cover(plan.cover_y, plan.rows, from.height, to.height);
  } else {
    fill_line(plan.columns, from.width, to.width);
    fill_line(plan.rows, from.height, to.height);
    bool windows = plan.format == Format::bgr || plan.format == Format::rgb;
    if (windows && plan.frame_width >= 3) fill_windows(plan);
  }
  set_affine(plan);
}

} // namespace edgeguard
