/* SPDX-License-Identifier: Apache-2.0 */
/* The smallest parts of sending, receiving and counting. */
#define OPAQUE_TYPES
#include "link_uninterpreted_tag.h"

#include "link.c"

static bool among_c(uint32_t types, uint8_t type) REQUIRES(type < 32) ASSIGNS()
    ENSURES(RET == ((types >> type & 1u) == 1u));

/* ------------------------------------------------------------------ session */

#define ZERO_SESSION(s) (eight(s) == 0 && eight((s) + EG_NONCE_BYTES) == 0)

static const uint8_t *session_of_c(const eg_link_t *l, uint8_t type)
    REQUIRES(READS(l) && type < EG_MESSAGES) ASSIGNS()
    /* LINK-2 */ ENSURES(of_no_session(type) ? ZERO_SESSION(RET) : RET == l->session);

#define FOLDED_AT(i) (word[i] == (session[i] ^ session[15 - (i)]))

static void fold_c(const uint8_t session[EG_SESSION_BYTES], uint8_t word[EG_SESSION_WORD])
    REQUIRES(__CPROVER_r_ok(session, EG_SESSION_BYTES) && __CPROVER_rw_ok(word, EG_SESSION_WORD))
        REQUIRES(!__CPROVER_same_object(session, word))
            ASSIGNS(__CPROVER_object_upto(word, EG_SESSION_WORD))
    /* LINK-2 */ ENSURES(ALL4(FOLDED_AT));

#define OF_SESSION(type, bytes) (of_no_session(type) ? 0 : eight(bytes))

static bool of_rounds_c(const eg_link_t *l, uint8_t type) REQUIRES(READS(l) && type < EG_MESSAGES)
    ASSIGNS()
    /* LINK-14 */ ENSURES(RET == ROUNDS(l, type));

static void count_sent_c(eg_link_t *l, uint8_t type) REQUIRES(WRITES(l) && type < EG_MESSAGES)
    ASSIGNS(l->counter[type], l->sent_round[type])
    /* LINK-14 */ ENSURES(WHOLE(l->sent_round[type], l->counter[type]) ==
                          WHOLE(OLD(l->sent_round[type]), OLD(l->counter[type])) + 1u);

static bool behind_c(const eg_e2e_receiver_t *r, uint16_t counter) REQUIRES(READS(r)) ASSIGNS()
    /* LINK-14 */ ENSURES(RET == BEHIND(r->started, r->counter, counter));

static uint16_t round_of_c(const eg_link_t *l, uint8_t type, uint16_t counter)
    REQUIRES(READS(l) && type < EG_MESSAGES) ASSIGNS()
    /* LINK-14 */ ENSURES(RET == ROUND_OF(l, type, counter));

static void make_tag_c(const eg_link_t *l, uint8_t type, uint16_t round, const uint8_t *frame,
                       uint16_t n, uint8_t tag[EG_TAG_BYTES])
    REQUIRES(READS(l) && type < EG_MESSAGES)
        REQUIRES(__CPROVER_r_ok(frame, n) && __CPROVER_rw_ok(tag, EG_TAG_BYTES))
            ASSIGNS(__CPROVER_object_upto(tag, EG_TAG_BYTES))
    /* LINK-3 */ ENSURES(eight(tag) ==
                         __CPROVER_uninterpreted_tag(l->config.key, OF_SESSION(type, l->session),
                                                     OF_SESSION(type, l->session + EG_NONCE_BYTES),
                                                     round, frame, n));

/* Of any type: a handshake lets its answers begin anew, and nobody else. */
static void await_c(eg_link_t *l,
                    uint8_t type) REQUIRES(WRITES(l) && type < EG_MESSAGES && a_type < EG_MESSAGES)
    ASSIGNS(l->receiver[EG_MSG_CHALLENGE].started, l->receiver[EG_MSG_ARMED].started,
            l->receiver[EG_MSG_ARM].started)
        ENSURES(l->receiver[a_type].started ==
                ((type == EG_MSG_HELLO && (a_type == EG_MSG_CHALLENGE || a_type == EG_MSG_ARMED)) ||
                         (type == EG_MSG_CHALLENGE && a_type == EG_MSG_ARM)
                     ? 0
                     : OLD(l->receiver[a_type].started)));

