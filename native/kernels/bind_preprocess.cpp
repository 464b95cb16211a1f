// SPDX-License-Identifier: Apache-2.0
// The Python face of the preprocessing kernels. Everything that a caller can get wrong is checked
// here, before the GIL is released; nothing is converted, copied or allocated.
#include "bind_preprocess.hpp"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <atomic>
#include <string>

#include "preprocess.hpp"

namespace py = pybind11;

namespace edgeguard {
namespace {

std::string shape_text(const py::ssize_t *shape, py::ssize_t axes) {
  std::string text = "(";
  for (py::ssize_t i = 0; i < axes; ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + (axes == 1 ? ",)" : ")");
}

std::string shape_text(const py::array &array) {
  return shape_text(array.shape(), array.ndim());
}

bool same_shape(const py::array &a, const py::array &b) {
  return a.ndim() == b.ndim() && std::equal(a.shape(), a.shape() + a.ndim(), b.shape());
}

std::string dtype_text(const py::array &array) {
  return py::str(array.dtype());
}

bool has_dtype(const py::array &array, char kind, py::ssize_t size) {
  const auto type = array.dtype();
  return type.kind() == kind && type.itemsize() == size && type.byteorder() != '>';
}

py::array to_array(const py::object &object, const char *name) {
  if (!py::isinstance<py::array>(object))
    throw py::type_error(std::string(name) + " must be a numpy array, not " +
                         std::string(py::str(py::type::of(object).attr("__name__"))));
  return py::reinterpret_borrow<py::array>(object);
}

const char *format_text(Format format) {
  constexpr const char *names[] = {"BGR", "RGB", "BGRA", "GRAY", "YUYV", "NV12"};
  return names[static_cast<int>(format)];
}

// Bytes a pixel, as the last axis of the frame; 0 for formats whose frames have two axes.
int depth_of(Format format) {
  constexpr int depth[] = {3, 3, 4, 0, 2, 0};
  return depth[static_cast<int>(format)];
}

// A Preprocessor for Python: one caller at a time, which the GIL no longer ensures once released.
class Bound {
public:
  Bound(const Spec &spec, int height, int width, Format format, Variant variant, bool statistics)
      : kernel_(spec, height, width, format, variant, statistics) {}

  Health &run(const py::object &frame, const py::object &out, const py::object &box,
              Health &health) {
    with_checked(to_array(frame, "frame"), to_array(out, "out"), box,
                 [&](const FrameView &view, void *to, const Box *where) {
                   kernel_.run(view, to, where, health);
                 });
    return health;
  }

  std::uint64_t limit(const py::object &frame, const py::object &out, const py::object &box) {
    std::uint64_t sum = 0;
    with_checked(to_array(frame, "frame"), to_array(out, "out"), box,
                 [&](const FrameView &view, void *to, const Box *where) {
                   sum = kernel_.limit(view, to, where);
                 });
    return sum;
  }

  const char *variant() const { return kernel_.variant(); }

private:
  template <typename Work>
  void with_checked(const py::array &frame, py::array out, const py::object &box, Work &&work) {
    const FrameView view = check_frame(frame);
    check_out(out);
    check_overlap(view, frame, out);
    Box where{};
    const bool boxed = !box.is_none();
    if (boxed) where = to_box(box);
    if (busy_.test_and_set(std::memory_order_acquire))
      throw std::runtime_error("this Preprocessor is running in another thread; give each its own");
    struct Release {
      std::atomic_flag &flag;
      ~Release() { flag.clear(std::memory_order_release); }
    } release{busy_};
    void *to = out.mutable_data();
    py::gil_scoped_release unlocked;
    work(view, to, boxed ? &where : nullptr);
  }

  bool frame_shape_is(const py::array &frame) const {
    const Format format = kernel_.format();
    const int depth = depth_of(format), height = kernel_.frame_height();
    const int rows = format == Format::nv12 ? height / 2 * 3 : height;
    return frame.ndim() == (depth ? 3 : 2) && frame.shape(0) == rows &&
           frame.shape(1) == kernel_.frame_width() && (!depth || frame.shape(2) == depth);
  }

  [[noreturn]] void refuse_shape(const py::array &frame) const {
    const Format format = kernel_.format();
    const int depth = depth_of(format), height = kernel_.frame_height();
    const py::ssize_t want[] = {format == Format::nv12 ? height / 2 * 3 : height,
                                kernel_.frame_width(), depth};
    throw py::value_error("frame has shape " + shape_text(frame) +
                          ", but this Preprocessor was made for " + format_text(format) +
                          " frames of shape " + shape_text(want, depth ? 3 : 2) +
                          "; make one for each size and format of frame");
  }

  FrameView check_frame(const py::array &frame) const {
    if (!has_dtype(frame, 'u', 1))
      throw py::type_error("frame has dtype " + dtype_text(frame) + ", but cameras give uint8");
    if (!frame_shape_is(frame)) refuse_shape(frame);
    const int depth = depth_of(kernel_.format());
    const py::ssize_t pixel = depth ? depth : 1;
    const bool packed = frame.shape(1) == 1 || frame.strides(1) == pixel;
    if (!packed || (depth && frame.strides(2) != 1))
      throw py::value_error(
          "frame's pixels are not next to each other (a column-strided or channel-swapped view?); "
          "rows may have any stride, pixels may not: use numpy.ascontiguousarray(frame)");
    return {static_cast<const std::uint8_t *>(frame.data()), frame.strides(0),
            kernel_.frame_height(), kernel_.frame_width()};
  }

  void check_out(const py::array &out) const {
    const Spec &spec = kernel_.spec();
    constexpr const char *names[] = {"float32", "int8", "uint8"};
    const bool is_float = spec.dtype == Dtype::float32;
    const char kind = is_float ? 'f' : spec.dtype == Dtype::int8 ? 'i' : 'u';
    if (!has_dtype(out, kind, is_float ? 4 : 1))
      throw py::type_error("out has dtype " + dtype_text(out) + ", but the model wants " +
                           names[static_cast<int>(spec.dtype)]);
    const py::ssize_t c = spec.channels(), h = spec.height, w = spec.width;
    const bool chw = spec.layout == Layout::chw;
    const py::ssize_t want[] = {chw ? c : h, chw ? h : w, chw ? w : c};
    const py::ssize_t skip = out.ndim() == 4 && out.shape(0) == 1 ? 1 : 0;
    const bool fits = out.ndim() - skip == 3 && out.shape(skip) == want[0] &&
                      out.shape(skip + 1) == want[1] && out.shape(skip + 2) == want[2];
    if (!fits)
      throw py::value_error("out has shape " + shape_text(out) + ", but the model wants " +
                            shape_text(want, 3) + ", with or without a batch axis of 1");
    if (!(out.flags() & py::array::c_style) ||
        !(out.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_))
      throw py::value_error("out must be C-contiguous and aligned; make it with numpy.empty");
    if (!out.writeable()) throw py::value_error("out is read-only");
  }

  void check_overlap(const FrameView &view, const py::array &frame, const py::array &out) const {
    const std::ptrdiff_t last = view.stride * (frame.shape(0) - 1);
    const auto *begin = view.data + std::min<std::ptrdiff_t>(last, 0);
    const int depth = depth_of(kernel_.format());
    const std::ptrdiff_t row = frame.shape(1) * (depth ? depth : 1);
    const auto *end = view.data + std::max<std::ptrdiff_t>(last, 0) + row;
    const auto *to = static_cast<const std::uint8_t *>(out.data());
    if (to < end && begin < to + out.nbytes())
      throw py::value_error("frame and out share memory; the tensor would overwrite the frame");
  }

  static Box to_box(const py::object &box) {
    static constexpr const char *why = "box must be four ints: (x, y, width, height)";
    if (!py::isinstance<py::tuple>(box) && !py::isinstance<py::list>(box))
      throw py::type_error(why);
    const auto items = py::reinterpret_borrow<py::sequence>(box);
    if (items.size() != 4) throw py::type_error(why);
    int value[4];
    for (std::size_t i = 0; i < 4; ++i) {
      const py::object item = items[i];
      if (!PyIndex_Check(item.ptr())) throw py::type_error(why);
      const py::ssize_t wide = PyNumber_AsSsize_t(item.ptr(), nullptr); // clips, never wraps
      if (wide == -1 && PyErr_Occurred()) throw py::error_already_set();
      value[i] =
          static_cast<int>(std::max<py::ssize_t>(-1000000, std::min<py::ssize_t>(wide, 1000000)));
    }
    return {value[0], value[1], value[2], value[3]};
  }

  Preprocessor kernel_;
  std::atomic_flag busy_ = ATOMIC_FLAG_INIT;
};

void bind_enums(py::module_ &m) {
  py::enum_<Format>(m, "Format")
      .value("BGR", Format::bgr)
      .value("RGB", Format::rgb)
      .value("BGRA", Format::bgra)
      .value("GRAY", Format::gray)
      .value("YUYV", Format::yuyv)
      .value("NV12", Format::nv12);
  py::enum_<Colour>(m, "Colour")
      .value("RGB", Colour::rgb)
      .value("BGR", Colour::bgr)
      .value("GRAY", Colour::gray);
  py::enum_<Dtype>(m, "Dtype")
      .value("float32", Dtype::float32)
      .value("int8", Dtype::int8)
      .value("uint8", Dtype::uint8);
  py::enum_<Layout>(m, "Layout").value("CHW", Layout::chw).value("HWC", Layout::hwc);
  py::enum_<Fit>(m, "Fit")
      .value("stretch", Fit::stretch)
      .value("letterbox", Fit::letterbox)
      .value("crop", Fit::crop);
  py::enum_<Resize>(m, "Resize").value("bilinear", Resize::bilinear).value("area", Resize::area);
  py::enum_<Variant>(m, "Variant")
      .value("auto", Variant::automatic)
      .value("scalar", Variant::scalar)
      .value("avx2", Variant::avx2)
      .value("neon", Variant::neon);
}

void bind_health(py::module_ &m) {
  py::class_<Health>(m, "Health", "Sensor health of one frame, over the pixels that were read.")
      .def(py::init<>())
      .def_property_readonly("mean", &Health::mean)
      .def_property_readonly("variance", &Health::variance)
      .def_property_readonly("black", &Health::black_share)
      .def_property_readonly("saturated", &Health::saturated_share)
      .def_property_readonly("sharpness", &Health::sharpness)
      .def_property_readonly("share_read", &Health::share_read)
      .def_property_readonly("features", // in the order of the decision core's image features
                             [](const Health &h) {
                               auto [mean, contrast, black, saturated, sharpness] = h.features();
                               return py::make_tuple(mean, contrast, black, saturated, sharpness);
                             })
      .def_readonly("content_hash", &Health::content_hash)
      .def_readonly("pixels", &Health::pixels)
      .def_readonly("pairs", &Health::pairs)
      .def_readonly("luma_sum", &Health::luma)
      .def_readonly("luma_squared_sum", &Health::luma_squared)
      .def_readonly("gradient_sum", &Health::gradient)
      .def_readonly("black_count", &Health::black)
      .def_readonly("saturated_count", &Health::saturated);
}

void bind_kernel(py::module_ &m) {
  py::class_<Spec>(m, "Spec").def(
      py::init([](int height, int width, Layout layout, Dtype dtype, Colour colour, Fit fit,
                  Resize resize, int pad, std::array<double, 3> mean, std::array<double, 3> std,
                  double scale, int zero_point) {
        return Spec{height, width, layout, dtype, colour, fit,
                    resize, pad,   mean,   std,   scale,  zero_point};
      }),
      py::kw_only(), py::arg("height"), py::arg("width"), py::arg("layout"), py::arg("dtype"),
      py::arg("colour"), py::arg("fit"), py::arg("resize"), py::arg("pad"), py::arg("mean"),
      py::arg("std"), py::arg("scale"), py::arg("zero_point"));
  py::class_<Bound>(m, "Preprocessor")
      .def(py::init<const Spec &, int, int, Format, Variant, bool>(), py::arg("spec"),
           py::arg("height"), py::arg("width"), py::arg("format"), py::arg("variant"),
           py::arg("statistics"))
      .def("run", &Bound::run, py::arg("frame"), py::arg("out"), py::arg("box"), py::arg("health"),
           py::return_value_policy::reference)
      .def("limit", &Bound::limit, py::arg("frame"), py::arg("out"), py::arg("box"))
      .def_property_readonly("variant", &Bound::variant);
  m.def("available", &available);
}

using Filter = void (*)(const std::uint8_t *, std::uint8_t *, int, int, int);

void check_image(const py::array &image, const py::array &out) {
  if (!has_dtype(image, 'u', 1) || !has_dtype(out, 'u', 1))
    throw py::type_error("image and out must be uint8");
  if (image.ndim() != 3 || !same_shape(image, out) || image.size() == 0)
    throw py::value_error("image and out must be HWC of the same shape and not empty, not " +
                          shape_text(image) + " and " + shape_text(out));
  if (!(image.flags() & py::array::c_style) || !(out.flags() & py::array::c_style) ||
      !out.writeable())
    throw py::value_error("image and out must be C-contiguous and out writable");
  const auto *from = static_cast<const char *>(image.data()),
             *to = static_cast<const char *>(out.data());
  if (from < to + out.nbytes() && to < from + image.nbytes())
    throw py::value_error("image and out share memory");
}

void filter(Filter function, const py::object &in, const py::object &to_fill) {
  const py::array image = to_array(in, "image");
  py::array out = to_array(to_fill, "out");
  check_image(image, out);
  const auto *from = static_cast<const std::uint8_t *>(image.data());
  auto *to = static_cast<std::uint8_t *>(out.mutable_data());
  const auto h = static_cast<int>(image.shape(0)), w = static_cast<int>(image.shape(1));
  const auto c = static_cast<int>(image.shape(2));
  py::gil_scoped_release unlocked;
  function(from, to, h, w, c);
}

void depth(const py::object &in, const py::object &to_fill, int bits) {
  const py::array image = to_array(in, "image");
  py::array out = to_array(to_fill, "out");
  check_image(image, out);
  if (bits < 1 || bits > 8)
    throw py::value_error("bits must be 1 to 8, not " + std::to_string(bits));
  const auto *from = static_cast<const std::uint8_t *>(image.data());
  auto *to = static_cast<std::uint8_t *>(out.mutable_data());
  const auto count = static_cast<std::size_t>(image.size());
  py::gil_scoped_release unlocked;
  squeeze_depth(from, to, count, bits);
}

void bind_squeeze(py::module_ &m) {
  m.def("squeeze_depth", &depth, py::arg("image"), py::arg("out"), py::arg("bits"));
  m.def(
      "squeeze_median2",
      [](const py::object &image, const py::object &out) { filter(squeeze_median2, image, out); },
      py::arg("image"), py::arg("out"));
  m.def(
      "squeeze_median3",
      [](const py::object &image, const py::object &out) { filter(squeeze_median3, image, out); },
      py::arg("image"), py::arg("out"));
}

} // namespace

void bind_preprocess(py::module_ &m) {
  bind_enums(m);
  bind_health(m);
  bind_kernel(m);
  bind_squeeze(m);
}

} // namespace edgeguard
