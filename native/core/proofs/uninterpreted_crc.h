/* SPDX-License-Identifier: Apache-2.0 */
/* Instead of crc.c: eg_crc_u32 as some function of its arguments. */
#include "spec.h"

uint32_t eg_crc_u32(uint32_t crc, uint32_t word) {
  return CRC(crc, word);
}
