/* SPDX-License-Identifier: Apache-2.0 */
/* A walk over a message's fields, each part by itself: one that reads, or one that writes. */
#include "link_payload.h"

/* Numbers are written as the bytes of their bits, whatever their sign: these conversions are meant.
 */
#pragma CPROVER check push
#pragma CPROVER check disable "conversion"
#include "message.c"
#pragma CPROVER check pop

/* ------------------------------------------------------------------- fields */

/* One way, over a payload with room for so much. */
#define ROOM(w, n)                                                                                 \
  (WRITES(w) && ((w)->from == NULL) != ((w)->to == NULL) && (w)->at + (n) <= EG_PAYLOAD_MAX &&     \
   ((w)->from == NULL || __CPROVER_r_ok((w)->from, EG_PAYLOAD_MAX)) &&                             \
   ((w)->to == NULL || __CPROVER_rw_ok((w)->to, EG_PAYLOAD_MAX)))
#define PAYLOAD(w) ((w)->from ? (w)->from : (w)->to)
/* What was passed, before it was. */
#define PASSED(w) (PAYLOAD(w) + OLD((w)->at))
/* What is written on the way out, and nothing on the way in. */
#define WRITTEN(w, n) ASSIGNS((w)->to != NULL : __CPROVER_object_upto((w)->to + (w)->at, n))

/* The lowest bytes of a number, and those at a place, lowest first. */
#define LOW(x, n) ((n) == 4u ? (x) : (x) & ((1u << (8u * (n) % 32u)) - 1u))
static uint32_t little(const uint8_t *at, uint32_t n) {
  uint32_t x = at[0];
  if (n > 1) x += 256u * at[1];
  if (n > 2) x += 65536u * at[2] + 16777216u * at[3];
  return x;
}

static void number_c(walk_t *w, uint32_t *x, uint32_t bytes)
    REQUIRES((bytes == 1 || bytes == 2 || bytes == 4) && ROOM(w, bytes) && WRITES(x))
        ASSIGNS(w->at, *x) WRITTEN(w, bytes) ENSURES(w->at == OLD(w->at) + bytes)
    /* MESSAGE-1 */ ENSURES(*x == little(PASSED(w), bytes))
    /* MESSAGE-1 */ ENSURES(IMPLIES(w->to, *x == LOW(OLD(*x), bytes)));

static void u8_c(walk_t *w, uint8_t *x, uint32_t most) REQUIRES(ROOM(w, 1) && WRITES(x))
    ASSIGNS(w->at, *x) ASSIGNS(most < UINT8_MAX : w->wrong) WRITTEN(w, 1)
        ENSURES(w->at == OLD(w->at) + 1)
    /* MESSAGE-1 */ ENSURES(*x == *PASSED(w) && IMPLIES(w->to, *x == OLD(*x)))
    /* MESSAGE-3 */ ENSURES((w->wrong != 0) == (OLD(w->wrong) || *x > most));

static void u16_c(walk_t *w, uint16_t *x) REQUIRES(ROOM(w, 2) && WRITES(x)) ASSIGNS(w->at, *x)
    WRITTEN(w, 2) ENSURES(w->at == OLD(w->at) + 2)
    /* MESSAGE-1 */ ENSURES(*x == little(PASSED(w), 2) && IMPLIES(w->to, *x == OLD(*x)));

static void u32_c(walk_t *w, uint32_t *x) REQUIRES(ROOM(w, 4) && WRITES(x)) ASSIGNS(w->at, *x)
    WRITTEN(w, 4) ENSURES(w->at == OLD(w->at) + 4)
    /* MESSAGE-1 */ ENSURES(*x == little(PASSED(w), 4) && IMPLIES(w->to, *x == OLD(*x)));

static void i32_c(walk_t *w, int32_t *x) REQUIRES(ROOM(w, 4) && WRITES(x)) ASSIGNS(w->at, *x)
    WRITTEN(w, 4) ENSURES(w->at == OLD(w->at) + 4)
    /* MESSAGE-1 */ ENSURES((int64_t)*x == SIGNED(little(PASSED(w), 4)))
    /* MESSAGE-1 */ ENSURES(IMPLIES(w->to, *x == OLD(*x)));

/* Of the place that was chosen, if it is one of theirs. */
#define THEIRS(w, n) ((uint32_t)a_byte - (w)->at < (n) ? (uint32_t)a_byte - (w)->at : 0u)

