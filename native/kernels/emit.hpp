// SPDX-License-Identifier: Apache-2.0
// From a row of cells to the tensor: one multiply, one add, and for integers round and saturate.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "plan.hpp"

namespace edgeguard {

template <Dtype D>
using Element = std::conditional_t<D == Dtype::float32, float,
                                   std::conditional_t<D == Dtype::int8, std::int8_t, std::uint8_t>>;

// Adding and subtracting 1.5 * 2^23 rounds half to even, as every SIMD unit does, and vectorizes.
template <Dtype D> inline Element<D> to_element(float value) {
  if constexpr (D == Dtype::float32) {
    return value;
  } else {
    constexpr float low = D == Dtype::int8 ? -128.f : 0.f, high = D == Dtype::int8 ? 127.f : 255.f;
    constexpr float magic = 12582912.f;
    float rounded = (std::min(std::max(value, low), high) + magic) - magic;
    return static_cast<Element<D>>(static_cast<int>(rounded));
  }
}

// Where channel 0 of a pixel goes, and how far it is to its next channel and its next pixel.
struct Cursor {
  std::size_t at, channel, pixel;
};

template <Layout L> inline Cursor cursor(const Plan &plan, int row, int column) {
  auto width = static_cast<std::size_t>(plan.spec.width);
  auto height = static_cast<std::size_t>(plan.spec.height);
  auto channels = static_cast<std::size_t>(plan.spec.channels());
  std::size_t pixel = static_cast<std::size_t>(plan.content.y + row) * width +
                      static_cast<std::size_t>(plan.content.x + column);
  if (L == Layout::chw) return {pixel, width * height, 1};
  return {pixel * channels, 1, channels};
}

template <Dtype D, Layout L> void emit_typed(Plan &plan, void *out, int row, int from) {
  Cursor to = cursor<L>(plan, row, 0);
  for (int c = 0; c < plan.spec.channels(); ++c) {
    const float *cell = plan.cell(c);
    const float gain = plan.gain[c], bias = plan.bias[c];
    Element<D> *target =
        static_cast<Element<D> *>(out) + to.at + static_cast<std::size_t>(c) * to.channel;
    for (int x = from; x < plan.content.width; ++x)
      target[static_cast<std::size_t>(x) * (L == Layout::chw ? 1 : to.pixel)] =
          to_element<D>(cell[x] * gain + bias);
  }
}

// Calls f with the dtype and the layout of the plan as types.
template <typename F> auto with_target(const Spec &spec, F &&f) {
  auto with_layout = [&](auto dtype) {
    if (spec.layout == Layout::chw) return f(dtype, std::integral_constant<Layout, Layout::chw>{});
    return f(dtype, std::integral_constant<Layout, Layout::hwc>{});
  };
  if (spec.dtype == Dtype::float32)
    return with_layout(std::integral_constant<Dtype, Dtype::float32>{});
  if (spec.dtype == Dtype::int8) return with_layout(std::integral_constant<Dtype, Dtype::int8>{});
  return with_layout(std::integral_constant<Dtype, Dtype::uint8>{});
}

// Cells [from, content width) of an output row of the content.
inline void emit(Plan &plan, void *out, int row, int from) {
  with_target(plan.spec, [&](auto dtype, auto layout) {
    emit_typed<dtype(), layout()>(plan, out, row, from);
  });
}

} // namespace edgeguard
