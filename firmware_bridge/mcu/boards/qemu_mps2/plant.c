/* SPDX-License-Identifier: Apache-2.0 */
#include "plant.h"

#include <string.h>

#include "edgeguard/cobs.h"
#include "edgeguard/flow.h"

static uint32_t word(const uint8_t *at) {
  return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static void put(uint8_t *at, uint32_t value) {
  for (uint32_t i = 0; i < 4u; i++) at[i] = (uint8_t)(value >> 8u * i);
}

static uint32_t crc_of(const uint8_t *frame, uint32_t n) {
  return eg_crc_end(eg_crc(EG_CRC_START, frame, n));
}

static void take(eg_plant_t *p, uint32_t now_us) {
  uint8_t frame[EG_PLANT_FRAME];
  uint16_t n = eg_cobs_decode(p->in, p->ins, frame, sizeof frame);
  if (n != EG_PLANT_SENSED + 4u || frame[0] != 1u) return;
  if (word(frame + EG_PLANT_SENSED) != crc_of(frame, EG_PLANT_SENSED)) return;
  p->heard = frame[1] & 3u;
  p->heard_us = now_us;
  p->speed = (int32_t)word(frame + 4);
  p->steering = (int32_t)word(frame + 8);
}

void eg_plant_byte(eg_plant_t *p, uint8_t byte, uint32_t now_us) {
  if (byte == 0) {
    take(p, now_us);
    p->ins = 0;
  } else if (p->ins < sizeof p->in) {
    p->in[p->ins++] = byte;
  }
}

void eg_plant_command(eg_plant_t *p, uint32_t now_us, const int32_t output[2]) {
  uint8_t frame[EG_PLANT_COMMAND + 4u] = {2u, 0u};
  frame[2] = (uint8_t)++p->count;
  frame[3] = (uint8_t)(p->count >> 8);
  put(frame + 4, now_us);
  put(frame + 8, (uint32_t)output[0]);
  put(frame + 12, (uint32_t)output[1]);
  put(frame + EG_PLANT_COMMAND, crc_of(frame, EG_PLANT_COMMAND));
  p->out[0] = 0; /* ends what is left of a frame that was cut off */
  p->sends = (uint8_t)(1u + eg_cobs_encode(frame, sizeof frame, p->out + 1));
  p->out[p->sends++] = 0;
  p->sent = 0;
}
