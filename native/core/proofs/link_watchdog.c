/* SPDX-License-Identifier: Apache-2.0 */
#include "link_contracts.h"
#include "uninterpreted_crc.h"

/* Ticks are compared modulo 2^32, and values are signed bit by bit: these conversions are meant. */
#pragma CPROVER check push
#pragma CPROVER check disable "conversion"
#include "watchdog.c"

/* What eg_commands_update signs. */
static uint32_t said_crc(const eg_command_msg_t *c) {
  uint32_t crc = EG_CRC_START;
  if (c->channels > 0) crc = CRC(crc, (uint32_t)c->command[0]);
  if (c->channels > 1) crc = CRC(crc, (uint32_t)c->command[1]);
  if (c->channels > 2) crc = CRC(crc, (uint32_t)c->command[2]);
  if (c->channels > 3) crc = CRC(crc, (uint32_t)c->command[3]);
  return CRC_END(crc);
}
#pragma CPROVER check pop

/* Instead of flow.c: some function of question, tick and findings; prove_flow_answer says which. */
uint32_t __CPROVER_uninterpreted_answer(uint32_t question, uint32_t tick, const uint32_t *check);

uint32_t eg_flow_answer(uint32_t question, uint32_t tick, const uint32_t check[EG_CHECKS]) {
  return __CPROVER_uninterpreted_answer(question, tick, check);
}

/* What eg_watchdog_init makes and every function keeps. A question that is open after a tick is no
 * older than the window. */
static bool dog_ok(const eg_watchdog_t *w) {
  return w->random != 0 && (w->question == 0 || w->since_us <= EG_ANSWER_CLOSE_US);
}

void eg_watchdog_init(eg_watchdog_t *w, uint32_t seed) REQUIRES(WRITES(w)) ASSIGNS(*w)
    ENSURES(dog_ok(w))
    /* WATCH-1 */ ENSURES(w->question == 0 && !w->wrong && w->answered == 0 && !w->command.known &&
                          !w->verdict.known);

static uint32_t next_c(uint32_t x) REQUIRES(x != 0) ASSIGNS()
    /* WATCH-3 */ ENSURES(RET != 0 && RET != x);

uint32_t eg_watchdog_ask(eg_watchdog_t *w) REQUIRES(WRITES(w)) REQUIRES(dog_ok(w))
    ASSIGNS(w->random, w->question, w->since_us, w->asked_us) ENSURES(dog_ok(w))
    /* WATCH-3 */ ENSURES(IMPLIES(OLD(w->question) == 0,
                                  RET == w->question && RET != 0 && RET == w->random &&
                                      RET != OLD(w->random) && w->since_us == 0))
    /* WATCH-3 */ ENSURES(IMPLIES(OLD(w->question) != 0,
                                  w->question == OLD(w->question) &&
                                      w->since_us == OLD(w->since_us) &&
                                      RET == (OLD(w->asked_us) < 9000 ? 0 : w->question)));

void eg_watchdog_command(eg_watchdog_t *w, const eg_command_msg_t *c)
    REQUIRES(WRITES(w) && READS(c) && c->channels <= EG_MAX_CHANNELS) ASSIGNS(w->command)
    /* WATCH-1 */ ENSURES(w->command.known && w->command.tick == c->tick &&
                          w->command.crc == said_crc(c));

void eg_watchdog_verdict(eg_watchdog_t *w, const eg_verdict_t *v) REQUIRES(WRITES(w) && READS(v))
    ASSIGNS(w->verdict)
    /* WATCH-1 */ ENSURES(w->verdict.known && w->verdict.tick == v->tick &&
                          w->verdict.crc == CRC_END(CRC(CRC(EG_CRC_START, v->causes), v->present)));

/* The word for word reading of "right": to the open question, of a tick that is newer modulo 2^32,
 * in the window, with the value that question, tick and findings make, of findings that the
 * tick's own COMMAND and VERDICT say. */
#define AGAIN(w, a) (OLD((w)->last) != 0 && (a)->question == OLD((w)->last))
#define FITS(w, a)                                                                                 \
  (OLD((w)->question) != 0 && (a)->question == OLD((w)->question) &&                               \
   (!OLD((w)->started) || (uint32_t)((a)->tick - OLD((w)->last_tick)) - 1u < INT32_MAX) &&         \
   (a)->answer == __CPROVER_uninterpreted_answer((a)->question, (a)->tick, (a)->check))
#define IN_TIME(w) (OLD((w)->since_us) >= 200)
#define SEEN(w, a)                                                                                 \
  ((w)->command.known && (w)->command.tick == (a)->tick && (w)->verdict.known &&                   \
   (w)->verdict.tick == (a)->tick)
#define TRUE_TO(w, a)                                                                              \
  ((w)->command.crc == (a)->check[EG_CHECK_COMMANDS] &&                                            \
   (w)->verdict.crc == (a)->check[EG_CHECK_CAUSES])
