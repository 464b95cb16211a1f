// SPDX-License-Identifier: Apache-2.0
#include "evidence.hpp"

#include <cfloat>
#include <climits>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace edgeguard {
namespace {

constexpr int kLanes = 8; // additions go to eight sums, joined in a fixed order
constexpr int32_t kOne = 65536;
constexpr float kNothing = -1e30f; // stands for log(0)

// Scores are compared as int32 keys in the order of the reals they stand for: no comparison of
// floats, so neither NaN nor a flush-to-zero mode changes the order.

struct Floats {
  const unsigned char *data;

  int32_t key(int i) const {
    uint32_t bits;
    std::memcpy(&bits, data + sizeof(float) * static_cast<size_t>(i), sizeof bits);
    bits = (bits & 0x7f800000u) != 0 ? bits : 0; // -0 and denormals are 0
    return flip(bits);
  }
  float real(int32_t key) const {
    const uint32_t bits = static_cast<uint32_t>(flip(static_cast<uint32_t>(key)));
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }
  static int32_t flip(uint32_t bits) {
    const uint32_t sign = 0u - (bits >> 31);
    const uint32_t flipped = bits ^ (sign & 0x7fffffffu);
    int32_t key;
    std::memcpy(&key, &flipped, sizeof key);
    return key;
  }
  static bool bad(int32_t key) { return key >= 0x7f800000 || key <= -0x7f800001; }
  static constexpr int32_t kRail = INT_MAX; // no finite float has this key
};

template <class Raw, int32_t Rail> struct Quantized {
  const Raw *data;
  double scale, zero_point;

  int32_t key(int i) const { return data[i]; }
  float real(int32_t key) const { return static_cast<float>(scale * (key - zero_point)); }
  static bool bad(int32_t) { return false; }
  static constexpr int32_t kRail = Rail;
};

struct Scan {
  int32_t label, top, second; // keys; second is the top again in a tie
  int32_t bad, rail, distinct;
};

template <class Scores> Scan scan(const Scores &scores, int n) {
  Scan s = {0, INT_MIN, INT_MIN, 0, 0, 0};
  int32_t low = INT_MAX;
  for (int i = 0; i < n; ++i) {
    const int32_t key = scores.key(i);
    s.top = key > s.top ? key : s.top;
    low = key < low ? key : low;
    s.bad += Scores::bad(key) ? 1 : 0;
    s.rail += key == Scores::kRail ? 1 : 0;
  }
  int32_t ties = 0, between = 0;
  for (int i = 0; i < n; ++i) {
    const int32_t key = scores.key(i);
    const int32_t below = key < s.top ? key : INT_MIN;
    s.second = below > s.second ? below : s.second;
    ties += key == s.top ? 1 : 0;
    between += (key < s.top) & (key > low) ? 1 : 0;
  }
  s.second = ties > 1 ? s.top : s.second;
  s.distinct = 1 + (low != s.top ? 1 : 0) + (between > 0 ? 1 : 0);
  while (scores.key(s.label) != s.top) ++s.label;
  return s;
}

// e^z for z <= 0, within 2 ULP; below -87, and for NaN, e^-87. Polynomial of Cephes' expf.
inline float exp_of(float z) {
  z = z > -87.0f ? z : -87.0f;
  const float round = 12582912.0f; // 1.5 * 2^23
  const float k = (z * 1.44269504f + round) - round;
  const float r = (z - k * 0.693359375f) + k * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = (p * r) * r + r + 1.0f;
  const int32_t bits = (static_cast<int32_t>(k) + 127) * (1 << 23);
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return p * power;
}

// ln p for p from FLT_MIN to 1, within 2 ULP; kNothing for less. Polynomial of Cephes' logf.
inline float log_of(float p) {
  const float x = p < FLT_MIN ? 1.0f : (p > 1.0f ? 1.0f : p);
  int32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  const int32_t exponent = (bits - 0x3f3504f3) >> 23; // mantissa from sqrt(1/2) to sqrt(2)
  bits -= exponent * (1 << 23);
  float m;
  std::memcpy(&m, &bits, sizeof m);
  m -= 1.0f;
  const float e = static_cast<float>(exponent);
  float q = 7.0376836292e-2f;
  q = q * m - 1.1514610310e-1f;
  q = q * m + 1.1676998740e-1f;
  q = q * m - 1.2420140846e-1f;
  q = q * m + 1.4249322787e-1f;
  q = q * m - 1.6668057665e-1f;
  q = q * m + 2.0000714765e-1f;
  q = q * m - 2.4999993993e-1f;
  q = q * m + 3.3333331174e-1f;
  const float square = m * m;
  const float y = (q * m * square + e * -2.12194440e-4f) - 0.5f * square;
  return p < FLT_MIN ? kNothing : (m + y) + e * 0.693359375f;
}

// The exponent of each score's softmax term, relative to the top score: 0 or less.

struct FloatExponent {
  Floats scores;
  float top, factor;
  float operator()(int32_t key) const { return (scores.real(key) - top) * factor; }
};

struct QuantizedExponent {
  int32_t top;
  float factor;
  float operator()(int32_t key) const { return static_cast<float>(key - top) * factor; }
};

template <class Scores> struct LogExponent {
  Scores scores;
  float top, factor;
  float operator()(int32_t key) const { return (log_of(scores.real(key)) - top) * factor; }
};

FloatExponent logits_of(const Floats &scores, const Scan &s, const ScoreSpec &spec) {
  return {scores, scores.real(s.top), 1.0f / spec.temperature};
}

template <class Raw, int32_t Rail>
QuantizedExponent logits_of(const Quantized<Raw, Rail> &, const Scan &s, const ScoreSpec &spec) {
  const double factor = static_cast<double>(spec.scale) / spec.temperature;
  return {s.top, static_cast<float>(factor < 1e30 ? factor : 1e30)};
}

// Q16.16, rounded to nearest, saturated; NaN is 0.
inline int32_t fixed(double value) {
  const double scaled = value * kOne;
  if (!(scaled < 2147483647.0)) return scaled >= 2147483647.0 ? INT32_MAX : 0;
  if (scaled <= -2147483648.0) return INT32_MIN;
  const int32_t whole = static_cast<int32_t>(scaled);
  const double rest = scaled - whole;
  return whole + (rest >= 0.5 ? 1 : 0) - (rest <= -0.5 ? 1 : 0);
}

struct Moments {
  double sum, weighted; // of e^z, and of z e^z
};

template <class Scores, class Exponent>
Moments moments(const Scores &scores, const Exponent &exponent, int n) {
  float sum[kLanes] = {}, weighted[kLanes] = {};
  int i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const float z = exponent(scores.key(i + lane));
      const float e = exp_of(z);
      sum[lane] += e;
      weighted[lane] += (z > -87.0f ? z : -87.0f) * e;
    }
  }
  for (int lane = 0; i < n; ++i, ++lane) {
    const float z = exponent(scores.key(i));
    const float e = exp_of(z);
    sum[lane] += e;
    weighted[lane] += (z > -87.0f ? z : -87.0f) * e;
  }
  Moments m = {0.0, 0.0};
  for (int lane = 0; lane < kLanes; ++lane) {
    m.sum += static_cast<double>(sum[lane]);
    m.weighted += static_cast<double>(weighted[lane]);
  }
  return m;
}

