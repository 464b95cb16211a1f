/* SPDX-License-Identifier: Apache-2.0 */
#include "twin.h"

#include <setjmp.h>
#include <string.h>

/* The board's functions know no instance; the one that runs in this thread is here. */
static __thread eg_twin_t *current;
static __thread jmp_buf reset_line; /* leaves a turn in its middle, as a reset does */
static __thread bool in_turn;

/* Whether the call of the board that this counts down to is here. */
static bool due(uint32_t *in) {
  if (!in_turn || *in == 0) return false;
  *in -= 1;
  return *in == 0;
}

static void called(void) {
  if (due(&current->flip_in)) current->flash.code[0] ^= 1u;
  if (due(&current->reset_in)) longjmp(reset_line, 1);
}

void board_init(uint8_t entropy[EG_ENTROPY_BYTES]) {
  memcpy(entropy, current->entropy, EG_ENTROPY_BYTES);
  current->unstroked_us = 0;
}

const eg_memory_t *board_memory(void) {
  return &current->memory;
}

uint32_t board_now_us(void) {
  called();
  current->now_us += current->call_us;
  return current->now_us;
}

/* Time is the caller's. */
void board_wait(uint32_t until_us) {
  (void)until_us;
}

uint32_t board_rx(uint8_t *into, uint32_t room) {
  called();
  uint32_t n = current->rx_used < room ? current->rx_used : room;
  memcpy(into, current->rx, n);
  current->rx_used -= n;
  memmove(current->rx, current->rx + n, current->rx_used);
  return n;
}

bool board_tx(const uint8_t *data, uint32_t n) {
  called();
  if (current->tx_full || n > EG_TWIN_TX - current->tx_used) return false;
  memcpy(current->tx + current->tx_used, data, n);
  current->tx_used += n;
  return true;
}

void board_sense(eg_sensed_t *sensed) {
  called();
  *sensed = current->sensed;
}

void board_actuate(const int32_t output[EG_OUTPUTS]) {
  called();
  memcpy(current->actuator, output, sizeof current->actuator);
  current->actuations++;
  called(); /* a reset may come before the firmware can note that it acted */
}

void board_readback(int32_t output[EG_OUTPUTS]) {
  called();
  for (uint32_t i = 0; i < EG_OUTPUTS; i++) output[i] = current->actuator[i] ^ current->stuck[i];
}

void board_stroke(void) {
  current->strokes++;
  current->unstroked_us = 0;
}

void eg_twin_init(eg_twin_t *t, const eg_mcu_config_t *config) {
  memset(t, 0, sizeof *t);
  t->flash.config = *config;
  for (uint32_t i = 0; i < EG_TWIN_CODE; i++) t->flash.code[i] = (uint8_t)(i * 151u + 7u);
  eg_memory_t memory = {&t->flash.config, (const uint8_t *)&t->flash,
                        sizeof t->flash,  &t->seal,
                        t->ram,           EG_TWIN_RAM,
                        t->canary,        EG_TWIN_CANARY,
                        &t->record,       t->saved};
  t->memory = memory;
  eg_twin_seal(t);
}

void eg_twin_seal(eg_twin_t *t) {
  const eg_memory_t *m = &t->memory;
  uint32_t *sum = t->seal.image_sum;
  t->seal.image_crc = eg_crc_of(m->image, m->image_bytes);
  sum[0] = 0;
  sum[1] = 0;
  for (uint32_t i = 0; i < m->image_bytes; i += 4u) {
    const uint8_t *b = m->image + i;
    sum[0] += (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
    sum[1] = (sum[1] << 1 | sum[1] >> 31) + sum[0];
  }
  t->seal.table_crc = eg_crc_of(&t->flash.config, sizeof t->flash.config);
  t->seal.known_answers = EG_KNOWN_ANSWERS;
}

void eg_twin_boot(eg_twin_t *t) {
  current = t;
  t->rx_used = 0;                          /* a UART that resets holds nothing */
  memset(&t->record, 0, sizeof t->record); /* in .bss */
  t->turn_us = t->now_us;
  eg_mcu_boot(&t->mcu);
}

void eg_twin_step(eg_twin_t *t) {
  current = t;
  t->unstroked_us += t->now_us - t->turn_us;
  t->turn_us = t->now_us;
  if (t->unstroked_us > EG_TWIN_WATCHDOG_US) {
    t->resets++;
    eg_twin_boot(t);
    return;
  }
  t->turns++;
  bool pulled = setjmp(reset_line) != 0;
  if (!pulled) {
    in_turn = true;
    eg_mcu_listen(&t->mcu, t->now_us + EG_TURN_US); /* as main.c does, before each turn */
    eg_mcu_step(&t->mcu);
  }
  in_turn = false;
  t->reset_in = 0;
  if (!pulled) return;
  t->pulled++;
  eg_twin_boot(t);
}

void eg_twin_listen(eg_twin_t *t) {
  current = t;
  eg_mcu_listen(&t->mcu, t->now_us + EG_TURN_US);
}

uint32_t eg_twin_receive(eg_twin_t *t, const uint8_t *data, uint32_t n) {
  uint32_t room = EG_TWIN_RX - t->rx_used;
  uint32_t fits = n < room ? n : room;
  memcpy(t->rx + t->rx_used, data, fits);
  t->rx_used += fits;
  return fits;
}