static void bytes_c(walk_t *w, uint8_t *x, uint32_t n)
    REQUIRES((n == 4 || n == 8 || n == 32) && ROOM(w, n) && __CPROVER_rw_ok(x, n))
        ASSIGNS(w->at, __CPROVER_object_upto(x, n)) WRITTEN(w, n) ENSURES(w->at == OLD(w->at) + n)
    /* MESSAGE-1 */ ENSURES(IMPLIES(OLD(w->at) <= a_byte && a_byte < w->at,
                                    x[a_byte - OLD(w->at)] == PAYLOAD(w)[a_byte]))
    /* MESSAGE-1 */ ENSURES(IMPLIES(w->to &&OLD(w->at) <= a_byte && a_byte < w->at,
                                    x[a_byte - OLD(w->at)] == OLD(x[THEIRS(w, n)])));

/* ---------------------------------------------------------------- the types */

/* The chosen byte of the payload, as the message has it before. */
static uint8_t a_value;

#define BEGINS(w, m, n)                                                                            \
  (WRITES(m) && ROOM(w, n) && (w)->at == 0 && a_byte < (n) && byte_of(m) == a_value)
/* Payload and message say the same, and on the way out the message says what it did. */
#define PLACED(w, m) (byte_of(m) == PAYLOAD(w)[a_byte] && IMPLIES((w)->to, byte_of(m) == a_value))
#define JUDGED_FIELDS(w, m) (((w)->wrong != 0) == (OLD((w)->wrong) || !fields_ok(m)))

static void hello_c(walk_t *w, eg_message_t *m)
    REQUIRES(m->type == EG_MSG_HELLO && BEGINS(w, m, 40)) ASSIGNS(w->at, m->as.hello) WRITTEN(w, 40)
    /* MESSAGE-1 */ ENSURES(w->at == 40 && PLACED(w, m));

static void arm_c(walk_t *w, eg_message_t *m) REQUIRES(m->type == EG_MSG_ARM && BEGINS(w, m, 20))
    ASSIGNS(w->at, m->as.arm) WRITTEN(w, 20)
    /* MESSAGE-1 */ ENSURES(w->at == 20 && PLACED(w, m));

static void command_c(walk_t *w, eg_message_t *m)
    REQUIRES(m->type == EG_MSG_COMMAND && BEGINS(w, m, 27)) ASSIGNS(w->at, w->wrong, m->as.command)
        WRITTEN(w, 27)
    /* MESSAGE-1 */ ENSURES(w->at == 27 && PLACED(w, m))
    /* MESSAGE-3 */ ENSURES(JUDGED_FIELDS(w, m));

static void verdict_c(walk_t *w, eg_message_t *m)
    REQUIRES(m->type == EG_MSG_VERDICT && BEGINS(w, m, 22)) ASSIGNS(w->at, w->wrong, m->as.verdict)
        WRITTEN(w, 22)
    /* MESSAGE-1 */ ENSURES(w->at == 22 && PLACED(w, m))
    /* MESSAGE-3 */ ENSURES(JUDGED_FIELDS(w, m));

static void answer_c(walk_t *w, eg_message_t *m)
    REQUIRES(m->type == EG_MSG_ANSWER && BEGINS(w, m, 40)) ASSIGNS(w->at, m->as.answer)
        WRITTEN(w, 40)
    /* MESSAGE-1 */ ENSURES(w->at == 40 && PLACED(w, m));

static void log_head_c(walk_t *w, eg_message_t *m)
    REQUIRES((m->type == EG_MSG_LOG_HEAD || m->type == EG_MSG_LOG_ACK) && BEGINS(w, m, 36))
        ASSIGNS(w->at, m->as.log_head) WRITTEN(w, 36)
    /* MESSAGE-1 */ ENSURES(w->at == 36 && PLACED(w, m));

static void challenge_c(walk_t *w, eg_message_t *m)
    REQUIRES(m->type == EG_MSG_CHALLENGE && BEGINS(w, m, 18))
        ASSIGNS(w->at, w->wrong, m->as.challenge) WRITTEN(w, 18)
    /* MESSAGE-1 */ ENSURES(w->at == 18 && PLACED(w, m))
    /* MESSAGE-3 */ ENSURES(JUDGED_FIELDS(w, m));

