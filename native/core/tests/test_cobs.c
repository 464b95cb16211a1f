/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "check.h"
#include "edgeguard/cobs.h"

#define MOST 254u

static void encodes(const uint8_t *data, uint16_t n, const uint8_t *want) {
  uint8_t out[MOST + 2], back[MOST];
  memset(out, 0xEE, sizeof out);
  CHECK(eg_cobs_encode(data, n, out) == n + 1, "%u bytes", n);
  CHECK(memcmp(out, want, n + 1u) == 0, "%u bytes: %02X %02X", n, out[0], out[1]);
  CHECK(out[n + 1] == 0xEE, "%u bytes: no delimiter, nothing behind", n);
  CHECK(eg_cobs_decode(out, (uint16_t)(n + 1), back, MOST) == n, "%u bytes come back", n);
  CHECK(memcmp(back, data, n) == 0, "%u bytes come back as they were", n);
}

/* Cheshire and Baker 1999, and the corners. */
static void vectors(void) {
  static const struct {
    uint16_t n;
    uint8_t data[5], want[6];
  } v[] = {{0, {0}, {1}},
           {1, {0}, {1, 1}},
           {2, {0, 0}, {1, 1, 1}},
           {3, {0, 0x11, 0}, {1, 2, 0x11, 1}},
           {4, {0x11, 0x22, 0, 0x33}, {3, 0x11, 0x22, 2, 0x33}},
           {4, {0x11, 0x22, 0x33, 0x44}, {5, 0x11, 0x22, 0x33, 0x44}},
           {4, {0x11, 0, 0, 0}, {2, 0x11, 1, 1, 1}},
           {5, {1, 0xFF, 0, 0xFF, 2}, {3, 1, 0xFF, 3, 0xFF, 2}}};
  for (size_t i = 0; i < sizeof v / sizeof *v; i++) encodes(v[i].data, v[i].n, v[i].want);
}

static void longest(void) {
  uint8_t data[MOST], want[MOST + 1];
  for (uint32_t i = 0; i < MOST; i++) want[i + 1] = data[i] = (uint8_t)(i % 255u + 1u);
  want[0] = 255;
  encodes(data, MOST, want); /* a full block, which no zero follows */
  data[0] = 0;
  want[0] = 1;
  want[1] = 254;
  encodes(data, MOST, want);
}

static uint16_t decode(const uint8_t *data, uint16_t n, uint16_t room) {
  uint8_t out[MOST + 1];
  memset(out, 0xEE, sizeof out);
  uint16_t got = eg_cobs_decode(data, n, out, room);
  CHECK(got <= room, "%u bytes into %u", got, room);
  for (uint32_t i = room; i < sizeof out; i++) CHECK(out[i] == 0xEE, "byte %u touched", i);
  return got;
}

static void refuses(void) {
  const uint8_t four[] = {3, 0x11, 0x22, 2, 0x33};
  CHECK(decode(four, 5, 4) == 4, "fits");
  CHECK(decode(four, 5, 3) == 0, "one byte more than there is room");
  CHECK(decode(four, 5, 2) == 0, "and the zero between");
  CHECK(decode(four, 5, 0) == 0, "no room at all");
  CHECK(decode(four, 4, 4) == 0, "cut");
  CHECK(decode(four, 2, 4) == 0, "cut in a block");
  CHECK(decode(four, 3, 4) == 2, "a shorter frame");
  for (uint16_t at = 0; at < 5; at++) {
    uint8_t holed[5];
    memcpy(holed, four, 5);
    holed[at] = 0;
    CHECK(decode(holed, 5, 4) == 0, "a zero at %u", at);
  }
  CHECK(decode(four, 0, 4) == 0, "nothing");
  const uint8_t empty[] = {1};
  CHECK(decode(empty, 1, 4) == 0, "an empty frame is none");
  const uint8_t too_long[] = {200, 1, 2};
  CHECK(decode(too_long, 3, 4) == 0, "a code beyond the end");
}

/* After a full block of 254 no zero stands, after any shorter one it does. */
static void full_blocks(void) {
  uint8_t data[300];
  memset(data, 7, sizeof data);
  data[0] = 255;
  data[255] = 2;
  uint8_t out[300];
  CHECK(eg_cobs_decode(data, 257, out, 300) == 255, "two blocks, no zero");
  CHECK(out[253] == 7 && out[254] == 7, "joined");
  data[0] = 254;
  data[254] = 2;
  CHECK(eg_cobs_decode(data, 256, out, 300) == 255, "two blocks, a zero between");
  CHECK(out[252] == 7 && out[253] == 0 && out[254] == 2, "zero in its place");
}

/* All strings over an alphabet that has every kind of byte: decoding what is encoded, and encoding
 * what decodes, give the same back, so no two wire images mean the same frame. */
static void all_short_strings(void) {
  static const uint8_t letter[] = {0, 1, 2, 3, 4, 5, 9};
  for (uint32_t word = 0; word < 7u * 7 * 7 * 7 * 7; word++) {
    uint8_t data[5], wire[6], back[6];
    uint32_t rest = word;
    for (int i = 0; i < 5; i++, rest /= 7) data[i] = letter[rest % 7];
    for (uint16_t n = 1; n <= 5; n++) {
      uint16_t got = eg_cobs_decode(data, n, back, 5);
      if (got == 0) continue;
      CHECK(got == n - 1, "one byte of overhead");
      CHECK(eg_cobs_encode(back, got, wire) == n, "as long");
      CHECK(memcmp(wire, data, n) == 0, "word %u of %u", word, n);
    }
    CHECK(eg_cobs_encode(data, 5, wire) == 6, "encode");
    CHECK(eg_cobs_decode(wire, 6, back, 5) == 5 && memcmp(back, data, 5) == 0, "word %u", word);
  }
}

int main(void) {
  vectors();
  longest();
  refuses();
  full_blocks();
  all_short_strings();
  return 0;
}
