/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of judging an answer. */
#include "link_contracts.h"

/* Ticks are compared modulo 2^32: these conversions are meant. */
#pragma CPROVER check push
#pragma CPROVER check disable "conversion"
#include "watchdog.c"
#pragma CPROVER check pop

static eg_witness_t witness_c(uint32_t tick, uint32_t crc) ASSIGNS()
    /* WATCH-1 */ ENSURES(RET.known &&RET.tick == tick && RET.crc == CRC_END(crc));

/* Newer by 1 to 2^31 - 1, wherever the ticks wrap. */
#define NEWER(w, tick)                                                                             \
  (!(w)->started || (uint32_t)((tick) - (w)->last_tick) - 1u < (uint32_t)INT32_MAX)

static bool is_new_c(const eg_watchdog_t *w, uint32_t tick) REQUIRES(READS(w)) ASSIGNS()
    /* WATCH-1 */ ENSURES(RET == NEWER(w, tick));

static bool answers_c(const eg_watchdog_t *w, const eg_answer_t *a) REQUIRES(READS(w) && READS(a))
    ASSIGNS()
    /* WATCH-1 */ ENSURES(RET ==
                          (w->question != 0 && a->question == w->question && NEWER(w, a->tick) &&
                           a->answer == ANSWER(a->question, a->tick, a->check)));

static bool of_tick_c(const eg_witness_t *seen, uint32_t tick) REQUIRES(READS(seen)) ASSIGNS()
    /* WATCH-1 */ ENSURES(RET == (seen->known && seen->tick == tick));

static bool is_true_c(const eg_watchdog_t *w, const eg_answer_t *a) REQUIRES(READS(w) && READS(a))
    ASSIGNS()
    /* WATCH-1 */ ENSURES(RET == (w->command.crc == a->check[EG_CHECK_COMMANDS] &&
                                  w->verdict.crc == a->check[EG_CHECK_CAUSES]));

/* It is wrong and stays wrong, the question is closed, one count says why; nothing else moves. */
static void fail_c(eg_watchdog_t *w, uint32_t *count) REQUIRES(WRITES(w))
    REQUIRES(count == &w->early || count == &w->late || count == &w->mistaken)
        ASSIGNS(*count, w->wrong, w->question) ENSURES(*count == OLD(*count) + 1u)
    /* WATCH-2 */ ENSURES(w->wrong && w->question == 0);

/* The question is closed and remembered, the tick too; what was wrong stays wrong: no such target.
 */
static void accept_c(eg_watchdog_t *w, uint32_t tick) REQUIRES(WRITES(w))
    ASSIGNS(w->answered, w->started, w->last_tick, w->last, w->question)
    /* WATCH-1 */ ENSURES(w->started && w->last_tick == tick && w->last == OLD(w->question) &&
                          w->question == 0 && w->answered == OLD(w->answered) + 1u);

/*! enforce witness; replace eg_crc_end */
void prove_witness(void) {
  witness(nondet_u32(), nondet_u32());
  REACHED;
}

/*! enforce is_new */
void prove_is_new(void) {
  eg_watchdog_t w;
  is_new(&w, nondet_u32());
  REACHED;
}

/*! enforce answers; replace is_new eg_flow_answer */
void prove_answers(void) {
  eg_watchdog_t w;
  eg_answer_t a;
  answers(&w, &a);
  REACHED;
}

/*! enforce of_tick */
void prove_of_tick(void) {
  eg_witness_t seen;
  of_tick(&seen, nondet_u32());
  REACHED;
}

/*! enforce is_true */
void prove_is_true(void) {
  eg_watchdog_t w;
  eg_answer_t a;
  is_true(&w, &a);
  REACHED;
}

/*! enforce fail */
void prove_fail(void) {
  eg_watchdog_t w;
  uint8_t which = nondet_u8();
  fail(&w, which == 0 ? &w.early : which == 1 ? &w.late : &w.mistaken);
  REACHED;
}

/*! enforce accept */
void prove_accept_answer(void) {
  eg_watchdog_t w;
  accept(&w, nondet_u32());
  REACHED;
}