/* ----------------------------------------------------------------- counting */

static bool expected_c(const eg_link_t *l, uint8_t type) REQUIRES(READS(l)) ASSIGNS()
    /* LINK-9 */ ENSURES(RET == (type == EXPECTED(l)));

/* The newest bit is the lowest, 1 a bad one; the worst since the tick is kept. */
#define NOTED(result)                                                                              \
  (l->window == ((OLD(l->window) << 1) | 1u) &&                                                    \
   l->worst == (OLD(l->worst) > (result) ? OLD(l->worst) : (result) + 1u))
#define NOT_NOTED (l->window == OLD(l->window) && l->worst == OLD(l->worst))

static void note_c(eg_link_t *l, eg_e2e_result_t result)
    REQUIRES(WRITES(l) && (uint32_t)result < EG_E2E_RESULTS) ASSIGNS(l->window, l->worst)
    /* LINK-9 */ ENSURES(NOTED((uint32_t)result));

#define REFUSAL(l, count)                                                                          \
  ((count) == &(l)->counts.repeated || (count) == &(l)->counts.reordered ||                        \
   (count) == &(l)->counts.corrupted || (count) == &(l)->counts.masked ||                          \
   (count) == &(l)->counts.forged || (count) == &(l)->counts.malformed ||                          \
   (count) == &(l)->counts.stale || (count) == &(l)->counts.future ||                              \
   (count) == &(l)->counts.unarmed)

static bool refuse_c(eg_link_t *l, uint8_t type, uint32_t *count, eg_e2e_result_t result)
    REQUIRES(WRITES(l) && REFUSAL(l, count) && (uint32_t)result < EG_E2E_RESULTS)
        ASSIGNS(*count, l->window, l->worst)
    /* LINK-7 */ ENSURES(!RET && *count == OLD(*count) + 1u)
    /* LINK-9 */ ENSURES(type == EXPECTED(l) ? NOTED((uint32_t)result) : NOT_NOTED);

static bool refuse_early_c(eg_link_t *l, uint8_t type, uint32_t *count, eg_e2e_result_t result)
    REQUIRES(WRITES(l) && REFUSAL(l, count) && (uint32_t)result < EG_E2E_RESULTS)
        ASSIGNS(*count, l->window, l->worst, l->refused)
    /* LINK-7 */ ENSURES(!RET && *count == OLD(*count) + 1u)
    /* LINK-9 */ ENSURES(type == EXPECTED(l) ? NOTED((uint32_t)result) : NOT_NOTED)
    /* LINK-9 */ ENSURES(l->refused == OLD(l->refused) + (type == EXPECTED(l) ? 1u : 0u));

/* Bad ones that were counted when they were refused are not counted again. */
#define UNCOUNTED(lost) (OLD(l->refused) < (lost) ? (lost) - OLD(l->refused) : 0u)

static void miss_c(eg_link_t *l, uint8_t type, uint32_t lost)
    REQUIRES(WRITES(l) && lost < EG_E2E_MAX_DELTA)
        ASSIGNS(l->counts.lost, l->window, l->worst, l->refused)
            ENSURES(l->counts.lost == OLD(l->counts.lost) + lost)
    /* LINK-9 */ ENSURES(IMPLIES(type == EXPECTED(l),
                                 l->refused == 0 &&
                                     l->window == ((OLD(l->window) << UNCOUNTED(lost)) |
                                                   ((1u << UNCOUNTED(lost)) - 1u))))
        ENSURES(IMPLIES(type == EXPECTED(l),
                        l->worst == (UNCOUNTED(lost) == 0 || OLD(l->worst) > EG_E2E_OKSOMELOST
                                         ? OLD(l->worst)
                                         : EG_E2E_OKSOMELOST + 1)))
            ENSURES(IMPLIES(type != EXPECTED(l), NOT_NOTED && l->refused == OLD(l->refused)));

