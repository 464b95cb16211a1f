/* SPDX-License-Identifier: Apache-2.0 */
/* All that a microcontroller has to offer. A port implements these ten functions and nothing else
 * of the firmware knows any hardware. None waits but
 * board_wait. */
#ifndef EDGEGUARD_BOARD_H
#define EDGEGUARD_BOARD_H

#include <stdbool.h>
#include <stdint.h>

#include "edgeguard/types.h"

#define EG_ENTROPY_BYTES 16u
#define EG_ARMS_PER_MINUTE 3u
#define EG_OUTPUTS 2u /* speed target, steering */

/* What a reset must not lose. The firmware works on one in ordinary RAM and saves it (record.c). */
typedef struct {
  uint8_t reason, first;      /* eg_reset_t: of the last reset, and of the one before it */
  uint8_t next;               /* what a reset from here on would mean */
  uint8_t commanded;          /* `output` holds something */
  uint16_t resets;            /* since power came */
  uint16_t failed;            /* EG_FAIL_* since the last reset */
  uint16_t failed_before;     /* and those that led to it */
  uint16_t version;           /* counts the times it was saved, modulo 2^16 */
  int32_t output[EG_OUTPUTS]; /* Q16.16 what the actuators got last: the ramp goes on from it */
  uint32_t arm_us[EG_ARMS_PER_MINUTE]; /* ages of the last armings, newest first */
  uint32_t crc;                        /* CRC-32P4 of all before it; wrong: power just came */
} eg_record_t;

/* A save overwrites the older one, so whenever the reset comes, a whole one is there. */
#define EG_SAVES 2u

/* Written into the image after linking (seal.py). */
typedef struct {
  uint32_t image_crc;     /* CRC-32P4 of the whole image, policy included, but for this */
  uint32_t image_sum[2];  /* of its words: sum, and a sum that rolls on by a bit each word */
  uint32_t table_crc;     /* of the bytes of the config, policy and keys */
  uint32_t known_answers; /* of what the core makes of fixed inputs: EG_KNOWN_ANSWERS */
} eg_seal_t;

struct eg_mcu_config; /* mcu.h */

/* Where things are. Constant, and in flash where there is one. */
typedef struct {
  const struct eg_mcu_config *config; /* what `edgeguard mcu policy` wrote */
  const uint8_t *image;               /* code and constants, config included */
  uint32_t image_bytes;               /* whole words */
  const eg_seal_t *seal;
  volatile uint32_t *ram;    /* what may be tested */
  uint32_t ram_words;        /* even */
  volatile uint32_t *canary; /* the far end of the stack: boot writes it, nobody else may */
  uint32_t canary_words;
  eg_record_t *record;
  eg_record_t *saved; /* EG_SAVES of them; no start-up code touches these (.noinit) */
} eg_memory_t;

typedef struct {
  eg_number_t speed;    /* Q16.16 m/s */
  eg_number_t steering; /* Q16.16 rad, left is positive */
} eg_sensed_t;

/* Clocks, link, sensors, actuators; starts the hardware watchdog. Fills the seed of the nonces:
 * each port says from where, and what that resists. */
void board_init(uint8_t entropy[EG_ENTROPY_BYTES]);
const eg_memory_t *board_memory(void);
/* Of a free-running timer; wraps at 2^32. */
uint32_t board_now_us(void);
/* Sleep until then, or until a byte came in; may return at once. */
void board_wait(uint32_t until_us);
/* Bytes that came in on the link, at most `room`. */
uint32_t board_rx(uint8_t *into, uint32_t room);
/* All of them or, when they do not fit, none. */
bool board_tx(const uint8_t *data, uint32_t n);
/* What the microcontroller's own sensors say; the host has no part in it. */
void board_sense(eg_sensed_t *sensed);
void board_actuate(const int32_t output[EG_OUTPUTS]);
/* What the actuators' registers hold. */
void board_readback(int32_t output[EG_OUTPUTS]);
/* The hardware watchdog; called in one place (mcu.c). */
void board_stroke(void);

#endif
