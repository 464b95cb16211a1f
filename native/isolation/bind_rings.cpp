// SPDX-License-Identifier: Apache-2.0
#include <pybind11/pybind11.h>
#include <time.h>

#include <algorithm>
#include <string>

#include "rings.hpp"

namespace py = pybind11;
namespace edgeguard {
namespace {

// A Python buffer, held as long as this lives.
class Memory {
public:
  Memory(const py::object &buffer, size_t bytes, bool writable) {
    if (PyObject_GetBuffer(buffer.ptr(), &view_, writable ? PyBUF_WRITABLE : PyBUF_SIMPLE) != 0) {
      throw py::error_already_set();
    }
    const auto at = reinterpret_cast<uintptr_t>(view_.buf);
    if (static_cast<size_t>(view_.len) < bytes || at % kLine != 0) {
      PyBuffer_Release(&view_);
      throw py::value_error("memory: want " + std::to_string(bytes) + " bytes on a cache line");
    }
  }
  Memory(const Memory &) = delete;
  Memory &operator=(const Memory &) = delete;
  ~Memory() { release(); }

  void release() {
    if (view_.obj != nullptr) PyBuffer_Release(&view_);
  }
  void *get() const {
    if (view_.obj == nullptr) throw py::value_error("memory: was released");
    return view_.buf;
  }
  void *writable() const {
    void *memory = get();
    if (view_.readonly) throw py::value_error("memory: is mapped read-only");
    return memory;
  }

private:
  Py_buffer view_{};
};

void check(bool good, const char *what) {
  if (!good) throw py::value_error(what);
}

class Frames {
public:
  Frames(const py::object &buffer, size_t lanes, size_t slots, size_t slot_bytes, bool writable)
      : layout_(lanes, slots, slot_bytes), memory_(buffer, layout_.bytes(), writable) {}

  static size_t size(size_t lanes, size_t slots, size_t slot_bytes) {
    return FrameLayout(lanes, slots, slot_bytes).bytes();
  }
  size_t offset(size_t slot) const { return layout_.offset(slot); }

  // Before a byte of the slot changes, so that whoever still reads it can tell.
  void begin(size_t slot) {
    header(memory_.writable(), slot).serial.store(0, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_release);
  }
  void publish(size_t slot, uint64_t serial, uint64_t content) {
    FrameLayout::Header &to = header(memory_.writable(), slot);
    to.content.store(content, std::memory_order_relaxed);
    to.serial.store(serial, std::memory_order_release);
  }
  void ask(size_t lane, size_t slot, uint64_t serial) {
    check(lane < layout_.lanes(), "no such lane");
    FrameLayout::Lane *to = FrameLayout::lane(memory_.writable(), lane);
    to->slot.store(slot, std::memory_order_relaxed);
    to->serial.store(serial, std::memory_order_release);
  }
  // The slot that the lane is to read when that is news since ``seen``, else -1; and the serial.
  py::tuple asked(size_t lane, uint64_t seen) const {
    check(lane < layout_.lanes(), "no such lane");
    FrameLayout::Lane *from = FrameLayout::lane(memory_.get(), lane);
    const uint64_t serial = from->serial.load(std::memory_order_acquire);
    const uint64_t slot = from->slot.load(std::memory_order_relaxed);
    return py::make_tuple(serial == seen || slot >= layout_.slots() ? -1 : int(slot), serial);
  }
  // What the slot says it holds; read after the work, it tells whether it was overwritten.
  void content(size_t slot, uint64_t &serial, uint64_t &content) const {
    std::atomic_thread_fence(std::memory_order_acquire);
    FrameLayout::Header &from = header(memory_.get(), slot);
    content = from.content.load(std::memory_order_relaxed);
    serial = from.serial.load(std::memory_order_acquire);
  }
  void release() { memory_.release(); }

private:
  FrameLayout::Header &header(void *memory, size_t slot) const {
    check(slot < layout_.slots(), "no such slot");
    return *layout_.header(memory, slot);
  }
  FrameLayout layout_;
  Memory memory_;
};

class Answers {
public:
  Answers(const py::object &buffer, size_t score_bytes, size_t embedding_bytes, bool writable)
      : layout_(score_bytes, embedding_bytes), memory_(buffer, layout_.bytes(), writable) {}

  static size_t size(size_t score_bytes, size_t embedding_bytes) {
    return AnswerLayout(score_bytes, embedding_bytes).bytes();
  }

