/* SPDX-License-Identifier: Apache-2.0 */
#include "mcu.h"

static eg_mcu_t mcu;

/* Polled, with no interrupt: every turn takes its time from the free-running timer. */
int main(void) {
  eg_mcu_boot(&mcu);
  uint32_t next_us = board_now_us();
  for (;;) {
    next_us += mcu.kept.period_us;
    uint32_t now_us = board_now_us();
    if ((int32_t)(now_us - next_us) > 0) next_us = now_us; /* late: no second turn to make up */
    do {                                                   /* a late turn listens, too */
      eg_mcu_listen(&mcu, next_us);
      board_wait(next_us);
    } while ((int32_t)(board_now_us() - next_us) < 0);
    eg_mcu_step(&mcu);
  }
}