#define RIGHT(w, a) (FITS(w, a) && IN_TIME(w) && SEEN(w, a) && TRUE_TO(w, a))
#define UNSEEN(w, a) (FITS(w, a) && IN_TIME(w) && !SEEN(w, a))
#define COUNTED(w, of) ((w)->of != OLD((w)->of))

#define ANSWERING                                                                                  \
  w->question, w->asked_us, w->last, w->last_tick, w->started, w->wrong, w->answered, w->early,    \
      w->mistaken, w->unseen

static void judge_c(eg_watchdog_t *w, const eg_answer_t *a) REQUIRES(WRITES(w) && READS(a))
    REQUIRES(dog_ok(w)) ASSIGNS(ANSWERING) ENSURES(dog_ok(w))
    /* WATCH-1 */ ENSURES(COUNTED(w, answered) == RIGHT(w, a))
    /* WATCH-1 */ ENSURES(IMPLIES(RIGHT(w, a), w->started && w->last_tick == a->tick &&
                                                   w->last == a->question && w->question == 0))
    /* WATCH-1 */ ENSURES(IMPLIES(!RIGHT(w, a), w->started == OLD(w->started) &&
                                                    w->last_tick == OLD(w->last_tick) &&
                                                    w->last == OLD(w->last)))
    /* WATCH-2 */ ENSURES((w->wrong != 0) == (OLD(w->wrong) || !(RIGHT(w, a) || UNSEEN(w, a))))
    /* WATCH-4 */ ENSURES(IMPLIES(UNSEEN(w, a), w->question == OLD(w->question)));

void eg_watchdog_answer(eg_watchdog_t *w, const eg_answer_t *a) REQUIRES(WRITES(w) && READS(a))
    REQUIRES(dog_ok(w)) ASSIGNS(ANSWERING, w->again) ENSURES(dog_ok(w))
    /* WATCH-1 */ ENSURES(COUNTED(w, answered) == (!AGAIN(w, a) && RIGHT(w, a)))
    /* WATCH-1 */ ENSURES(IMPLIES(!COUNTED(w, answered), w->started == OLD(w->started) &&
                                                             w->last_tick == OLD(w->last_tick) &&
                                                             w->last == OLD(w->last)))
    /* WATCH-2 */ ENSURES((w->wrong != 0) ==
                          (OLD(w->wrong) || !(AGAIN(w, a) || RIGHT(w, a) || UNSEEN(w, a))))
    /* WATCH-4 */ ENSURES(IMPLIES(AGAIN(w, a) || UNSEEN(w, a), w->question == OLD(w->question)));

/* Late: the question that the window closed on is gone, and that is wrong. */
#define LATER(w, by) AGED(OLD((w)->since_us), by)

bool eg_watchdog_tick(eg_watchdog_t *w, uint32_t elapsed_us) REQUIRES(WRITES(w)) REQUIRES(dog_ok(w))
    ASSIGNS(w->since_us, w->asked_us, w->question, w->wrong, w->late) ENSURES(dog_ok(w))
    /* WATCH-2 */ ENSURES(RET == w->wrong && w->since_us == LATER(w, elapsed_us))
    /* WATCH-2 */ ENSURES((w->wrong != 0) == (OLD(w->wrong) || (OLD(w->question) != 0 &&
                                                                LATER(w, elapsed_us) > 38000)))
    /* WATCH-2 */ ENSURES(w->question == (LATER(w, elapsed_us) > 38000 ? 0 : OLD(w->question)));

/*! enforce eg_watchdog_init */
void prove_watchdog_init(void) {
  eg_watchdog_t w;
  eg_watchdog_init(&w, nondet_u32());
  REACHED;
}

/*! enforce next; solver kissat */
void prove_next_question(void) {
  next(nondet_u32());
  REACHED;
}

/*! enforce eg_watchdog_ask; replace next */
void prove_watchdog_ask(void) {
  eg_watchdog_t w;
  eg_watchdog_ask(&w);
  REACHED;
}

/*! enforce eg_watchdog_command; replace eg_crc_end; unwind 6 */
void prove_watchdog_command(void) {
  eg_watchdog_t w;
  eg_command_msg_t c;
  eg_watchdog_command(&w, &c);
  REACHED;
}

/*! enforce eg_watchdog_verdict; replace eg_crc_end */
void prove_watchdog_verdict(void) {
  eg_watchdog_t w;
  eg_verdict_t v;
  eg_watchdog_verdict(&w, &v);
  REACHED;
}

/*! enforce judge */
void prove_judge_answer(void) {
  eg_watchdog_t w;
  eg_answer_t a;
  judge(&w, &a);
  REACHED;
}

/*! enforce eg_watchdog_answer; replace judge */
void prove_watchdog_answer(void) {
  eg_watchdog_t w;
  eg_answer_t a;
  eg_watchdog_answer(&w, &a);
  REACHED;
}

/*! enforce eg_watchdog_tick */
void prove_watchdog_tick(void) {
  eg_watchdog_t w;
  eg_watchdog_tick(&w, nondet_u32());
  REACHED;
}
