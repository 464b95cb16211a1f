// SPDX-License-Identifier: Apache-2.0
// Holds every variant of the kernel to the reference, counts allocations, and prints a hash of all
// outputs that must be the same on every architecture. From native/kernels:
//
//   FLAGS="-std=c++17 -O3 -fno-math-errno -fno-trapping-math -ffp-contract=off -I."
//   SOURCES="tests/cross_check.cpp $(ls *.cpp | grep -vE 'evidence|bind|module')"
//   g++ $FLAGS $SOURCES -o /tmp/check && /tmp/check > /tmp/x86.txt
//   aarch64-linux-gnu-g++ -static $FLAGS $SOURCES -o /tmp/check64
//   qemu-aarch64 /tmp/check64 > /tmp/arm.txt && diff /tmp/x86.txt /tmp/arm.txt
//
// With `-fsanitize=address,undefined -O1 -g` it looks for reads outside the frame: every frame ends
// where its allocation ends.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "preprocess.hpp"

static long allocations = 0;
void *operator new(std::size_t size) {
  ++allocations;
  if (void *memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
void *operator new(std::size_t size, std::align_val_t align) {
  ++allocations;
  auto to = static_cast<std::size_t>(align);
  if (void *memory = std::aligned_alloc(to, (size + to - 1) / to * to)) return memory;
  throw std::bad_alloc();
}
void operator delete(void *memory) noexcept {
  std::free(memory);
}
void operator delete(void *memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete(void *memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete(void *memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}

namespace {

using namespace edgeguard;

std::uint32_t state = 1;
int draw(int low, int high) {
  state = state * 1664525u + 1013904223u;
  return low + static_cast<int>((state >> 8) % static_cast<std::uint32_t>(high - low + 1));
}

void mix(std::uint64_t &hash, const void *data, std::size_t size) {
  const auto *bytes = static_cast<const std::uint8_t *>(data);
  for (std::size_t i = 0; i < size; ++i) hash = (hash ^ bytes[i]) * 1099511628211u;
}

struct Case {
  Spec spec;
  Format format;
  int height, width;
  std::ptrdiff_t stride;
  Box box;
};

int row_bytes(Format format, int width) {
  constexpr int depth[] = {3, 3, 4, 1, 2, 1};
  return width * depth[static_cast<int>(format)];
}

Case draw_case() {
  Case c;
  c.format = static_cast<Format>(draw(0, 3) ? draw(0, 1) : draw(2, 5));
  c.height = draw(1, draw(0, 2) ? 40 : 200) * 2;
  c.width = draw(1, draw(0, 2) ? 40 : 300) * 2;
  if (c.format < Format::yuyv) c.height -= draw(0, 1), c.width -= draw(0, 1);
  c.stride = row_bytes(c.format, c.width) + draw(0, 1) * draw(0, 70);
  c.box.width = draw(1, c.width), c.box.height = draw(1, c.height);
  c.box.x = draw(0, c.width - c.box.width), c.box.y = draw(0, c.height - c.box.height);
  c.spec.height = draw(1, 70), c.spec.width = draw(1, 70);
  c.spec.layout = static_cast<Layout>(draw(0, 1));
  c.spec.dtype = static_cast<Dtype>(draw(0, 2));
  c.spec.colour = static_cast<Colour>(draw(0, 4) ? draw(0, 1) : 2);
  c.spec.fit = static_cast<Fit>(draw(0, 2));
  c.spec.resize = static_cast<Resize>(draw(0, 1));
  c.spec.pad = draw(0, 255);
  c.spec.mean = {{0.485, 0.456, 0.406}}, c.spec.std = {{0.229, 0.224, 0.225}};
  if (c.spec.dtype != Dtype::float32) c.spec.scale = 0.015;
  c.spec.zero_point = c.spec.dtype == Dtype::uint8 ? 120 : c.spec.dtype == Dtype::int8 ? -9 : 0;
  return c;
}

struct Result {
  std::vector<std::uint8_t> tensor;
  Health health;
};

Result run(const Case &c, const std::uint8_t *frame, Variant variant) {
  Preprocessor kernel(c.spec, c.height, c.width, c.format, variant);
  Result result;
  result.tensor.resize(kernel.out_bytes());
  const long before = allocations;
  kernel.run({frame, c.stride, c.height, c.width}, result.tensor.data(), &c.box, result.health);
  if (allocations != before) std::printf("allocates\n"), std::exit(1);
  return result;
}

bool same(const Result &a, const Result &b) {
  return a.tensor == b.tensor && !std::memcmp(&a.health, &b.health, sizeof(Health));
}

void check(int number, std::uint64_t &hash) {
  const Case c = draw_case();
  const int rows = c.format == Format::nv12 ? c.height / 2 * 3 : c.height;
  const auto size = static_cast<std::size_t>(c.stride * (rows - 1) + row_bytes(c.format, c.width));
  std::unique_ptr<std::uint8_t[]> frame(new std::uint8_t[size]);
  const int low = draw(0, 3) ? 0 : 240, high = draw(0, 3) ? 255 : low + 15;
  for (std::size_t i = 0; i < size; ++i) frame[i] = static_cast<std::uint8_t>(draw(low, high));
  const Result reference = run(c, frame.get(), Variant::scalar);
  for (Variant variant : {Variant::avx2, Variant::neon}) {
    if (!available(variant) || same(reference, run(c, frame.get(), variant))) continue;
    std::printf("case %d: variant %d differs\n", number, static_cast<int>(variant));
    std::exit(1);
  }
  mix(hash, reference.tensor.data(), reference.tensor.size());
  mix(hash, &reference.health, sizeof(Health));
}

} // namespace

int main(int argc, char **argv) {
  const int cases = argc > 1 ? std::atoi(argv[1]) : 3000;
  std::uint64_t hash = 1469598103934665603u;
  for (int i = 0; i < cases; ++i) check(i, hash);
  std::printf("%d cases, hash %016llx\n", cases, static_cast<unsigned long long>(hash));
  return 0;
}
