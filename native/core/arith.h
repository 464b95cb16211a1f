/* SPDX-License-Identifier: Apache-2.0 */
#ifndef EDGEGUARD_ARITH_H
#define EDGEGUARD_ARITH_H

#include <stdint.h>

static inline int32_t eg_clamp(int32_t x, int64_t low, int64_t high) {
  int64_t y = x;
  if (y > high) y = high;
  if (y < low) y = low; /* low wins when the two cross */
  return (int32_t)y;
}

/* part / whole of x, truncated; 0 <= part <= whole < 2^31 and |x| < 2^32, so that the product fits.
 */
static inline int64_t eg_part(int64_t x, int64_t part, int64_t whole) {
  return x * part / whole;
}

static inline uint32_t eg_age_add(uint32_t age_us, uint32_t elapsed_us) {
  return age_us > UINT32_MAX - elapsed_us ? UINT32_MAX : age_us + elapsed_us;
}

#endif
