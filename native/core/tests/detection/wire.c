/* SPDX-License-Identifier: Apache-2.0 */
/* Errors through the receiver: everything that it does stands between them and a message. */
#include <string.h>

#include "check.h"
#include "detection.h"

/* ------------------------------------------------------------ decoded frames */

static void flip(uint8_t *bytes, uint32_t bit) {
  bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
}

static void refused(const sample_t *s, eg_link_t *l, const uint8_t *frame, const char *what) {
  eg_message_t said;
  CHECK(!eg_link_accept(l, frame, s->n, ends_clock(&s->start, s->type), &said), "type %u: %s",
        s->type, what);
}

void frames_of_two_bits(uint8_t type, uint8_t authenticated, double *patterns) {
  sample_t s = sample(type, authenticated, 1);
  eg_link_t l = *ends_receiver(&s.start, type);
  uint32_t bits = 8u * s.n;
  for (uint32_t i = 0; i < bits; i++) {
    flip(s.frame, i);
    refused(&s, &l, s.frame, "one bit");
    for (uint32_t j = 0; j < i; j++) {
      flip(s.frame, j);
      refused(&s, &l, s.frame, "two bits");
      flip(s.frame, j);
    }
    flip(s.frame, i);
  }
  *patterns += bits + bits * (bits - 1.0) / 2;
  CHECK(l.counts.accepted == 0 && l.receiver[type].started == 0, "nothing got in");
}

/* A sample of what algebra.c proves: three bits, and bursts of up to 32. */
void frames_sampled(uint8_t type, uint32_t n) {
  uint32_t random = type + 1u;
  for (uint32_t i = 0; i < n; i++) {
    sample_t s = sample(type, 0, random_of(&random));
    eg_link_t l = *ends_receiver(&s.start, type);
    uint32_t bits = 8u * s.n;
    for (uint32_t k = 0; k < 50; k++) {
      uint8_t hit[EG_FRAME_MAX];
      memcpy(hit, s.frame, sizeof hit);
      if (k % 2) {
        uint32_t a = random_of(&random) % bits, b = random_of(&random) % bits;
        uint32_t c = random_of(&random) % bits; /* some fall together: one bit, then */
        flip(hit, a);
        flip(hit, b);
        flip(hit, c);
      } else {
        uint32_t from = random_of(&random) % (bits - 31u), burst = random_of(&random) | 1u;
        for (uint32_t b = 0; b < 32; b++)
          if (burst >> b & 1u) flip(hit, from + b);
      }
      refused(&s, &l, hit, k % 2 ? "three bits" : "burst");
    }
  }
}

/* -------------------------------------------------------------- COBS bytes */

/* The bytes as they are hit, then the next frame: never another message, and the next is heard. */
static void through(const sample_t *s, eg_link_t *l, const uint8_t *hit) {
  eg_message_t said;
  uint32_t now_us = ends_clock(&s->start, s->type);
  for (uint16_t i = 0; i < s->wire_n; i++)
    if (eg_link_byte(l, hit[i], now_us, &said)) {
      CHECK(!fooled(s, &said), "type %u: another message", s->type);
      *l = s->type < EG_MSG_CHALLENGE ? s->start.mcu : s->start.host;
    }
  (void)eg_link_byte(l, 0, now_us, &said);
}

static void next_is_heard(const sample_t *s, const eg_link_t *after) {
  eg_link_t l = *after;
  ends_t e = s->start;
  eg_message_t m = ends_message(s->type), said;
  m.as.command.stamp_us = s->type == EG_MSG_COMMAND ? e.now_us : m.as.command.stamp_us;
  ends_sender(&e, s->type)->counter[s->type] = 1;
  uint8_t wire[EG_WIRE_MAX];
  uint16_t n = eg_link_wire(ends_sender(&e, s->type), &m, wire);
  bool heard = false;
  for (uint16_t i = 0; i < n; i++)
    if (eg_link_byte(&l, wire[i], ends_clock(&s->start, s->type), &said)) heard = true;
  CHECK(heard, "type %u: the next frame", s->type);
}

void wires_of_two_bits(uint8_t type, uint8_t authenticated, uint32_t seed, double *patterns) {
  sample_t s = sample(type, authenticated, seed);
  eg_link_t l = *ends_receiver(&s.start, type);
  uint32_t bits = 8u * s.wire_n;
  for (uint32_t i = 0; i < bits; i++) {
    flip(s.wire, i);
    through(&s, &l, s.wire);
    next_is_heard(&s, &l);
    for (uint32_t j = 0; j < i; j++) {
      flip(s.wire, j);
      through(&s, &l, s.wire);
      flip(s.wire, j);
    }
    flip(s.wire, i);
  }
  *patterns += bits + bits * (bits - 1.0) / 2;
}

/* Three bits and more, bytes that change, bytes that are missing or too many. */
static void hit_at_random(uint8_t *wire, uint16_t n, uint32_t *random) {
  uint32_t how = random_of(random) % 4, count = 3 + random_of(random) % 14;
  uint16_t at = (uint16_t)(random_of(random) % n);
  if (how == 0)
    for (uint32_t i = 0; i < count; i++) flip(wire, random_of(random) % (8u * n));
  if (how == 1)
    for (uint32_t i = 0; i < count; i++) wire[random_of(random) % n] = (uint8_t)random_of(random);
  if (how == 2) memmove(wire + at, wire + at + 1, (size_t)(n - at - 1));
  if (how == 3) {
    memmove(wire + at + 1, wire + at, (size_t)(n - at - 1));
    wire[at] = (uint8_t)random_of(random);
    wire[n - 1] = 0;
  }
}

void wires_sampled(uint8_t type, uint32_t n) {
  uint32_t random = 77u + type;
  for (uint32_t i = 0; i < n; i += 100) {
    sample_t s = sample(type, 0, random_of(&random));
    eg_link_t l = *ends_receiver(&s.start, type);
    for (uint32_t k = 0; k < 100; k++) {
      uint8_t hit[EG_WIRE_MAX];
      memcpy(hit, s.wire, sizeof hit);
      hit_at_random(hit, s.wire_n, &random);
      through(&s, &l, hit);
    }
  }
}
