/* SPDX-License-Identifier: Apache-2.0 */
/* What the CRC makes of every error in a frame, without trying them one by one.
 *
 * A CRC is affine: crc(a ^ e) ^ crc(a) does not depend on a. So an error e in a frame of fixed
 * length goes unseen exactly when its syndrome is 0: the change of the CRC that the receiver
 * computes, xor the change of the CRC field. Syndromes of errors add up (xor) from those of their
 * bits.
 *
 * The receiver compares three fields with what it knows, so an error there is seen whatever the CRC
 * does: the length (one a type), the session word, and the data id, unless the error turns it into
 * another type's. Two types differ in at least 4 bits of their id; a burst of at most 32 bits that
 * reaches the code of the type in byte 7 does not reach the length in bytes 0 and 1 (42 bits), so
 * the other type must have the same length. Since the CRC field holds no bit that the CRC is made
 * of, what stands here is not what textbooks say of CRCs at the end of a frame: bursts over the
 * border between CRC and payload would go unseen, were it not for the session word between them. */
#include <stdio.h>

#include "detection.h"
#include "edgeguard/flow.h"

#define BITS_MAX (8u * (EG_FRAME_HEAD + EG_PAYLOAD_MAX))

static uint32_t crc_of(const uint8_t *frame, uint32_t n) {
  uint32_t crc = eg_crc(EG_CRC_START, frame, 8);
  return eg_crc_end(eg_crc(crc, frame + EG_E2E_HEADER, n - EG_E2E_HEADER));
}

static uint32_t length_of(uint8_t type) {
  return EG_FRAME_HEAD + eg_message_size(type);
}

/* Of each single bit, in the order of the wire (serial: the lowest bit of a byte first). */
static uint32_t syndromes(uint8_t type, bool msb_first, uint32_t out[BITS_MAX]) {
  uint8_t zeros[BITS_MAX / 8] = {0};
  uint32_t n = length_of(type), none = crc_of(zeros, n);
  for (uint32_t bit = 0; bit < 8 * n; bit++) {
    uint8_t flip = (uint8_t)(msb_first ? 0x80u >> bit % 8 : 1u << bit % 8);
    zeros[bit / 8] = flip;
    out[bit] = crc_of(zeros, n) ^ none ^ eg_get32(zeros + 8);
    zeros[bit / 8] = 0;
  }
  return 8 * n;
}

bool all_of_few_bits(uint8_t type, double *patterns) {
  uint32_t s[BITS_MAX], bits = syndromes(type, false, s), unseen = 0;
  for (uint32_t i = 0; i < bits; i++) {
    unseen += s[i] == 0;
    for (uint32_t j = 0; j < i; j++) {
      uint32_t two = s[i] ^ s[j];
      unseen += two == 0;
      for (uint32_t k = 0; k < j; k++) unseen += s[k] == two;
    }
  }
  double b = bits;
  *patterns += b + b * (b - 1) / 2 + b * (b - 1) * (b - 2) / 6;
  if (unseen) printf("type %u: %u errors of 1 to 3 bits go unseen\n", type, unseen);
  return unseen == 0;
}

/* Vectors in echelon form: basis[b] has its highest bit at b. */
typedef struct {
  uint32_t basis[32];
} space_t;

static uint32_t reduced(const space_t *s, uint32_t v) {
  for (int b = 31; b >= 0; b--)
    if ((v >> b & 1u) && s->basis[b]) v ^= s->basis[b];
  return v;
}

/* False when it is a sum of those that are there. */
static bool added(space_t *s, uint32_t v) {
  v = reduced(s, v);
  if (v == 0) return false;
  int b = 31;
  while (!(v >> b & 1u)) b--;
  s->basis[b] = v;
  return true;
}

/* The receiver knows what stands in this byte, whatever the CRC says of it. */
static bool is_known(uint32_t byte, bool word) {
  return byte < 2 || (byte >= 4 && byte < 8) || (word && byte >= 12 && byte < 16);
}

/* Whether this burst window can turn the data id into that of `other` unseen. */
static bool masks(uint8_t type, uint8_t other, bool msb_first, const uint32_t *s,
                  const space_t *free, uint32_t from, uint32_t to) {
  if (other == type || length_of(other) != length_of(type)) return false;
  if (ends_is_of_host(other) != ends_is_of_host(type)) return false;
  uint32_t change =
      eg_message_data_id((eg_message_type_t)type) ^ eg_message_data_id((eg_message_type_t)other);
  uint32_t sum = 0;
  for (uint32_t bit = 32; bit < 64; bit++) {
    uint32_t place = msb_first ? 7 - bit % 8 : bit % 8; /* in byte bit / 8, big-endian */
    if (!(change >> (8 * (7 - bit / 8) + place) & 1u)) continue;
    if (bit < from || bit >= to) return false;
    sum ^= s[bit];
  }
  return reduced(free, sum) == 0;
}

/* An error within [from, from + width) goes unseen when it touches no known byte and is in the
 * kernel of the syndrome: there is none but 0 when the syndromes of its bits are linearly
 * independent. */
bool all_bursts(uint8_t type, bool msb_first, bool word, uint32_t width, double *patterns) {
  uint32_t s[BITS_MAX], bits = syndromes(type, msb_first, s), unseen = 0;
  for (uint32_t from = 0; from + width <= bits; from++) {
    space_t free = {{0}};
    bool seen = true;
    for (uint32_t bit = from; bit < from + width; bit++)
      if (!is_known(bit / 8, word) && !added(&free, s[bit])) seen = false;
    for (uint8_t other = 0; other < EG_MESSAGES; other++)
      if (masks(type, other, msb_first, s, &free, from, from + width)) seen = false;
    unseen += !seen;
  }
  for (uint32_t n = 1; n <= width; n++)
    *patterns += (bits - n + 1.0) * (n == 1 ? 1.0 : (double)(1ull << (n - 2)));
  return unseen == 0;
}