  void write(const Frames &frames, size_t slot, uint64_t epoch, const py::buffer &scores,
             const py::object &embedding) {
    Echo echo{epoch, 0, 0};
    frames.content(slot, echo.serial, echo.content);
    const Bytes from(scores, layout_.score_bytes());
    const Bytes more(embedding, layout_.embedding_bytes());
    layout_.write(memory_.writable(), echo, now_ns(), from.get(), more.get());
  }

  // To be called before the request, returns its time: what comes after it is an answer, or
  // nonsense.
  int64_t expect(uint64_t epoch, uint64_t serial, uint64_t content) {
    wanted_ = {epoch, serial, content};
    before_ = layout_.header(memory_.get(), serial)->sequence.load(std::memory_order_acquire);
    asked_ns_ = now_ns();
    return int64_t(asked_ns_);
  }

  // When the answer was ready, its scores copied; 0 when there is none yet, -1 when something is
  // there that was not asked for.
  int64_t take(const py::buffer &scores, const py::object &embedding) {
    switch (layout_.take(memory_.get(), wanted_, before_, copy_)) {
    case Taken::kNothing: return 0;
    case Taken::kWrong: return -1;
    case Taken::kAnswer: break;
    }
    Bytes to(scores, layout_.score_bytes(), true), more(embedding, layout_.embedding_bytes(), true);
    const uint64_t *body = copy_.data() + kLine / 8;
    std::memcpy(to.get(), body, layout_.score_bytes());
    if (layout_.embedding_bytes() > 0) {
      std::memcpy(more.get(), body + padded(layout_.score_bytes()) / 8, layout_.embedding_bytes());
    }
    // The worker's word, within what can be true.
    return int64_t(std::min(std::max(copy_[4], asked_ns_), now_ns()));
  }
  void release() { memory_.release(); }

private:
  // A buffer of exactly so many bytes, for the time of a call; None where there are none.
  class Bytes {
  public:
    Bytes(const py::object &buffer, size_t bytes, bool writable = false) {
      if (bytes == 0) return;
      const int flags = (writable ? PyBUF_WRITABLE : 0) | PyBUF_C_CONTIGUOUS;
      if (PyObject_GetBuffer(buffer.ptr(), &view_, flags) != 0) throw py::error_already_set();
      if (static_cast<size_t>(view_.len) != bytes) {
        PyBuffer_Release(&view_);
        throw py::value_error("want " + std::to_string(bytes) + " bytes");
      }
    }
    Bytes(const Bytes &) = delete;
    Bytes &operator=(const Bytes &) = delete;
    ~Bytes() {
      if (view_.obj != nullptr) PyBuffer_Release(&view_);
    }
    void *get() const { return view_.buf; }

  private:
    Py_buffer view_{};
  };

  static uint64_t now_ns() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return uint64_t(now.tv_sec) * 1000000000u + uint64_t(now.tv_nsec);
  }

  AnswerLayout layout_;
  Memory memory_;
  Echo wanted_{};
  uint64_t before_ = 0, asked_ns_ = 0;
  std::vector<uint64_t> copy_;
};

} // namespace

void bind_rings(py::module_ &m) {
  py::class_<Frames>(m, "Frames")
      .def(py::init<const py::object &, size_t, size_t, size_t, bool>(), py::arg("memory"),
           py::arg("lanes"), py::arg("slots"), py::arg("slot_bytes"), py::arg("writable"))
      .def_static("size", &Frames::size, py::arg("lanes"), py::arg("slots"), py::arg("slot_bytes"))
      .def("offset", &Frames::offset, py::arg("slot"))
      .def("begin", &Frames::begin, py::arg("slot"))
      .def("publish", &Frames::publish, py::arg("slot"), py::arg("serial"), py::arg("content"))
      .def("ask", &Frames::ask, py::arg("lane"), py::arg("slot"), py::arg("serial"))
      .def("asked", &Frames::asked, py::arg("lane"), py::arg("seen"))
      .def("release", &Frames::release);
  py::class_<Answers>(m, "Answers")
      .def(py::init<const py::object &, size_t, size_t, bool>(), py::arg("memory"),
           py::arg("score_bytes"), py::arg("embedding_bytes"), py::arg("writable"))
      .def_static("size", &Answers::size, py::arg("score_bytes"), py::arg("embedding_bytes"))
      .def("write", &Answers::write, py::arg("frames"), py::arg("slot"), py::arg("epoch"),
           py::arg("scores"), py::arg("embedding"))
      .def("expect", &Answers::expect, py::arg("epoch"), py::arg("serial"), py::arg("content"))
      .def("take", &Answers::take, py::arg("scores"), py::arg("embedding"))
      .def("release", &Answers::release);
}

} // namespace edgeguard
