/* SPDX-License-Identifier: Apache-2.0 */
/* Consistent overhead byte stuffing (Cheshire and Baker 1999): no zero inside a frame, so that a
 * receiver finds the next frame whatever it missed. */
#ifndef EDGEGUARD_COBS_H
#define EDGEGUARD_COBS_H

#include <stdint.h>

/* Stuff n <= 254 bytes; writes n + 1 bytes, no delimiter. Returns the bytes written. */
uint16_t eg_cobs_encode(const uint8_t *data, uint16_t n, uint8_t *out);

/* Undo it; `room` bytes fit into out. 0: not a frame (a zero inside, cut, too long, or empty). */
uint16_t eg_cobs_decode(const uint8_t *data, uint16_t n, uint8_t *out, uint16_t room);

#endif
