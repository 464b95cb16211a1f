/* SPDX-License-Identifier: Apache-2.0 */
/* Two copies of a unit: A(f) is the original, B(f) the mutant. Locals without a value are arbitrary
 * to CBMC. STUB(f) stands for f in both copies: what it does depends on its arguments alone, so
 * calls with the same arguments in the same order leave the same behind. */
#ifndef EDGEGUARD_PAIR_H
#define EDGEGUARD_PAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define A(f) f##__a
#define B(f) f##__b
#define STUB(f) f##__stub
#define SAME(condition) __CPROVER_assert(condition, "same: " #condition)
#define GIVEN(condition) __CPROVER_assume(condition)

#define CALLS_KEPT 300

/* What the stubs were called with, for each copy. */
static uint64_t called[2][CALLS_KEPT];
static uint32_t calls[2];
static int side; /* 0: A runs, 1: B runs */

static inline void call(uint64_t with) {
  __CPROVER_assert(calls[side] < CALLS_KEPT, "room for a call");
  called[side][calls[side]++] = with;
}

static inline void same_calls(void) {
  SAME(calls[0] == calls[1]);
  for (uint32_t i = 0; i < calls[0] && i < CALLS_KEPT; i++) SAME(called[0][i] == called[1][i]);
}

#define TEXT_READ 26u /* messages differ before that */

static inline bool same_text(const char *a, const char *b) {
  if (!a || !b) return a == b;
  for (uint32_t i = 0; i < TEXT_READ; i++) {
    if (a[i] != b[i]) return false;
    if (a[i] == 0) return true;
  }
  return true;
}

#endif