static void armed_c(walk_t *w, eg_message_t *m) REQUIRES(m->type == EG_MSG_ARMED && BEGINS(w, m, 9))
    ASSIGNS(w->at, w->wrong, m->as.armed) WRITTEN(w, 9)
    /* MESSAGE-1 */ ENSURES(w->at == 9 && PLACED(w, m))
    /* MESSAGE-3 */ ENSURES(JUDGED_FIELDS(w, m));

static void state_c(walk_t *w, eg_message_t *m)
    REQUIRES(m->type == EG_MSG_STATE && BEGINS(w, m, 30)) ASSIGNS(w->at, w->wrong, m->as.state)
        WRITTEN(w, 30)
    /* MESSAGE-1 */ ENSURES(w->at == 30 && PLACED(w, m))
    /* MESSAGE-3 */ ENSURES(JUDGED_FIELDS(w, m));

static void question_c(walk_t *w, eg_message_t *m)
    REQUIRES(m->type == EG_MSG_QUESTION && BEGINS(w, m, 8)) ASSIGNS(w->at, w->wrong, m->as.question)
        WRITTEN(w, 8)
    /* MESSAGE-1 */ ENSURES(w->at == 8 && PLACED(w, m))
    /* MESSAGE-3 */ ENSURES(JUDGED_FIELDS(w, m));

static void boot_c(walk_t *w, eg_message_t *m) REQUIRES(m->type == EG_MSG_BOOT && BEGINS(w, m, 40))
    ASSIGNS(w->at, w->wrong, m->as.boot) WRITTEN(w, 40)
    /* MESSAGE-1 */ ENSURES(w->at == 40 && PLACED(w, m))
    /* MESSAGE-3 */ ENSURES(JUDGED_FIELDS(w, m));

static void of_host_c(walk_t *w, eg_message_t *m)
    REQUIRES(m->type < EG_MSG_CHALLENGE && a_byte < size_of(m->type) &&
             BEGINS(w, m, EG_PAYLOAD_MAX)) ASSIGNS(w->at, w->wrong, m->as)
        WRITTEN(w, EG_PAYLOAD_MAX)
    /* MESSAGE-1 */ ENSURES(w->at == size_of(m->type) && PLACED(w, m))
    /* MESSAGE-3 */ ENSURES(JUDGED_FIELDS(w, m));

static void of_mcu_c(walk_t *w, eg_message_t *m)
    REQUIRES(m->type >= EG_MSG_CHALLENGE && m->type < EG_MESSAGES && a_byte < size_of(m->type) &&
             BEGINS(w, m, EG_PAYLOAD_MAX)) ASSIGNS(w->at, w->wrong, m->as)
        WRITTEN(w, EG_PAYLOAD_MAX)
    /* MESSAGE-1 */ ENSURES(w->at == size_of(m->type) && PLACED(w, m))
    /* MESSAGE-3 */ ENSURES(JUDGED_FIELDS(w, m));

static void walk_c(walk_t *w, eg_message_t *m)
    REQUIRES(m->type < EG_MESSAGES && a_byte < size_of(m->type) && BEGINS(w, m, EG_PAYLOAD_MAX))
        ASSIGNS(w->at, w->wrong, m->as) WRITTEN(w, EG_PAYLOAD_MAX)
    /* MESSAGE-1 */ ENSURES(w->at == size_of(m->type) && PLACED(w, m))
    /* MESSAGE-3 */ ENSURES(JUDGED_FIELDS(w, m));

/* A walk, which reads or writes anywhere in a payload. */
#define WALK(w)                                                                                    \
  uint8_t payload[EG_PAYLOAD_MAX];                                                                 \
  walk_t w;                                                                                        \
  w.from = NULL, w.to = NULL;                                                                      \
  if (nondet_u8())                                                                                 \
    w.from = payload;                                                                              \
  else                                                                                             \
    w.to = payload

/*! enforce number; unwind 6 */
void prove_number(void) {
  WALK(w);
  uint32_t x = nondet_u32();
  number(&w, &x, nondet_u32());
  REACHED;
}

/*! enforce u8 */
void prove_u8(void) {
  WALK(w);
  uint8_t x = nondet_u8();
  u8(&w, &x, nondet_u32());
  REACHED;
}

/*! enforce u16 */
void prove_u16(void) {
  WALK(w);
  uint16_t x;
  u16(&w, &x);
  REACHED;
}

/*! enforce u32 */
void prove_u32(void) {
  WALK(w);
  uint32_t x = nondet_u32();
  u32(&w, &x);
  REACHED;
}

