/* SPDX-License-Identifier: Apache-2.0 */
/* What the ports for a Cortex-M share. */
#ifndef EDGEGUARD_CORTEX_M_H
#define EDGEGUARD_CORTEX_M_H

#include <stdint.h>

#define EG_REG(address) (*(volatile uint32_t *)(address))
#define EG_AIRCR EG_REG(0xE000ED0Cu)
#define EG_AIRCR_RESET 0x05FA0004u /* SYSRESETREQ with its key */

#define EG_RING 256u /* bytes, a power of two: an index that a flipped bit spoils stays inside */

typedef struct {
  uint8_t byte[EG_RING];
  uint32_t in, out; /* counted without end */
} eg_ring_t;

static inline uint32_t eg_ring_used(eg_ring_t *r) {
  if (r->in - r->out > EG_RING) r->out = r->in; /* no count that was ever written */
  return r->in - r->out;
}

static inline void eg_ring_put(eg_ring_t *r, uint8_t byte) {
  r->byte[r->in++ % EG_RING] = byte;
}

static inline uint8_t eg_ring_get(eg_ring_t *r) {
  return r->byte[r->out++ % EG_RING];
}

#endif
