// SPDX-License-Identifier: Apache-2.0
#include "association.hpp"

#include <algorithm>
#include <cmath>

namespace edgeguard {
namespace {

constexpr eg_number_t kAbsent{EG_ABSENT, 0};

eg_number_t saturated(int64_t value) {
  return {EG_VALID, static_cast<int32_t>(std::clamp<int64_t>(value, INT32_MIN, INT32_MAX))};
}

} // namespace

// The newest number that is old enough; what is older than that is dropped. Absent while there is
// none. A loop that runs faster than declared is sampled, so that what is kept reaches back far
// enough: kKept - 1 samples within the delay at most, and one before it.
Association::Past Association::delayed(const eg_number_t &now, uint32_t elapsed_us) {
  if (elapsed_us == EG_AGE_MAX) count_ = 0;
  now_us_ += elapsed_us == EG_AGE_MAX ? 0 : elapsed_us;
  int64_t apart_us = (int64_t{spec_.delay_us} + kKept - 2) / (kKept - 1);
  if (count_ == 0 || now_us_ - past_[(first_ + count_ - 1) % kKept].t_us >= apart_us) {
    if (count_ == kKept) first_ = (first_ + 1) % kKept, count_--;
    past_[(first_ + count_++) % kKept] = {now_us_, now};
  }
  int64_t wanted_us = now_us_ - spec_.delay_us;
  if (past_[first_].t_us > wanted_us) return {now_us_, kAbsent};
  while (count_ > 1 && past_[(first_ + 1) % kKept].t_us <= wanted_us)
    first_ = (first_ + 1) % kKept, count_--;
  return past_[first_];
}

// Each product is rounded to an integer before it is added, so that every CPU gives the same.
int64_t Association::residual(int64_t a, int64_t b) const {
  switch (spec_.relation) {
  case Relation::kProduct: return a * b / EG_ONE;
  case Relation::kRatio: return a * EG_ONE / b;
  default: break;
  }
  double scaled = std::clamp(spec_.scale * static_cast<double>(b), -9e15, 9e15);
  int64_t expected = std::llrint(scaled) + spec_.offset;
  return spec_.relation == Relation::kSum ? a + expected : a - expected;
}

eg_number_t Association::step(const eg_number_t &a, const eg_number_t &b, uint32_t elapsed_us) {
  bool rate = spec_.relation == Relation::kRate;
  const Past then = delayed(rate ? a : b, elapsed_us);
  for (const eg_number_t *n : {&a, &then.number})
    if (n->validity == EG_INVALID) return {EG_INVALID, 0};
  for (const eg_number_t *n : {&a, &then.number})
    if (n->validity == EG_ABSENT) return kAbsent;
  int64_t x = a.value, y = then.number.value;
  if (rate) {
    int64_t passed_us = now_us_ - then.t_us;
    return passed_us > 0 ? saturated((x - y) * 1000000 / passed_us) : kAbsent;
  }
  if (spec_.relation == Relation::kRatio && std::abs(y) < std::max(spec_.least, 1)) return kAbsent;
  return saturated(residual(x, y));
}

} // namespace edgeguard
