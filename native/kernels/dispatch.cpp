// SPDX-License-Identifier: Apache-2.0
// Chooses the row function once and drives it over the rows of the tensor.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "check.hpp"
#include "emit.hpp"

namespace edgeguard {
namespace {

Variant best(const Plan &plan, Variant wanted) {
  bool covered = (plan.format == Format::bgr || plan.format == Format::rgb) &&
                 plan.spec.colour != Colour::gray && plan.frame_width >= 3;
  if (wanted != Variant::automatic && !available(wanted))
    throw std::invalid_argument("this build or this CPU lacks the variant that was asked for");
  if (!covered || wanted == Variant::scalar) return Variant::scalar;
  if (wanted != Variant::automatic) return wanted;
  if (available(Variant::avx2)) return Variant::avx2;
  return available(Variant::neon) ? Variant::neon : Variant::scalar;
}

RowFunction row_function(const Plan &plan) {
  RowFunction simd = plan.variant == Variant::avx2   ? avx2_row(plan)
                     : plan.variant == Variant::neon ? neon_row(plan)
                                                     : nullptr;
  return simd ? simd : scalar_row(plan);
}

// The border of a letterbox: whole rows above and below, or columns left and right.
template <Dtype D, Layout L>
void pad_typed(const Plan &plan, void *out, int y0, int y1, int x0, int x1) {
  auto width = static_cast<std::size_t>(plan.spec.width);
  auto channels = static_cast<std::size_t>(plan.spec.channels());
  auto plane = width * static_cast<std::size_t>(plan.spec.height);
  auto count = static_cast<std::size_t>(x1 - x0);
  for (int y = y0; y < y1; ++y) {
    std::size_t at = static_cast<std::size_t>(y) * width + static_cast<std::size_t>(x0);
    for (std::size_t c = 0; c < channels; ++c) {
      auto value = to_element<D>(plan.pad_value[c]);
      auto *to =
          static_cast<Element<D> *>(out) + (L == Layout::chw ? c * plane + at : at * channels + c);
      if (L == Layout::chw) {
        std::fill_n(to, count, value);
      } else {
        for (std::size_t x = 0; x < count; ++x) to[x * channels] = value;
      }
    }
  }
}

void pad(const Plan &plan, void *out) {
  const Box &content = plan.content;
  int bottom = content.y + content.height, right = content.x + content.width;
  with_target(plan.spec, [&](auto dtype, auto layout) {
    auto fill = pad_typed<dtype(), layout()>;
    fill(plan, out, 0, content.y, 0, plan.spec.width);
    fill(plan, out, bottom, plan.spec.height, 0, plan.spec.width);
    if (content.x > 0) fill(plan, out, content.y, bottom, 0, content.x);
    if (right < plan.spec.width) fill(plan, out, content.y, bottom, right, plan.spec.width);
  });
}

void report(const Plan &plan, Health &health) {
  const Sums &sums = plan.sums;
  health.pixels = sums.pixels;
  health.pairs = sums.pairs;
  health.luma = sums.luma;
  health.luma_squared = sums.luma_squared;
  health.gradient = sums.gradient;
  health.black = sums.black;
  health.saturated = sums.saturated;
  health.content_hash = plan.statistics ? fold(sums.lanes) : 0;
  health.distinct = plan.area ? static_cast<std::uint64_t>(plan.source.width) *
                                    static_cast<std::uint64_t>(plan.source.height)
                              : plan.columns.distinct * plan.rows.distinct;
  health.frame_pixels =
      static_cast<std::uint64_t>(plan.frame_width) * static_cast<std::uint64_t>(plan.frame_height);
}

} // namespace

bool available(Variant variant) {
#if defined(__x86_64__)
  if (variant == Variant::avx2) return __builtin_cpu_supports("avx2");
#endif
#if defined(__aarch64__)
  if (variant == Variant::neon) return true; // part of the architecture
#endif
  return variant == Variant::automatic || variant == Variant::scalar;
}

Preprocessor::Preprocessor(const Spec &spec, int frame_height, int frame_width, Format format,
                           Variant variant, bool statistics)
    : plan_(std::make_unique<Plan>()) {
  check_sizes(spec, frame_height, frame_width, format);
  check_range(spec);
  plan_->spec = spec;
  plan_->format = format;
  plan_->frame_height = frame_height;
  plan_->frame_width = frame_width;
  plan_->statistics = statistics;
  plan_->variant = best(*plan_, variant);
  reserve(*plan_);
  prepare(nullptr);
}

Preprocessor::~Preprocessor() = default;

void Preprocessor::prepare(const Box *box) {
  Plan &plan = *plan_;
  Box whole{0, 0, plan.frame_width, plan.frame_height};
  const Box &wanted = box ? *box : whole;
  if (wanted == plan.asked) return;
  check_box(wanted, plan.frame_height, plan.frame_width);
  lay_out(plan, wanted);
  plan.row = row_function(plan);
}

void Preprocessor::run(const FrameView &frame, void *out, const Box *box, Health &health) {
  prepare(box);
  Plan &plan = *plan_;
  plan.sums.reset();
  plan.next_unseen = 0;
  pad(plan, out);
  for (int row = 0; row < plan.content.height; ++row) plan.row(plan, frame, out, row);
  report(plan, health);
}

std::uint64_t Preprocessor::limit(const FrameView &frame, void *out, const Box *box) {
  prepare(box);
  const Plan &plan = *plan_;
  const int depth = plan.format == Format::bgra                                  ? 4
                    : plan.format == Format::yuyv                                ? 2
                    : plan.format == Format::gray || plan.format == Format::nv12 ? 1
                                                                                 : 3;
  auto bytes = static_cast<std::size_t>(plan.frame_width) * static_cast<std::size_t>(depth);
  TouchFunction touch = available(Variant::avx2) ? avx2_touch() : scalar_touch();
  std::uint64_t sum = 0;
  int seen = -1;
  for (int i = 0; i < plan.content.height; ++i) {
    auto n = static_cast<std::size_t>(i);
    int first = plan.area ? plan.cover_y.start[n] : plan.rows.first[n];
    int last = plan.area ? first + plan.cover_y.count[n] - 1 : plan.rows.second[n];
    for (int y = std::max(first, seen + 1); y <= last; ++y)
      sum += touch(frame.data + (plan.source.y + y) * frame.stride, bytes);
    seen = last;
  }
  std::memset(out, 0, out_bytes());
  return sum;
}

const Spec &Preprocessor::spec() const {
  return plan_->spec;
}
Format Preprocessor::format() const {
  return plan_->format;
}
int Preprocessor::frame_height() const {
  return plan_->frame_height;
}
int Preprocessor::frame_width() const {
  return plan_->frame_width;
}

std::size_t Preprocessor::out_bytes() const {
  const Spec &spec = plan_->spec;
  std::size_t count = static_cast<std::size_t>(spec.height) * static_cast<std::size_t>(spec.width) *
                      static_cast<std::size_t>(spec.channels());
  return count * (spec.dtype == Dtype::float32 ? sizeof(float) : 1);
}

const char *Preprocessor::variant() const {
  if (plan_->row == scalar_row(*plan_)) return "scalar";
  return plan_->variant == Variant::avx2 ? "avx2" : "neon";
}

} // namespace edgeguard
