// SPDX-License-Identifier: Apache-2.0
#include "tape.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

namespace edgeguard {

static_assert(std::atomic<uint64_t>::is_always_lock_free, "two processes share them");

constexpr size_t kLength = 4; // of a record, before it

static void put_le(uint8_t *out, uint64_t x, size_t bytes) {
  for (size_t i = 0; i < bytes; i++) out[i] = static_cast<uint8_t>(x >> (8 * i));
}

Tape::Tape(void *memory, size_t bytes)
    : head_(static_cast<TapeHead *>(memory)),
      ring_(static_cast<uint8_t *>(memory) + sizeof(TapeHead)), size_(bytes - sizeof(TapeHead)) {}

void Tape::copy_in(uint64_t at, Piece part) {
  size_t start = at % size_, first = std::min(part.bytes, size_ - start);
  std::memcpy(ring_ + start, part.at, first);
  if (part.bytes > first) std::memcpy(ring_, part.at + first, part.bytes - first);
}

bool Tape::push(std::initializer_list<Piece> parts) {
  size_t bytes = 0;
  for (const Piece &p : parts) bytes += p.bytes;
  uint64_t at = head_->written.load(std::memory_order_relaxed);
  uint64_t used = at - head_->taken.load(std::memory_order_acquire);
  if (used > size_ || size_ - used < kLength + bytes) return false;
  uint8_t length[kLength];
  put_le(length, bytes, kLength);
  copy_in(at, {length, kLength});
  at += kLength;
  for (const Piece &p : parts) {
    copy_in(at, p);
    at += p.bytes;
  }
  head_->written.store(at, std::memory_order_release);
  return true;
}

// After one that found no room nothing is kept until the gap is told: the order stays true.
void Tape::keep(std::initializer_list<Piece> parts) {
  if (lost_ > 0 || !push(parts)) lost_ += lost_ < UINT32_MAX;
}

bool Tape::begin(const eg_policy_t &policy, const eg_state_t &state) {
  std::vector<uint8_t> bytes(EG_RECORD_POLICY_MAX);
  size_t n = eg_record_policy(&policy, bytes.data(), bytes.size());
  lost_ = 0;
  since_state_ = kStateEvery;
  if (n == 0 || !push({{bytes.data(), n}})) return false;
  state_due(policy, state);
  return true;
}

void Tape::state_due(const eg_policy_t &policy, const eg_state_t &state) {
  if (lost_ > 0) {
    size_t n = eg_record_gap(lost_, scratch_.data(), scratch_.size());
    if (size_ - waiting() < size_ / 4 || !push({{scratch_.data(), n}}))
      return; // not for one record
    lost_ = 0;
    since_state_ = kStateEvery;
  }
  if (since_state_++ < kStateEvery) return;
  since_state_ = 1;
  keep({{scratch_.data(), eg_record_state(&policy, &state, scratch_.data(), scratch_.size())}});
}

void Tape::decision(const eg_policy_t &policy, int64_t t_ns, const eg_input_t &in,
                    const eg_decision_t &made) {
  keep({{scratch_.data(),
         eg_record_decision(&policy, t_ns, &in, &made, scratch_.data(), scratch_.size())}});
}

void Tape::operation(eg_record_kind_t kind, uint8_t result) {
  keep({{scratch_.data(), eg_record_operation(kind, result, scratch_.data(), scratch_.size())}});
}

void Tape::scores(uint8_t member, uint32_t serial, uint8_t dtype, const void *raw, size_t bytes) {
  uint8_t head[] = {EG_RECORD_SCORES, member, dtype, 0, 0, 0, 0};
  put_le(head + 3, serial, 4);
  keep({{head, sizeof head}, {static_cast<const uint8_t *>(raw), bytes}});
}

Tape::Piece Tape::piece(uint64_t at, size_t bytes) const {
  size_t start = at % size_;
  return {ring_ + start, std::min(bytes, size_ - start)};
}

bool Tape::next(Piece &first, Piece &second) const {
  uint64_t at = head_->taken.load(std::memory_order_relaxed);
  uint64_t waits = head_->written.load(std::memory_order_acquire) - at;
  if (waits < kLength || waits > size_) return false;
  size_t length = 0;
  for (size_t i = 0; i < kLength; i++) length |= size_t{ring_[(at + i) % size_]} << (8 * i);
  if (length > waits - kLength) return false; // the memory is not what it was
  first = piece(at + kLength, length);
  second = {ring_, length - first.bytes};
  return true;
}

void Tape::sealed(uint32_t number, const Hash &hash) {
  head_->edition.fetch_add(1);
  head_->seal.store(number);
  for (size_t i = 0; i < hash.size(); i++) head_->hash[i].store(hash[i]);
  head_->edition.fetch_add(1);
}

bool Tape::last_seal(uint32_t &number, Hash &hash) const {
  uint32_t edition = head_->edition.load();
  number = head_->seal.load();
  for (size_t i = 0; i < hash.size(); i++) hash[i] = head_->hash[i].load();
  return edition != 0 && edition % 2 == 0 && edition == head_->edition.load();
}

void Tape::taken(size_t record_bytes) {
  head_->taken.fetch_add(kLength + record_bytes, std::memory_order_release);
}

} // namespace edgeguard
