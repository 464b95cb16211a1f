// SPDX-License-Identifier: Apache-2.0
// Feature squeezing: an attack's perturbation seldom survives fewer bits or a median, a sign does.
// Plain loops over min and max, which every compiler turns into byte-wide SIMD.
#include <algorithm>

#include "preprocess.hpp"

namespace edgeguard {
namespace {

using Byte = std::uint8_t;

inline Byte low(Byte a, Byte b) {
  return a < b ? a : b;
}
inline Byte high(Byte a, Byte b) {
  return a < b ? b : a;
}

// The third smallest of four, which is what rank filters call the median of an even window.
inline Byte median4(Byte a, Byte b, Byte c, Byte d) {
  return high(high(low(a, b), low(c, d)), low(high(a, b), high(c, d)));
}

inline Byte median3(Byte a, Byte b, Byte c) {
  return high(low(a, b), low(high(a, b), c));
}

// Of three sorted columns: median of (largest low, median middle, smallest high).
inline Byte median9(const Byte (&c)[3][3]) {
  Byte lows = 0, highs = 255, middle[3];
  for (int i = 0; i < 3; ++i) {
    Byte a = low(c[i][0], c[i][1]), b = high(c[i][0], c[i][1]);
    lows = high(lows, low(a, c[i][2]));
    highs = low(highs, high(b, c[i][2]));
    middle[i] = high(a, low(b, c[i][2]));
  }
  return median3(lows, median3(middle[0], middle[1], middle[2]), highs);
}

inline Byte median9_at(const Byte *up, const Byte *at, const Byte *down, int left, int x,
                       int right) {
  const Byte columns[3][3] = {{up[left], at[left], down[left]},
                              {up[x], at[x], down[x]},
                              {up[right], at[right], down[right]}};
  return median9(columns);
}

void median3_row(const Byte *up, const Byte *at, const Byte *down, Byte *__restrict out, int count,
                 int channels) {
  int inner = count - channels;
  for (int x = 0; x < std::min(channels, count); ++x)
    out[x] = median9_at(up, at, down, x, x, count > channels ? x + channels : x);
  for (int x = channels; x < inner; ++x)
    out[x] = median9_at(up, at, down, x - channels, x, x + channels);
  for (int x = std::max(inner, channels); x < count; ++x)
    out[x] = median9_at(up, at, down, x - channels, x, x);
}

} // namespace

// Keeps 2^bits levels, spread over 0..255, each grey level going to the nearest one.
void squeeze_depth(const Byte *__restrict in, Byte *__restrict out, std::size_t count, int bits) {
  Byte table[256];
  int top = (1 << bits) - 1;
  for (int v = 0; v < 256; ++v) {
    int level = (v * top * 2 + 255) / 510;
    table[v] = static_cast<Byte>((level * 510 + top) / (2 * top));
  }
  for (std::size_t i = 0; i < count; ++i) out[i] = table[in[i]];
}

void squeeze_median2(const Byte *in, Byte *__restrict out, int height, int width, int channels) {
  const std::ptrdiff_t count = static_cast<std::ptrdiff_t>(width) * channels;
  for (int y = 0; y < height; ++y) {
    const Byte *at = in + y * count, *up = in + std::max(y - 1, 0) * count;
    Byte *__restrict to = out + y * count;
    for (int x = 0; x < channels; ++x) to[x] = median4(up[x], up[x], at[x], at[x]);
    for (std::ptrdiff_t x = channels; x < count; ++x)
      to[x] = median4(up[x - channels], up[x], at[x - channels], at[x]);
  }
}

void squeeze_median3(const Byte *in, Byte *__restrict out, int height, int width, int channels) {
  const std::ptrdiff_t count = static_cast<std::ptrdiff_t>(width) * channels;
  for (int y = 0; y < height; ++y) {
    const Byte *up = in + std::max(y - 1, 0) * count, *at = in + y * count;
    const Byte *down = in + std::min(y + 1, height - 1) * count;
    median3_row(up, at, down, out + y * count, static_cast<int>(count), channels);
  }
}

} // namespace edgeguard
