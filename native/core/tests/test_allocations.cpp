// SPDX-License-Identifier: Apache-2.0
// The native path of a step, recorded, takes nothing from the heap: counted over 100,000 of them.
#include <cstdio>
#include <cstdlib>
#include <new>

#include "../border.hpp"
#include "../tape.hpp"

extern "C" {
#include "fixture.h"
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
}

static long taken = 0;

extern "C" void *__wrap_malloc(size_t size) {
  taken++;
  return __real_malloc(size);
}
extern "C" void *__wrap_calloc(size_t n, size_t size) {
  taken++;
  return __real_calloc(n, size);
}
extern "C" void *__wrap_realloc(void *p, size_t size) {
  taken++;
  return __real_realloc(p, size);
}
void *operator new(size_t size) {
  taken++;
  return __real_malloc(size);
}
void operator delete(void *p) noexcept {
  std::free(p);
}
void operator delete(void *p, size_t) noexcept {
  std::free(p);
}

using namespace edgeguard;

static HostPolicy policy() {
  HostPolicy p;
  p.table = fixture_policy();
  p.labels.assign(p.table.label, p.table.label + p.table.labels);
  p.cameras = {"front"};
  p.signals = {"speed"};
  p.channels = {"target_speed", "other"};
  AssociationSpec pair;
  pair.delay_us = 300000;
  p.associations = {pair};
  p.detectors = {{Source::kCamera, 0, kBlackShare, 0},
                 {Source::kAssociation, 0, 0, 0},
                 {Source::kEmbedding, 0, 0, 0},
                 {Source::kGiven, 0, 0, 1000000}};
  p.table.detector[1] = {EG_ASSOCIATION_BROKEN, EG_NONE, -65536, 65536};
  p.table.detector[2] = {EG_OUT_OF_DISTRIBUTION, 0, INT32_MIN, INT32_MAX};
  p.table.detector[3] = {EG_RISK_RAISED, EG_NONE, 0, 131071};
  p.table.detectors = 4;
  for (const char *name : {"one", "two", "three"}) {
    ScoreSpec s;
    s.n = 43;
    s.dtype = kI8;
    s.scale = 0.1f;
    p.members.emplace_back(name);
    p.scores.push_back(s);
  }
  return p;
}

static EmbeddingFit one_class() {
  EmbeddingFit fit;
  fit.n = 4;
  fit.dtype = kI8;
  fit.centre = {0, 0, 0, 0};
  fit.projection = {1, 0, 0, 0, 0, 1, 0, 0};
  fit.points = {1, 1};
  return fit;
}

static void empty(Tape &tape) {
  Tape::Piece a{}, b{};
  while (tape.next(a, b)) tape.taken(a.bytes + b.bytes);
}

int main() {
  alignas(64) static unsigned char memory[1u << 20];
  Tape tape(memory, sizeof memory);
  Border border(policy());
  if (!border.record(&tape)) return std::puts("broken: the policy does not fit on the tape"), 1;
  static const signed char embedding[4] = {1, 2, 3, 4};
  border.embedding(2, one_class(), embedding);
  border.arm();
  const double features[kImageFeatures] = {100, 20, 0.1, 0, 5};
  long before = taken;
  int64_t now = 0;
  for (uint64_t step = 0; step < 100000; step++) {
    now += 10000000;
    eg_frame_t seen{0, 0, step, static_cast<uint32_t>(step), 0};
    border.frame(0, seen, features, now);
    for (int m = 0; m < 3; m++) {
      static_cast<signed char *>(border.scores(m))[step % 5] = static_cast<signed char>(step % 120);
      border.scored(m, now, now + 1000000);
    }
    border.measure(3, 0.0, now);
    border.signal(0, 20.0);
    bool rule_ok = border.rule(0, 5.0) && border.rule(1, 0.0);
    border.engaged(true, false);
    border.decide(true, now, rule_ok, 1000);
    if (step < 50000) empty(tape); // later it is full: what finds no room takes nothing either
  }
  if (!tape.lost()) return std::puts("broken: a full tape loses nothing"), 1;
  if (before == 0) return std::puts("broken: the counter does not count"), 1;
  std::printf("%ld allocations in 100000 steps\n", taken - before);
  return taken != before;
}
