// SPDX-License-Identifier: Apache-2.0
// Records on their way from the deciding thread to the recorder's process: a ring in memory that
// both map. Writing is a copy, never waits and takes nothing from the heap; what finds no room is
// counted and leaves a gap that says so.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <initializer_list>

#include "border.hpp"

extern "C" {
#include "record/record.h"
}

namespace edgeguard {

// Lies at the start of the shared memory; the rest of it is the ring.
struct TapeHead {
  alignas(64) std::atomic<uint64_t> written; // bytes, ever
  alignas(64) std::atomic<uint64_t> taken;   // bytes, ever
  std::atomic<uint32_t> failing;             // the recorder cannot write, or is gone
  std::atomic<uint32_t> beats;               // counts the recorder's turns
  std::atomic<uint32_t> edition;             // of the seal below; odd while it is being written
  std::atomic<uint32_t> seal;                // number of the last seal that reached the disk
  std::array<std::atomic<uint8_t>, 32> hash; // its head of the chain
};

class Tape {
public:
  static constexpr uint32_t kStateEvery = 1000; // decisions
  // Memory of at least kLeast bytes, zeros when it is new.
  Tape(void *memory, size_t bytes);
  static constexpr size_t kLeast = 1u << 16;

  // The deciding side. Each is one record, or a gap.
  bool begin(const eg_policy_t &policy, const eg_state_t &state);
  void state_due(const eg_policy_t &policy, const eg_state_t &state); // before a decision
  void decision(const eg_policy_t &policy, int64_t t_ns, const eg_input_t &in,
                const eg_decision_t &made);
  void operation(eg_record_kind_t kind, uint8_t result);
  void scores(uint8_t member, uint32_t serial, uint8_t dtype, const void *raw, size_t bytes);
  bool lost() const { return lost_ > 0 || head_->failing.load(std::memory_order_relaxed) != 0; }

  // The recorder's side: the next record as its bytes in the ring, in one or two pieces.
  struct Piece {
    const uint8_t *at;
    size_t bytes;
  };
  bool next(Piece &first, Piece &second) const;
  void taken(size_t record_bytes);

  // The last seal on the disk: the recorder says it, the deciding side tells it to others.
  using Hash = std::array<uint8_t, 32>;
  void sealed(uint32_t number, const Hash &hash);
  bool last_seal(uint32_t &number, Hash &hash) const; // false: none, or just being replaced

  size_t waiting() const { return head_->written.load() - head_->taken.load(); }
  size_t room() const { return size_; }
  TapeHead &head() { return *head_; }

private:
  bool push(std::initializer_list<Piece> parts);
  void keep(std::initializer_list<Piece> parts);
  void copy_in(uint64_t at, Piece part);
  Piece piece(uint64_t at, size_t bytes) const;

  TapeHead *head_;
  uint8_t *ring_;
  size_t size_;
  uint32_t lost_ = 0, since_state_ = 0;
  std::array<uint8_t, EG_RECORD_MAX> scratch_{};
};

} // namespace edgeguard
