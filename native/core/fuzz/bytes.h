/* SPDX-License-Identifier: Apache-2.0 */
/* Structures out of a fuzzer's bytes; past their end everything is 0. */
#ifndef EDGEGUARD_FUZZ_BYTES_H
#define EDGEGUARD_FUZZ_BYTES_H

#include <stddef.h>
#include <string.h>

#include "fixture.h"

typedef struct {
  const uint8_t *at;
  size_t left;
} bytes_t;

static inline void take(bytes_t *b, void *out, size_t n) {
  size_t used = n < b->left ? n : b->left;
  memset(out, 0, n);
  if (used) memcpy(out, b->at, used);
  b->at += used;
  b->left -= used;
}

static inline uint8_t take_u8(bytes_t *b) {
  uint8_t x;
  take(b, &x, sizeof x);
  return x;
}

static inline uint16_t take_u16(bytes_t *b) {
  uint16_t x;
  take(b, &x, sizeof x);
  return x;
}

static inline uint32_t take_u32(bytes_t *b) {
  uint32_t x;
  take(b, &x, sizeof x);
  return x;
}

static inline int32_t take_i32(bytes_t *b) {
  return (int32_t)take_u32(b);
}

/* A number that is often small, often at an end, sometimes anything. */
static inline int32_t take_odd(bytes_t *b) {
  switch (take_u8(b) & 7u) {
  case 0: return 0;
  case 1: return EG_ONE;
  case 2: return INT32_MAX;
  case 3: return INT32_MIN;
  case 4: return (int32_t)take_u8(b) * EG_ONE;
  case 5: return -(int32_t)take_u8(b) * EG_ONE;
  case 6: return (int32_t)take_u16(b);
  default: return take_i32(b);
  }
}

/* Low enough that words at random are granted something now and then. */
static inline void take_demands(bytes_t *b, eg_policy_t *p) {
  for (size_t c = 0; c < EG_MAX_CHANNELS; c++)
    for (size_t o = 0; o < EG_OPERATIONS; o++)
      p->channel[c].demand[o] =
          (eg_demand_t){take_u8(b) * 257, 1 + take_u8(b) % 2, 1 + take_u8(b) % EG_MAX_RUN};
}

/* The tests' table with some of its bytes overwritten: near enough to a valid one that many are. */
static inline eg_policy_t take_policy(bytes_t *b, eg_label_t label[6]) {
  eg_policy_t p = fixture_policy();
  const eg_label_t *known = p.label;
  const size_t end = offsetof(eg_policy_t, label); /* a pointer differs between processors */
  for (size_t i = take_u8(b) % 16u; i > 0; i--) {
    size_t at = take_u16(b) % end, width = 1u + take_u8(b) % 4u;
    int32_t value = take_odd(b);
    if (at + width <= end) memcpy((uint8_t *)&p + at, &value, width);
  }
  for (size_t i = 0; i < 6; i++) label[i] = known[i];
  for (size_t i = take_u8(b) % 4u; i > 0; i--)
    label[i] = (eg_label_t){(int8_t)(take_u8(b) % 6) - 1, take_odd(b)};
  p.label = take_u8(b) == 1 ? NULL : label;
  if (take_u8(b) & 1u) take_demands(b, &p);
  if (p.labels > 6) p.labels = 6; /* what the table holds is the caller's word, not checked */
  return p;
}

static inline uint32_t take_time(bytes_t *b) {
  switch (take_u8(b) & 7u) {
  case 0: return 0;
  case 1: return EG_AGE_MAX;
  case 2: return take_u32(b);
  case 3: return take_u16(b);
  default: return 10000;
  }
}

static inline void take_suggestion(bytes_t *b, const eg_policy_t *p, eg_suggestion_t *m) {
  m->serial += take_u8(b) & 1;
  m->age_us = take_time(b);
  m->latency_us = take_time(b);
  m->pending_us = take_u8(b) & 1 ? 0 : take_time(b);
  m->present = (take_u8(b) & 15u) != 0;
  eg_evidence_t *e = &m->evidence;
  memset(e, 0, sizeof *e);
  e->label = (take_u8(b) & 31u) == 0 ? take_odd(b) : take_u8(b) % (p->labels + 2) - 1;
  e->value = take_odd(b);
  e->certainty = take_u8(b) * 257 + 1;
  e->sum = EG_ONE;
  e->distinct = 3;
  if (take_u8(b) == 0) e->bad = 1;
  if (take_u8(b) == 0) e->rail = take_odd(b);
}

static inline void take_input(bytes_t *b, const eg_policy_t *p, eg_input_t *in) {
  in->elapsed_us = take_time(b);
  in->question = take_u32(b);
  in->missed = take_u8(b) & 15u ? 0 : take_u32(b) & ((1u << EG_CAUSES) - 1u);
  uint8_t flags = take_u8(b);
  in->engaged = (flags & 7u) != 0;
  in->engaged_unknown = (flags & 0xF0u) == 0;
  in->rule_ok = (take_u8(b) & 31u) != 0;
  in->rule_us = take_time(b);
  for (size_t i = 0; i < EG_MAX_CHANNELS; i++) in->rule[i] = take_odd(b);
  for (size_t i = 0; i < EG_MAX_SIGNALS; i++)
    in->signal[i] = (eg_number_t){(take_u8(b) & 15u) ? EG_VALID : take_u8(b) % 4, take_odd(b)};
  for (size_t i = 0; i < EG_MAX_DETECTORS; i++)
    in->detector[i] = (eg_number_t){take_u8(b) % 4, take_odd(b)};
  for (size_t i = 0; i < EG_MAX_CAMERAS; i++) {
    eg_frame_t *f = &in->frame[i];
    f->serial += take_u8(b) & 1;
    f->age_us = take_time(b);
    f->hash = take_u8(b);
    f->scene = take_u8(b) & 7u;
    f->view = take_u8(b) & 1u;
  }
  for (size_t i = 0; i < EG_MAX_MEMBERS; i++) take_suggestion(b, p, &in->member[i]);
}

#endif
