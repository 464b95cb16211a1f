// SPDX-License-Identifier: Apache-2.0
#include "check.hpp"

#include <cmath>
#include <stdexcept>
#include <string>

namespace edgeguard {
namespace {

[[noreturn]] void refuse(const std::string &why) {
  throw std::invalid_argument(why);
}

constexpr int kLargest = 16384; // keeps every sum inside its integer

[[noreturn]] void refuse_box(const Box &box, int height, int width) {
  std::string name = "box (x=" + std::to_string(box.x) + ", y=" + std::to_string(box.y) +
                     ", width=" + std::to_string(box.width) +
                     ", height=" + std::to_string(box.height) + ")";
  if (box.width < 1 || box.height < 1)
    refuse(name + " is empty; width and height must be at least 1");
  refuse(name + " does not lie inside the frame of " + std::to_string(width) + "x" +
         std::to_string(height) + " (width x height); clip it where you find it");
}

} // namespace

void check_sizes(const Spec &spec, int height, int width, Format format) {
  if (spec.height < 1 || spec.width < 1 || spec.height > kLargest || spec.width > kLargest)
    refuse("the model's input must be 1 to 16384 pixels high and wide, not " +
           std::to_string(spec.height) + "x" + std::to_string(spec.width));
  if (height < 1 || width < 1 || height > kLargest || width > kLargest)
    refuse("a frame must be 1 to 16384 pixels high and wide, not " + std::to_string(height) + "x" +
           std::to_string(width));
  if ((format == Format::yuyv || format == Format::nv12) && width % 2)
    refuse("YUYV and NV12 frames have an even width, not " + std::to_string(width));
  if (format == Format::nv12 && height % 2)
    refuse("NV12 frames have an even height, not " + std::to_string(height));
}

void check_range(const Spec &spec) {
  if (spec.pad < 0 || spec.pad > 255)
    refuse("pad is a grey level, 0 to 255, not " + std::to_string(spec.pad));
  bool integer = spec.dtype != Dtype::float32;
  if (integer && !(spec.scale > 0.0 && std::isfinite(spec.scale)))
    refuse("an integer tensor needs a scale above 0; read it from the model's quantization");
  int low = spec.dtype == Dtype::int8 ? -128 : 0;
  if (integer && (spec.zero_point < low || spec.zero_point > low + 255))
    refuse("zero_point " + std::to_string(spec.zero_point) + " is outside the tensor's type");
  double step = integer ? spec.scale : 1.0;
  for (std::size_t c = 0; c < 3; ++c) {
    if (!(spec.std[c] > 0.0)) refuse("every std must be above 0");
    double most = (1.0 + std::fabs(spec.mean[c])) / spec.std[c] / step;
    if (!(most < (integer ? 1e9 : 1e30)))
      refuse("mean, std and scale give values beyond any use (" + std::to_string(most) +
             "); check their units");
  }
}

void check_box(const Box &box, int height, int width) {
  const bool inside = box.width > 0 && box.height > 0 && box.x >= 0 && box.y >= 0 &&
                      box.x <= width - box.width && box.y <= height - box.height;
  if (!inside) refuse_box(box, height, width);
}

} // namespace edgeguard