static bool welcome_c(eg_link_t *l, uint8_t type)
    REQUIRES(WRITES(l) && type < EG_MESSAGES && l->credit[type] != 0)
        ASSIGNS(l->counts.accepted, l->credit[type], l->window, l->ahead, l->quiet_us)
    /* LINK-7 */ ENSURES(RET &&NOW(accepted))
    /* LINK-6 */ ENSURES(l->credit[type] == OLD(l->credit[type]) - 1)
    /* LINK-9 */ ENSURES(IMPLIES(type == EXPECTED(l), l->window == OLD(l->window) << 1 &&
                                                          l->quiet_us == 0 &&
                                                          l->ahead == (uint8_t)(OLD(l->ahead) + 1)))
        ENSURES(IMPLIES(type != EXPECTED(l), l->window == OLD(l->window) &&
                                                 l->quiet_us == OLD(l->quiet_us) &&
                                                 l->ahead == OLD(l->ahead)));

/* ------------------------------------------------------------------ receive */

static bool from_other_end_c(const eg_link_t *l, uint8_t type)
    REQUIRES(READS(l) && type <= EG_MESSAGES) ASSIGNS()
    /* LINK-1 */ ENSURES(RET == sender_ok(l, type));

static uint32_t *untimely_c(eg_link_t *l, const eg_message_t *m, uint32_t now_us)
    REQUIRES(WRITES(l) && READS(m)) REQUIRES(clock_ok(&l->clock)) ASSIGNS(CLOCK_STATE(l))
        ENSURES(clock_ok(&l->clock))
    /* LINK-5 */ ENSURES((RET == NULL) ==
                         (m->type != EG_MSG_COMMAND || young(l, now_us, m->as.command.stamp_us)))
    /* LINK-5 */ ENSURES(IMPLIES(RET != NULL,
                                 RET == (l->clock.known && CLOCK_AGE(&l->clock, now_us,
                                                                     m->as.command.stamp_us) >=
                                                               -(int64_t)l->clock.error_us
                                             ? &l->counts.stale
                                             : &l->counts.future)));

#define IN_FRAME(frame) __CPROVER_r_ok(frame, EG_FRAME_HEAD)

static uint32_t *stranger_c(eg_link_t *l, uint8_t type, const uint8_t *frame)
    REQUIRES(WRITES(l) && type <= EG_MESSAGES && IN_FRAME(frame)) ASSIGNS()
    /* LINK-1, LINK-2 */ ENSURES((RET == NULL) ==
                                 (sender_ok(l, type) && session_ok(l, type, frame)))
        ENSURES(IMPLIES(RET != NULL, RET == (sender_ok(l, type) && !l->in_session &&
                                                     !of_no_session(type) && type != EG_MSG_STATE
                                                 ? &l->counts.unarmed
                                                 : &l->counts.masked)));

static bool nothing_behind(const uint8_t *frame, uint16_t from, uint16_t length) {
  for (uint16_t i = from; i < length; i++)
    if (frame[i] != 0) return false;
  return true;
}

#define TAG_RIGHT(l, type, frame, length)                                                          \
  (BE16(frame) + EG_TAG_BYTES <= (length) &&                                                       \
   tag_ok(l, type, ROUND_OF(l, type, BE16(frame + 2)), frame, BE16(frame)))

static uint32_t *untrue_c(eg_link_t *l, uint8_t type, const uint8_t *frame, uint16_t length)
    REQUIRES(WRITES(l) && type < EG_MESSAGES && length >= EG_FRAME_HEAD && length <= EG_FRAME_MAX)
        REQUIRES(__CPROVER_r_ok(frame, length) && BE16(frame) >= EG_FRAME_HEAD &&
                 BE16(frame) <= length) ASSIGNS()
    /* LINK-3 */ ENSURES((RET == &l->counts.forged) ==
                         (l->config.authenticated && !TAG_RIGHT(l, type, frame, length)))
    /* LINK-3 */ ENSURES(IMPLIES(RET != &l->counts.forged,
                                 RET == (nothing_behind(frame, (uint16_t)END_OF(frame), length)
                                             ? NULL
                                             : &l->counts.corrupted)));

/*! enforce among */
void prove_among(void) {
  among(nondet_u32(), nondet_u8());
  REACHED;
}

/*! enforce session_of */
void prove_session_of(void) {
  eg_link_t l;
  session_of(&l, nondet_u8());
  REACHED;
}

