/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "arith.h"
#include "edgeguard/watchdog.h"

void eg_watchdog_init(eg_watchdog_t *w, uint32_t seed) {
  memset(w, 0, sizeof *w);
  w->random = seed | 1u; /* xorshift stays at 0 for ever, and never gets there */
}

static uint32_t next(uint32_t x) {
  x ^= x << 13; /* Marsaglia 2003: period 2^32 - 1 */
  x ^= x >> 17;
  return x ^ (x << 5);
}

uint32_t eg_watchdog_ask(eg_watchdog_t *w) {
  if (w->question == 0) {
    w->random = next(w->random);
    w->question = w->random;
    w->since_us = 0;
  } else if (w->asked_us < EG_QUESTION_AGAIN_US) {
    return 0;
  }
  w->asked_us = 0;
  return w->question;
}

static eg_witness_t witness(uint32_t tick, uint32_t crc) {
  return (eg_witness_t){.tick = tick, .crc = eg_crc_end(crc), .known = true};
}

/* As eg_commands_update signs it. */
void eg_watchdog_command(eg_watchdog_t *w, const eg_command_msg_t *c) {
  uint32_t crc = EG_CRC_START;
  for (uint32_t i = 0; i < c->channels; i++) crc = eg_crc_u32(crc, (uint32_t)c->command[i]);
  w->command = witness(c->tick, crc);
}

/* As eg_causes_update signs it. */
void eg_watchdog_verdict(eg_watchdog_t *w, const eg_verdict_t *v) {
  w->verdict = witness(v->tick, eg_crc_u32(eg_crc_u32(EG_CRC_START, v->causes), v->present));
}

/* Of a tick that was not answered in yet, modulo 2^32. */
static bool is_new(const eg_watchdog_t *w, uint32_t tick) {
  return !w->started || (int32_t)(tick - w->last_tick) > 0;
}

/* To the open question, of this tick, out of what its checks found. */
static bool answers(const eg_watchdog_t *w, const eg_answer_t *a) {
  return w->question && a->question == w->question && is_new(w, a->tick) &&
         a->answer == eg_flow_answer(a->question, a->tick, a->check);
}

static bool of_tick(const eg_witness_t *seen, uint32_t tick) {
  return seen->known && seen->tick == tick;
}

/* What the checks found is what the messages say. */
static bool is_true(const eg_watchdog_t *w, const eg_answer_t *a) {
  return w->command.crc == a->check[EG_CHECK_COMMANDS] &&
         w->verdict.crc == a->check[EG_CHECK_CAUSES];
}

static void fail(eg_watchdog_t *w, uint32_t *count) {
  (*count)++;
  w->wrong = true;
  w->question = 0;
}

static void accept(eg_watchdog_t *w, uint32_t tick) {
  w->answered++;
  w->started = true;
  w->last_tick = tick;
  w->last = w->question;
  w->question = 0;
}

static void judge(eg_watchdog_t *w, const eg_answer_t *a) {
  if (!answers(w, a)) {
    fail(w, &w->mistaken);
  } else if (w->since_us < EG_ANSWER_OPEN_US) {
    fail(w, &w->early);
  } else if (!of_tick(&w->command, a->tick) || !of_tick(&w->verdict, a->tick)) {
    w->unseen++;
    w->asked_us = EG_QUESTION_AGAIN_US; /* at once */
  } else if (!is_true(w, a)) {
    fail(w, &w->mistaken);
  } else {
    accept(w, a->tick);
  }
}

void eg_watchdog_answer(eg_watchdog_t *w, const eg_answer_t *a) {
  if (w->last && a->question == w->last)
    w->again++;
  else
    judge(w, a);
}

bool eg_watchdog_tick(eg_watchdog_t *w, uint32_t elapsed_us) {
  w->since_us = eg_age_add(w->since_us, elapsed_us);
  w->asked_us = eg_age_add(w->asked_us, elapsed_us);
  if (w->question && w->since_us > EG_ANSWER_CLOSE_US) fail(w, &w->late);
  return w->wrong;
}
