/* SPDX-License-Identifier: Apache-2.0 */
#ifndef EDGEGUARD_DETECTION_H
#define EDGEGUARD_DETECTION_H

#include "ends.h"

/* A frame of every type, and the end that waits for it. */
typedef struct {
  ends_t start; /* as before it comes */
  uint8_t type;
  uint8_t frame[EG_FRAME_MAX];
  uint16_t n; /* bytes */
  uint8_t wire[EG_WIRE_MAX];
  uint16_t wire_n;
} sample_t;

/* Payload, nonces and counter from `seed`. */
sample_t sample(uint8_t type, uint8_t authenticated, uint32_t seed);
/* Whether that was taken for a message, and for another one than was sent. */
bool fooled(const sample_t *s, const eg_message_t *said);
uint32_t random_of(uint32_t *state);

/* By the CRC's linearity, all errors in the E2E frame of a type; false, and says which, if one goes
 * unseen. */
bool all_of_few_bits(uint8_t type, double *patterns);
/* `word`: the receiver compares the session word. */
bool all_bursts(uint8_t type, bool msb_first, bool word, uint32_t width, double *patterns);

/* With the receiver itself. */
void frames_of_two_bits(uint8_t type, uint8_t authenticated, double *patterns);
void frames_sampled(uint8_t type, uint32_t n);
void wires_of_two_bits(uint8_t type, uint8_t authenticated, uint32_t seed, double *patterns);
void wires_sampled(uint8_t type, uint32_t n);

#endif
