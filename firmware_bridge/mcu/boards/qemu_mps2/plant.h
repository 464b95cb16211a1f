/* SPDX-License-Identifier: Apache-2.0 */
/* Sensors and actuators of the emulated board: frames on its second UART, to and from
 * firmware_bridge/plant.py. Little-endian, CRC-32P4 behind, COBS, a zero at both ends.
 *
 *   plant -> MCU  1, valid (bit 0 speed, bit 1 steering), u16 count, i32 speed, i32 steering
 *   MCU -> plant  2, 0, u16 count, u32 stamp_us, i32 speed target, i32 steering */
#ifndef EDGEGUARD_PLANT_H
#define EDGEGUARD_PLANT_H

#include <stdint.h>

#define EG_PLANT_SENSED 12u
#define EG_PLANT_COMMAND 16u
#define EG_PLANT_FRAME 23u /* the longer one with CRC, COBS and a zero at both ends */

typedef struct {
  uint8_t in[EG_PLANT_FRAME], ins;
  uint8_t out[EG_PLANT_FRAME], sends, sent;
  uint8_t heard; /* valid bits, 0: nothing */
  uint16_t count;
  uint32_t heard_us;
  int32_t speed, steering;
} eg_plant_t;

void eg_plant_byte(eg_plant_t *p, uint8_t byte, uint32_t now_us);
/* The next frame out; what of the last one has not left is dropped with it. */
void eg_plant_command(eg_plant_t *p, uint32_t now_us, const int32_t output[2]);

#endif