/*! enforce fold; unwind 6 */
void prove_fold(void) {
  uint8_t session[EG_SESSION_BYTES], word[EG_SESSION_WORD];
  fold(session, word);
  REACHED;
}

/* A frame of any length. */
#define FRAME(frame, length)                                                                       \
  uint16_t length;                                                                                 \
  uint8_t *frame = malloc(length);                                                                 \
  ASSUME(frame != NULL)

/*! enforce make_tag; unwind 10 */
void prove_make_tag(void) {
  eg_link_t l;
  FRAME(frame, length);
  uint8_t tag[EG_TAG_BYTES];
  make_tag(&l, nondet_u8(), (uint16_t)nondet_u32(), frame, length, tag);
  REACHED;
}

/*! enforce of_rounds; replace among */
void prove_of_rounds(void) {
  eg_link_t l;
  of_rounds(&l, nondet_u8());
  REACHED;
}

/*! enforce count_sent */
void prove_count_sent(void) {
  eg_link_t l;
  count_sent(&l, nondet_u8());
  REACHED;
}

/*! enforce behind */
void prove_behind(void) {
  eg_e2e_receiver_t r;
  behind(&r, (uint16_t)nondet_u32());
  REACHED;
}

/*! enforce round_of; replace behind */
void prove_round_of(void) {
  eg_link_t l;
  round_of(&l, nondet_u8(), (uint16_t)nondet_u32());
  REACHED;
}

/*! enforce await */
void prove_await(void) {
  eg_link_t l;
  free_link_choice();
  await(&l, nondet_u8());
  REACHED;
}

/*! enforce expected */
void prove_expected(void) {
  eg_link_t l;
  expected(&l, nondet_u8());
  REACHED;
}

/*! enforce note */
void prove_note(void) {
  eg_link_t l;
  note(&l, (eg_e2e_result_t)nondet_u8());
  REACHED;
}

/* Any of the counts that a refusal has. */
static uint32_t *any_count(eg_link_t *l) {
  switch (nondet_u8()) {
  case 0: return &l->counts.repeated;
  case 1: return &l->counts.reordered;
  case 2: return &l->counts.corrupted;
  case 3: return &l->counts.masked;
  case 4: return &l->counts.forged;
  case 5: return &l->counts.malformed;
  case 6: return &l->counts.stale;
  case 7: return &l->counts.future;
  default: return &l->counts.unarmed;
  }
}

/*! enforce refuse; replace expected note */
void prove_refuse(void) {
  eg_link_t l;
  refuse(&l, nondet_u8(), any_count(&l), (eg_e2e_result_t)nondet_u8());
  REACHED;
}

/*! enforce refuse_early; replace expected refuse */
void prove_refuse_early(void) {
  eg_link_t l;
  refuse_early(&l, nondet_u8(), any_count(&l), (eg_e2e_result_t)nondet_u8());
  REACHED;
}

/*! enforce miss; replace expected note; unwind 4 */
void prove_miss(void) {
  eg_link_t l;
  miss(&l, nondet_u8(), nondet_u32());
  REACHED;
}

/*! enforce welcome; replace expected */
void prove_welcome(void) {
  eg_link_t l;
  welcome(&l, nondet_u8());
  REACHED;
}

/*! enforce from_other_end; replace among */
void prove_from_other_end(void) {
  eg_link_t l;
  from_other_end(&l, nondet_u8());
  REACHED;
}

/*! enforce untimely; replace eg_clock_age */
void prove_untimely(void) {
  eg_link_t l;
  eg_message_t m;
  untimely(&l, &m, nondet_u32());
  REACHED;
}

/*! enforce stranger; replace from_other_end among */
void prove_stranger(void) {
  eg_link_t l;
  FRAME(frame, length);
  stranger(&l, nondet_u8(), frame);
  REACHED;
}

/* The frame ends where its room ends. */
/*! enforce untrue; replace eg_get16 eg_tag_equal; unwind 50; fields 4; seconds 17 */
void prove_untrue(void) {
  eg_link_t l;
  uint8_t room[EG_FRAME_MAX];
  uint16_t length;
  ASSUME(length <= EG_FRAME_MAX);
  untrue(&l, nondet_u8(), room + (EG_FRAME_MAX - length), length);
  REACHED;
}