/*! enforce i32 */
void prove_i32(void) {
  WALK(w);
  int32_t x = nondet_i32();
  i32(&w, &x);
  REACHED;
}

static void some_bytes(uint8_t at, uint32_t n) {
  WALK(w);
  uint8_t x[EG_HASH_BYTES];
  w.at = at;
  bytes(&w, x, n);
}

/* As many as the types have: any number costs far more. */
/*! enforce bytes; unwind 34; seconds 15 */
void prove_bytes(void) {
  free_link_choice();
  switch (nondet_u8()) {
  case 0: some_bytes(nondet_u8(), EG_MAX_CHANNELS); break;
  case 1: some_bytes(nondet_u8(), EG_NONCE_BYTES); break;
  default: some_bytes(nondet_u8(), EG_HASH_BYTES); break;
  }
  REACHED;
}

/* Either way over a message of a type. */
#define ANY(w, m, of)                                                                              \
  free_link_choice();                                                                              \
  a_value = nondet_u8();                                                                           \
  WALK(w);                                                                                         \
  w.at = 0;                                                                                        \
  eg_message_t m;                                                                                  \
  m.type = (of)

/*! enforce hello; replace bytes; unwind 10; object-bits 9 */
void prove_walk_hello(void) {
  ANY(w, m, EG_MSG_HELLO);
  hello(&w, &m);
  REACHED;
}

/*! enforce arm; replace bytes; unwind 10; object-bits 9 */
void prove_walk_arm(void) {
  ANY(w, m, EG_MSG_ARM);
  arm(&w, &m);
  REACHED;
}

/*! enforce command; unwind 10; object-bits 9 */
void prove_walk_command(void) {
  ANY(w, m, EG_MSG_COMMAND);
  command(&w, &m);
  REACHED;
}

/*! enforce verdict; replace bytes; unwind 10; object-bits 9 */
void prove_walk_verdict(void) {
  ANY(w, m, EG_MSG_VERDICT);
  verdict(&w, &m);
  REACHED;
}

/*! enforce answer; unwind 10; object-bits 9 */
void prove_walk_answer(void) {
  ANY(w, m, EG_MSG_ANSWER);
  answer(&w, &m);
  REACHED;
}

/*! enforce log_head; replace bytes; unwind 10; object-bits 9 */
void prove_walk_log_head(void) {
  ANY(w, m, nondet_u8() ? EG_MSG_LOG_HEAD : EG_MSG_LOG_ACK);
  log_head(&w, &m);
  REACHED;
}

/*! enforce challenge; replace bytes; unwind 10; object-bits 9 */
void prove_walk_challenge(void) {
  ANY(w, m, EG_MSG_CHALLENGE);
  challenge(&w, &m);
  REACHED;
}

/*! enforce armed; unwind 10; object-bits 9 */
void prove_walk_armed(void) {
  ANY(w, m, EG_MSG_ARMED);
  armed(&w, &m);
  REACHED;
}

/*! enforce state; unwind 10; object-bits 9 */
void prove_walk_state(void) {
  ANY(w, m, EG_MSG_STATE);
  state(&w, &m);
  REACHED;
}

/*! enforce question; unwind 10; object-bits 9 */
void prove_walk_question(void) {
  ANY(w, m, EG_MSG_QUESTION);
  question(&w, &m);
  REACHED;
}

/*! enforce boot; replace bytes; unwind 10; object-bits 9 */
void prove_walk_boot(void) {
  ANY(w, m, EG_MSG_BOOT);
  boot(&w, &m);
  REACHED;
}

/* Of a type that is known: as a number that is not, it costs far more. */
/*! enforce of_host; replace hello arm command verdict answer log_head; object-bits 9;
 * seconds 6 */
void prove_walk_of_host(void) {
  FOR_ANY(type, EG_MSG_CHALLENGE) {
    ANY(w, m, type);
    of_host(&w, &m);
  }
  REACHED;
}

/*! enforce of_mcu; replace challenge armed state question log_head boot; object-bits 9;
 * seconds 6 */
void prove_walk_of_mcu(void) {
  FOR_ANY(type, EG_MESSAGES) if (type >= EG_MSG_CHALLENGE) {
    ANY(w, m, type);
    of_mcu(&w, &m);
  }
  REACHED;
}

/*! enforce walk; replace of_host of_mcu; object-bits 9; seconds 8 */
void prove_walk(void) {
  ANY(w, m, nondet_u8());
  walk(&w, &m);
  REACHED;
}
