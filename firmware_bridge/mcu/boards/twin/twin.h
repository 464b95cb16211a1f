/* SPDX-License-Identifier: Apache-2.0 */
/* The firmware on a board that is a struct: time, bytes, sensors and faults are the caller's. */
#ifndef EDGEGUARD_TWIN_H
#define EDGEGUARD_TWIN_H

#include "mcu.h"

#define EG_TWIN_RX 2048u
#define EG_TWIN_TX 2048u
#define EG_TWIN_CODE 1024u /* bytes that stand for the program in flash */
#define EG_TWIN_RAM 256u   /* words that the RAM pattern is tried on */
#define EG_TWIN_CANARY 4u
#define EG_TWIN_WATCHDOG_US 400000u /* not stroked that long: reset, as on the mps2-an386 */

/* What is in flash: a flipped bit here is a flipped bit in flash. */
typedef struct {
  uint8_t code[EG_TWIN_CODE];
  eg_mcu_config_t config;
} eg_twin_flash_t;

typedef struct {
  /* the world, set by the caller */
  uint32_t now_us;
  uint32_t call_us; /* every look at the clock makes it advance by this: a slow processor */
  uint8_t rx[EG_TWIN_RX];
  uint32_t rx_used; /* bytes that wait to be read, from rx[0] */
  uint8_t tx_full;  /* the transmitter takes nothing */
  uint8_t tx[EG_TWIN_TX];
  uint32_t tx_used; /* the caller takes them and sets this to 0 */
  eg_sensed_t sensed;
  int32_t stuck[EG_OUTPUTS]; /* XORed into what the actuators read back */
  uint8_t entropy[EG_ENTROPY_BYTES];
  uint32_t flip_in;  /* at that call of the board in the next turn a bit of flash flips; 0: none */
  uint32_t reset_in; /* at that call of the board the next turn ends in a reset; 0: none */

  /* what it did */
  int32_t actuator[EG_OUTPUTS];
  uint32_t actuations, strokes, resets, turns;
  uint32_t pulled;       /* resets in the middle of a turn */
  uint32_t unstroked_us; /* since the last stroke */
  uint32_t turn_us;      /* now_us at the last turn */

  /* memories */
  eg_memory_t memory;
  eg_twin_flash_t flash;
  eg_seal_t seal;
  uint32_t ram[EG_TWIN_RAM];
  uint32_t canary[EG_TWIN_CANARY];
  eg_record_t record;
  eg_record_t saved[EG_SAVES]; /* survive a reset; zeros: power just came */
  eg_mcu_t mcu;
} eg_twin_t;

/* Everything zero, then the flash written and sealed. Next is eg_twin_boot. `config->link.mcu` and
 * the rest must be as the firmware would have them. */
void eg_twin_init(eg_twin_t *t, const eg_mcu_config_t *config);
/* After a change to flash that is meant: new CRCs. */
void eg_twin_seal(eg_twin_t *t);
/* Reset, by whatever cause; what was saved survives. */
void eg_twin_boot(eg_twin_t *t);
/* One turn at t->now_us; or, if it was not stroked, the hardware watchdog's reset. */
void eg_twin_step(eg_twin_t *t);
/* Between turns: judge what arrived, at t->now_us. */
void eg_twin_listen(eg_twin_t *t);
/* Append bytes to rx; what does not fit is lost, as in a UART's FIFO. Returns how many fit. */
uint32_t eg_twin_receive(eg_twin_t *t, const uint8_t *data, uint32_t n);

#endif
