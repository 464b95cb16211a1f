/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "check.h"
#include "edgeguard/cmac.h"

/* RFC 4493, section 4; the first 64 bits of each MAC. */
static const uint8_t key[16] = {0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6,
                                0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c};
static const uint8_t text[64] = {
    0x6b, 0xc1, 0xbe, 0xe2, 0x2e, 0x40, 0x9f, 0x96, 0xe9, 0x3d, 0x7e, 0x11, 0x73, 0x93, 0x17, 0x2a,
    0xae, 0x2d, 0x8a, 0x57, 0x1e, 0x03, 0xac, 0x9c, 0x9e, 0xb7, 0x6f, 0xac, 0x45, 0xaf, 0x8e, 0x51,
    0x30, 0xc8, 0x1c, 0x46, 0xa3, 0x5c, 0xe4, 0x11, 0xe5, 0xfb, 0xc1, 0x19, 0x1a, 0x0a, 0x52, 0xef,
    0xf6, 0x9f, 0x24, 0x45, 0xdf, 0x4f, 0x9b, 0x17, 0xad, 0x2b, 0x41, 0x7b, 0xe6, 0x6c, 0x37, 0x10};
static const struct {
  uint32_t n;
  uint8_t tag[EG_TAG_BYTES];
} vector[] = {{0, {0xbb, 0x1d, 0x69, 0x29, 0xe9, 0x59, 0x37, 0x28}},
              {16, {0x07, 0x0a, 0x16, 0xb4, 0x6b, 0x4d, 0x41, 0x44}},
              {40, {0xdf, 0xa6, 0x67, 0x47, 0xde, 0x9a, 0xe6, 0x30}},
              {64, {0x51, 0xf0, 0xbe, 0xbf, 0x7e, 0x3b, 0x9d, 0x92}}};

/* However the text is cut in two. */
static void rfc4493(void) {
  for (size_t i = 0; i < sizeof vector / sizeof *vector; i++)
    for (uint32_t cut = 0; cut <= vector[i].n; cut++) {
      uint8_t tag[EG_TAG_BYTES + 1];
      tag[EG_TAG_BYTES] = 0xEE;
      uint8_t head[80], tail[80]; /* apart, and with other bytes behind */
      memset(head, 0xA5, sizeof head);
      memset(tail, 0x5A, sizeof tail);
      memcpy(head, text, cut);
      memcpy(tail, text + cut, vector[i].n - cut);
      eg_cmac(key, head, cut, tail, vector[i].n - cut, tag);
      CHECK(memcmp(tag, vector[i].tag, EG_TAG_BYTES) == 0, "%u bytes, cut at %u: %02X%02X",
            vector[i].n, cut, tag[0], tag[1]);
      CHECK(tag[EG_TAG_BYTES] == 0xEE, "8 bytes, no more");
    }
}

/* A chain of tags over every length, each keyed and fed by the one before: any wrong bit anywhere
 * ends elsewhere. The end was made with another implementation (tests/core_link does it again). */
static void chain(void) {
  uint8_t k[16], data[80], tag[EG_TAG_BYTES];
  memset(data, 0, sizeof data);
  memcpy(k, key, sizeof k);
  for (uint32_t round = 0; round < 1000; round++) {
    uint32_t n = round % 80;
    eg_cmac(k, data, n / 2, data + n / 2, n - n / 2, tag);
    for (uint32_t i = 0; i < EG_TAG_BYTES; i++) {
      k[(round + i) % 16] ^= tag[i];
      data[(3 * round + i) % 80] ^= tag[i];
    }
  }
  static const uint8_t want[EG_TAG_BYTES] = {0x29, 0xaa, 0x01, 0xde, 0x0f, 0x46, 0x00, 0xae};
  CHECK(memcmp(tag, want, sizeof want) == 0, "%02X%02X%02X%02X%02X%02X%02X%02X", tag[0], tag[1],
        tag[2], tag[3], tag[4], tag[5], tag[6], tag[7]);
}

static void every_bit_counts(void) {
  for (uint32_t bit = 0; bit < 64; bit++) {
    uint8_t other[EG_TAG_BYTES];
    memcpy(other, vector[0].tag, sizeof other);
    CHECK(eg_tag_equal(other, vector[0].tag), "the same");
    other[bit / 8] ^= (uint8_t)(1u << bit % 8);
    CHECK(!eg_tag_equal(other, vector[0].tag), "bit %u", bit);
  }
}

int main(void) {
  rfc4493();
  chain();
  every_bit_counts();
  return 0;
}
