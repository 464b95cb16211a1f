/* SPDX-License-Identifier: Apache-2.0 */
#include <stdbool.h>

#include "edgeguard/cobs.h"

#define FULL 0xFFu /* code of a block that no zero follows */

uint16_t eg_cobs_encode(const uint8_t *data, uint16_t n, uint8_t *out) {
  uint16_t code = 0; /* where the open block's code goes: 1 + its bytes */
  out[0] = 1;
  for (uint16_t i = 0; i < n; i++) {
    uint16_t at = (uint16_t)(i + 1u);
    if (data[i] != 0) {
      out[at] = data[i];
      out[code]++;
    } else {
      out[at] = 1;
      code = at;
    }
  }
  return (uint16_t)(n + 1u);
}

uint16_t eg_cobs_decode(const uint8_t *data, uint16_t n, uint8_t *out, uint16_t room) {
  uint16_t written = 0;
  uint8_t left = 0;  /* bytes of the open block that are still to come */
  bool zero = false; /* a zero stands between it and the next one */
  for (uint16_t i = 0; i < n; i++) {
    uint8_t byte = data[i];
    bool code = left == 0;
    if (byte == 0) return 0;
    if (!code || zero) {
      if (written == room) return 0;
      out[written] = code ? 0 : byte;
      written++;
    }
    if (code) zero = byte != FULL;
    left = (uint8_t)((code ? byte : left) - 1u);
  }
  return left == 0 ? written : 0;
}