// Writes certainty, margin and entropy; `given` is the mass of probability to share out.
template <class Scores, class Exponent>
double softmax(const Scores &scores, const Exponent &exponent, const Scan &s, int n, double given,
               eg_evidence_t *out) {
  const Moments m = moments(scores, exponent, n);
  const double share = (given < 1.0 ? given : 1.0) / m.sum;
  const double second = n > 1 ? static_cast<double>(exp_of(exponent(s.second))) : 0.0;
  const double log_sum = std::log(m.sum);
  const double entropy = log_sum - m.weighted / m.sum;
  out->certainty = fixed(share);
  out->margin = fixed(share * (1.0 - second));
  out->entropy = fixed(entropy > 0.0 ? entropy : 0.0);
  return log_sum;
}

template <class Scores>
int32_t outside(const Scores &scores, int n, double low, double high, double *sum) {
  int32_t count = 0;
  double total = 0.0;
  for (int i = 0; i < n; ++i) {
    const double value = static_cast<double>(scores.real(scores.key(i)));
    count += !(value >= low && value <= high) ? 1 : 0;
    total += value;
  }
  *sum = total;
  return count;
}

template <class Scores> void read(const ScoreSpec &spec, const Scores &scores, eg_evidence_t *out) {
  const int n = spec.n;
  const Scan s = scan(scores, n);
  out->bad = s.bad;
  if (s.bad != 0) return;
  out->label = s.label;
  out->rail = s.rail;
  out->distinct = s.distinct;
  out->sum = kOne;
  const double half_step = spec.dtype == kF32 ? 0.0 : 0.5 * static_cast<double>(spec.scale);
  double sum = 0.0;
  if (spec.kind == kValue) {
    out->label = 0;
    out->value = fixed(static_cast<double>(scores.real(scores.key(0))));
    out->certainty = out->margin = kOne;
    out->out_of_range = outside(scores, n, static_cast<double>(spec.value_min) - half_step,
                                static_cast<double>(spec.value_max) + half_step, &sum);
  } else if (spec.kind == kProbabilities) {
    const double slack = spec.dtype == kF32 ? 1.0 / kOne : half_step;
    out->out_of_range = outside(scores, n, -slack, 1.0 + slack, &sum);
    out->sum = fixed(sum);
    const float top = log_of(scores.real(s.top));
    softmax(scores, LogExponent<Scores>{scores, top, 1.0f / spec.temperature}, s, n,
            sum > 0.0 ? sum : 0.0, out);
  } else {
    const double log_sum = softmax(scores, logits_of(scores, s, spec), s, n, 1.0, out);
    const double top = static_cast<double>(scores.real(s.top));
    out->energy = fixed(-(top + static_cast<double>(spec.temperature) * log_sum));
  }
}

} // namespace

bool usable(const ScoreSpec &spec) noexcept {
  const bool quantized = spec.dtype == kI8 || spec.dtype == kU8;
  return spec.n >= 1 && spec.n <= kMaxScores && (quantized || spec.dtype == kF32) &&
         spec.kind >= kLogits && spec.kind <= kValue && spec.temperature >= kMinTemperature &&
         spec.temperature <= kMaxTemperature &&
         (!quantized || (spec.scale >= FLT_MIN && spec.scale <= FLT_MAX));
}

void evidence(const ScoreSpec &spec, const void *scores, eg_evidence_t *out) noexcept {
  *out = eg_evidence_t{};
  out->label = -1;
  if (scores == nullptr || !usable(spec)) {
    out->bad = spec.n > 1 ? spec.n : 1;
    return;
  }
  const double scale = static_cast<double>(spec.scale);
  if (spec.dtype == kI8)
    read(spec,
         Quantized<int8_t, 127>{static_cast<const int8_t *>(scores), scale,
                                static_cast<double>(spec.zero_point)},
         out);
  else if (spec.dtype == kU8)
    read(spec,
         Quantized<uint8_t, 255>{static_cast<const uint8_t *>(scores), scale,
                                 static_cast<double>(spec.zero_point)},
         out);
  else
    read(spec, Floats{static_cast<const unsigned char *>(scores)}, out);
}

} // namespace edgeguard
