// SPDX-License-Identifier: Apache-2.0
// The two kinds of memory between the guard and its workers. Frames: written by the guard, read by
// the workers. Answers: written by one worker, copied once by the guard and checked in the copy.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace edgeguard {

constexpr size_t kLine = 64; // a cache line: neighbours never share one

constexpr size_t padded(size_t bytes) {
  return (bytes + kLine - 1) / kLine * kLine;
}

static_assert(std::atomic<uint64_t>::is_always_lock_free, "memory between processes");
using Word = std::atomic<uint64_t>;

// Word by word, so that a copy under a writer's hands is torn at worst, never undefined.
inline void load_words(uint64_t *to, const Word *from, size_t words) {
  for (size_t i = 0; i < words; ++i) to[i] = from[i].load(std::memory_order_relaxed);
}

inline void store_bytes(Word *to, const void *from, size_t bytes) {
  const auto *source = static_cast<const unsigned char *>(from);
  for (size_t at = 0; at < bytes; at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, source + at, bytes - at < 8 ? bytes - at : 8);
    to[at / 8].store(word, std::memory_order_relaxed);
  }
}

// Lanes (one line each: which slot a member is to read), slot headers (a line each), slots.
class FrameLayout {
public:
  struct alignas(kLine) Lane {
    Word serial, slot;
  };
  struct alignas(kLine) Header {
    Word serial, content; // serial 0: being written
  };

  FrameLayout(size_t lanes, size_t slots, size_t slot_bytes)
      : lanes_(lanes), slots_(slots), slot_bytes_(padded(slot_bytes)) {}

  size_t bytes() const { return (lanes_ + slots_) * kLine + slots_ * slot_bytes_; }
  size_t offset(size_t slot) const { return (lanes_ + slots_) * kLine + slot * slot_bytes_; }
  size_t lanes() const { return lanes_; }
  size_t slots() const { return slots_; }

  static Lane *lane(void *memory, size_t lane) { return static_cast<Lane *>(memory) + lane; }
  Header *header(void *memory, size_t slot) const {
    return static_cast<Header *>(memory) + lanes_ + slot;
  }

private:
  size_t lanes_, slots_, slot_bytes_;
};

// What every answer says of itself.
struct Echo {
  uint64_t epoch, serial, content;
  bool operator==(const Echo &other) const {
    return epoch == other.epoch && serial == other.serial && content == other.content;
  }
};

enum class Taken { kNothing, kWrong, kAnswer };

// Two slots, of a header line, scores and embedding each; the slot is the serial's parity.
class AnswerLayout {
public:
  static constexpr size_t kSlots = 2;
  struct alignas(kLine) Header {
    Word sequence, epoch, serial, content, ready_ns; // sequence odd: being written
  };
  static constexpr size_t kEcho = 4; // words behind the sequence

  AnswerLayout(size_t score_bytes, size_t embedding_bytes)
      : score_bytes_(score_bytes), embedding_bytes_(embedding_bytes) {}

  size_t slot_bytes() const { return kLine + padded(score_bytes_) + padded(embedding_bytes_); }
  size_t bytes() const { return kSlots * slot_bytes(); }
  size_t score_bytes() const { return score_bytes_; }
  size_t embedding_bytes() const { return embedding_bytes_; }

  Header *header(void *memory, uint64_t serial) const {
    return reinterpret_cast<Header *>(static_cast<char *>(memory) + serial % kSlots * slot_bytes());
  }

  // By the worker. The acquire fence of the reader pairs with the release fence here: whoever sees
  // a word of this answer sees the odd sequence, too.
  void write(void *memory, const Echo &echo, uint64_t ready_ns, const void *scores,
             const void *embedding) const {
    Header *to = header(memory, echo.serial);
    const uint64_t sequence = to->sequence.load(std::memory_order_relaxed) | 1;
    to->sequence.store(sequence, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_release);
    to->epoch.store(echo.epoch, std::memory_order_relaxed);
    to->serial.store(echo.serial, std::memory_order_relaxed);
    to->content.store(echo.content, std::memory_order_relaxed);
    to->ready_ns.store(ready_ns, std::memory_order_relaxed);
    Word *body = &to->sequence + kLine / 8;
    store_bytes(body, scores, score_bytes_);
    if (embedding_bytes_ > 0) {
      store_bytes(body + padded(score_bytes_) / 8, embedding, embedding_bytes_);
    }
    to->sequence.store(sequence + 1, std::memory_order_release);
  }

  // By the guard: one copy between two looks at the sequence, then the copy is what counts. A torn
  // copy is no answer yet. ``before`` is the sequence at the time of the request.
  Taken take(void *memory, const Echo &wanted, uint64_t before, std::vector<uint64_t> &copy) const {
    Header *from = header(memory, wanted.serial);
    const uint64_t sequence = from->sequence.load(std::memory_order_acquire);
    if (sequence == before || sequence % 2 != 0) return Taken::kNothing;
    copy.resize(slot_bytes() / 8);
    load_words(copy.data(), &from->sequence, copy.size());
    std::atomic_thread_fence(std::memory_order_acquire);
    if (from->sequence.load(std::memory_order_relaxed) != sequence) return Taken::kNothing;
    return Echo{copy[1], copy[2], copy[3]} == wanted ? Taken::kAnswer : Taken::kWrong;
  }

private:
  size_t score_bytes_, embedding_bytes_;
};

} // namespace edgeguard
