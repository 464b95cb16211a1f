/* SPDX-License-Identifier: Apache-2.0 */
/* Windowed watchdog of the microcontroller over the host: question and answer.
 *
 * The question is answered in the window [open, close] after it was first asked, by the checks
 * themselves (flow.h). Wrong, early, late or missing: ANSWER_WRONG. The answer's command CRC must
 * be that of the COMMAND of the same tick, its causes CRC that of the VERDICT.
 *
 * A frame may get lost: the question is asked again while it is open, and an answer whose COMMAND
 * or VERDICT never came is not judged. Neither moves the end of the window. Of the question that
 * was answered last, further answers are passed over; a host that repeats them does not answer the
 * open one, and is late. */
#ifndef EDGEGUARD_WATCHDOG_H
#define EDGEGUARD_WATCHDOG_H

#include "edgeguard/flow.h"
#include "edgeguard/message.h"

#define EG_ANSWER_OPEN_US 200u     /* the host holds a question that long; faster is no loop */
#define EG_QUESTION_AGAIN_US 9000u /* an open question is asked again: a lost one costs a turn */
#define EG_ANSWER_CLOSE_US 38000u  /* with the loop's period still within 50 ms to the ramp */

/* What the tick's COMMAND or VERDICT said, to hold an answer against. */
typedef struct {
  uint32_t tick, crc;
  bool known;
} eg_witness_t;

typedef struct {
  uint32_t question;  /* the open one; 0: none */
  uint32_t since_us;  /* it was asked first, saturating */
  uint32_t asked_us;  /* and last */
  uint32_t last;      /* question that was answered last; 0: none was */
  uint32_t last_tick; /* of the last right answer */
  eg_witness_t command, verdict;
  uint32_t random;     /* xorshift state: no secret, but no two questions alike */
  bool started, wrong; /* there was a right answer; there was a failure */
  uint32_t answered, early, late, mistaken; /* counts */
  uint32_t again, unseen;                   /* passed over; not judged */
} eg_watchdog_t;

void eg_watchdog_init(eg_watchdog_t *w, uint32_t seed);
/* What to ask now: the next question, or the open one again; 0: nothing. A right or wrong answer,
 * or its time, closes a question. */
uint32_t eg_watchdog_ask(eg_watchdog_t *w);
void eg_watchdog_command(eg_watchdog_t *w, const eg_command_msg_t *c);
void eg_watchdog_verdict(eg_watchdog_t *w, const eg_verdict_t *v);
void eg_watchdog_answer(eg_watchdog_t *w, const eg_answer_t *a);
/* Time passes; true while ANSWER_WRONG is present: from a failure until eg_watchdog_init. */
bool eg_watchdog_tick(eg_watchdog_t *w, uint32_t elapsed_us);

#endif
