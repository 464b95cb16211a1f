/* SPDX-License-Identifier: Apache-2.0 */
/* Windowed watchdog of the microcontroller over the host: question and answer.
 *
 * The question is answered in the window [open, close] after it was asked, at most once, by the
 * checks themselves (flow.h). Wrong, early, late, missing or repeated: ANSWER_WRONG. The answer's
 * command CRC must be that of the COMMAND of the same tick, its causes CRC that of the VERDICT. */
#ifndef EDGEGUARD_WATCHDOG_H
#define EDGEGUARD_WATCHDOG_H

#include "edgeguard/flow.h"
#include "edgeguard/message.h"

#define EG_ANSWER_OPEN_US 1000u   /* the host holds a question that long; faster is a loop gone wild */
#define EG_ANSWER_CLOSE_US 40000u /* with the loop's period still within 50 ms to the ramp */

typedef struct {
  uint32_t question; /* the open one; 0: none */
  uint32_t since_us; /* it was asked, saturating */
  uint32_t last_tick;
  uint32_t command_tick, command_crc; /* of the last COMMAND accepted */
  uint32_t verdict_tick, verdict_crc; /* of the last VERDICT accepted */
  uint32_t random;   /* xorshift state: no secret, but no two questions alike */
  uint8_t started, wrong;
  uint32_t answered, early, late, mistaken; /* counts */
} eg_watchdog_t;

void eg_watchdog_init(eg_watchdog_t *w, uint32_t seed);
/* The next question; only after the last one was answered. */
uint32_t eg_watchdog_ask(eg_watchdog_t *w);
void eg_watchdog_command(eg_watchdog_t *w, const eg_command_msg_t *c);
void eg_watchdog_verdict(eg_watchdog_t *w, const eg_verdict_t *v);
void eg_watchdog_answer(eg_watchdog_t *w, const eg_answer_t *a);
/* Time passes; true while ANSWER_WRONG is present. */
bool eg_watchdog_tick(eg_watchdog_t *w, uint32_t elapsed_us);

#endif
