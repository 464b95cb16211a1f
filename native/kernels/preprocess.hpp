// SPDX-License-Identifier: Apache-2.0
// From a camera frame to a model's tensor in one pass, with the sensor's health on the way.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "health_record.hpp"

namespace edgeguard {

enum class Format { bgr, rgb, bgra, gray, yuyv, nv12 }; // what the camera gives
enum class Colour { rgb, bgr, gray };                   // what the model wants
enum class Dtype { float32, int8, uint8 };
enum class Layout { chw, hwc };
enum class Fit { stretch, letterbox, crop };
enum class Resize { bilinear, area };
enum class Variant { automatic, scalar, avx2, neon };

// What a model expects. A pixel p in 0..255 becomes (p / 255 - mean) / std, and for an integer
// tensor that over `scale` plus `zero_point`, rounded half to even and saturated.
struct Spec {
  int height = 0, width = 0;
  Layout layout = Layout::chw;
  Dtype dtype = Dtype::float32;
  Colour colour = Colour::rgb;
  Fit fit = Fit::stretch;
  Resize resize = Resize::bilinear;
  int pad = 0; // grey level of a letterbox's border
  std::array<double, 3> mean{{0, 0, 0}}, std{{1, 1, 1}};
  double scale = 1.0;
  int zero_point = 0;

  int channels() const { return colour == Colour::gray ? 1 : 3; }
};

struct Box {
  int x, y, width, height;
};

inline bool operator==(const Box &a, const Box &b) {
  return a.x == b.x && a.y == b.y && a.width == b.width && a.height == b.height;
}

// A frame in somebody else's memory. NV12's chroma rows follow its luma rows at the same stride.
struct FrameView {
  const std::uint8_t *data;
  std::ptrdiff_t stride;
  int height, width;
};

struct Plan;

class Preprocessor {
public:
  // Reserves everything that any box of such a frame can need; throws std::invalid_argument.
  Preprocessor(const Spec &spec, int frame_height, int frame_width, Format format,
               Variant variant = Variant::automatic, bool statistics = true);
  ~Preprocessor();
  Preprocessor(const Preprocessor &) = delete;
  Preprocessor &operator=(const Preprocessor &) = delete;

  // Writes the tensor to `out`. Without a box the whole frame is used; a box that does not lie
  // inside the frame is refused (std::invalid_argument), never clipped. Allocates nothing.
  void run(const FrameView &frame, void *out, const Box *box, Health &health);

  // The floor of the same work: reads every source row that the plan touches, fills the output.
  std::uint64_t limit(const FrameView &frame, void *out, const Box *box);

  const Spec &spec() const;
  Format format() const;
  int frame_height() const;
  int frame_width() const;
  std::size_t out_bytes() const;
  const char *variant() const; // of the rows: what really runs, not what was asked for

private:
  void prepare(const Box *box);
  std::unique_ptr<Plan> plan_;
};

bool available(Variant variant);

// Feature squeezing on packed HWC images; `in` and `out` do not overlap, edges are replicated.
void squeeze_depth(const std::uint8_t *in, std::uint8_t *out, std::size_t count, int bits);
void squeeze_median2(const std::uint8_t *in, std::uint8_t *out, int height, int width,
                     int channels);
void squeeze_median3(const std::uint8_t *in, std::uint8_t *out, int height, int width,
                     int channels);

} // namespace edgeguard
