/* SPDX-License-Identifier: Apache-2.0 */
/* What link.c promises. */
#ifndef EDGEGUARD_LINK_CONTRACTS_LINK_H
#define EDGEGUARD_LINK_CONTRACTS_LINK_H

#include "link_contracts.h"

#define CREDIT_OK(l, t) ((l)->credit[t] <= 8)
#define ALL_CREDIT(l)                                                                              \
  (CREDIT_OK(l, 0) && CREDIT_OK(l, 1) && CREDIT_OK(l, 2) && CREDIT_OK(l, 3) && CREDIT_OK(l, 4) &&  \
   CREDIT_OK(l, 5) && CREDIT_OK(l, 6) && CREDIT_OK(l, 7) && CREDIT_OK(l, 8) && CREDIT_OK(l, 9) &&  \
   CREDIT_OK(l, 10) && CREDIT_OK(l, 11))

/* The type that must come every period. */
#define EXPECTED(l) ((l)->config.mcu ? EG_MSG_COMMAND : EG_MSG_STATE)

/* What eg_link_init makes and every function of a link keeps. */
static bool link_ok(const eg_link_t *l) {
  return clock_ok(&l->clock) && MACHINE_OK(&l->machine) && ALL_CREDIT(l) &&
         l->holds <= sizeof l->held && l->worst <= EG_E2E_RESULTS &&
         l->ahead + l->credit[EXPECTED(l)] <= 9;
}

static bool of_no_session(uint8_t type) {
  return type == EG_MSG_HELLO || type == EG_MSG_ARM || type == EG_MSG_CHALLENGE ||
         type == EG_MSG_ARMED || type == EG_MSG_BOOT;
}

static uint64_t eight(const uint8_t *b) {
  return (uint64_t)b[0] | (uint64_t)b[1] << 8 | (uint64_t)b[2] << 16 | (uint64_t)b[3] << 24 |
         (uint64_t)b[4] << 32 | (uint64_t)b[5] << 40 | (uint64_t)b[6] << 48 | (uint64_t)b[7] << 56;
}

/* Whose counter has rounds. */
#define ROUNDS(l, type) ((l)->in_session && !of_no_session(type))

/* The tag, as some function of key, session, round and where the frame's bytes stand. */
uint64_t __CPROVER_uninterpreted_tag(const uint8_t *key, uint64_t host, uint64_t mcu,
                                     uint16_t round, const uint8_t *frame, uint32_t n);

static bool tag_ok(const eg_link_t *l, uint8_t type, uint16_t round, const uint8_t *frame,
                   uint16_t n) {
  bool none = of_no_session(type);
  return eight(frame + n) ==
         __CPROVER_uninterpreted_tag(l->config.key, none ? 0 : eight(l->session),
                                     none ? 0 : eight(l->session + EG_NONCE_BYTES),
                                     ROUNDS(l, type) ? round : 0, frame, n);
}

/* How far a counter is from that of the last frame: -0x8000 to 0x7FFF. */
#define AHEAD(last, counter) ((int32_t)(((counter) - (last) + 0x8000) & 0xFFFF) - 0x8000)
/* Counter and round as one number: that of a frame, from those of the last one. */
#define WHOLE(round, counter) ((uint32_t)(round) << 16 | (counter))
#define WHOLE_OF(started, round, last, counter)                                                    \
  (WHOLE(round, last) +                                                                            \
   ((started) ? (uint32_t)AHEAD(last, counter) : (uint32_t)(uint16_t)((counter) - (last))))
#define ROUND_OF(l, type, now)                                                                     \
  (uint16_t)(WHOLE_OF((l)->receiver[type].started, (l)->heard_round[type],                         \
                      (l)->receiver[type].counter, now) >>                                         \
             16)
#define BEHIND(started, last, counter) ((started) && AHEAD(last, counter) < 0)

#define FOLD(l, i) ((l)->session[i] ^ (l)->session[15 - (i)])

static bool word_ok(const eg_link_t *l, uint8_t type, const uint8_t *word) {
  if (of_no_session(type)) return (word[0] | word[1] | word[2] | word[3]) == 0;
  return word[0] == FOLD(l, 0) && word[1] == FOLD(l, 1) && word[2] == FOLD(l, 2) &&
         word[3] == FOLD(l, 3);
}

static bool session_ok(const eg_link_t *l, uint8_t type, const uint8_t *frame) {
  const uint8_t *word = frame + EG_E2E_HEADER;
  return (l->in_session || of_no_session(type) || type == EG_MSG_STATE) && word_ok(l, type, word);
}

/* Length and CRC. */
static bool crc_ok(const uint8_t *frame, uint16_t length) {
  return length >= EG_FRAME_HEAD && length <= EG_FRAME_MAX && BE16(frame) >= EG_FRAME_HEAD &&
         BE16(frame) <= length && BE32(frame + 8) == FRAME_CRC(frame, BE16(frame));
}

static bool sender_ok(const eg_link_t *l, uint8_t type) {
  return l->config.mcu ? type <= EG_MSG_LOG_HEAD : type >= EG_MSG_CHALLENGE && type < EG_MESSAGES;
}

static bool young(const eg_link_t *l, uint32_t now_us, uint32_t stamp_us) {
  int64_t age_us = CLOCK_AGE(&l->clock, now_us, stamp_us);
  return l->clock.known && age_us >= -(int64_t)l->clock.error_us &&
         (age_us <= l->config.max_age_us || age_us <= 2u * l->clock.error_us);
}

/* Of the counts, one more than before; and as before. */
#define NOW(of) (l->counts.of == OLD(l->counts.of) + 1u)
#define KEPT(of) (l->counts.of == OLD(l->counts.of))
#define ONE_MORE(of) (NOW(of) || KEPT(of))
#define CLOCK_STATE(l) (l)->clock.offset_us, (l)->clock.uncounted_us, (l)->clock.back_us
#define RECEIVING                                                                                  \
  l->counts, l->window, l->worst, l->ahead, l->refused, l->quiet_us, l->credit, l->receiver,       \
      l->heard_round, CLOCK_STATE(l)
#define DELTA_OF(t, new) DELTA(OLD(l->receiver[t].started), OLD(l->receiver[t].counter), new)
#define FOLLOWS(t, new) (DELTA_OF(t, new) >= 1 && DELTA_OF(t, new) <= 3)
#define END_OF(frame) (BE16(frame) + (l->config.authenticated ? EG_TAG_BYTES : 0u))
#define IS(t) (RET && m->type == (t))
#define BEFORE_SEQUENCE (NOW(corrupted) || NOW(masked) || NOW(forged) || NOW(unarmed))

bool eg_link_accept(eg_link_t *l, const uint8_t *frame, uint16_t length, uint32_t now_us,
                    eg_message_t *m) REQUIRES(WRITES(l) && WRITES(m))
    REQUIRES(length > EG_FRAME_MAX || __CPROVER_r_ok(frame, length))
        REQUIRES(link_ok(l) && a_type < EG_MESSAGES) ASSIGNS(*m, RECEIVING) ENSURES(link_ok(l))
    /* LINK-1 */ ENSURES(IMPLIES(RET, crc_ok(frame, length) && sender_ok(l, m->type) &&
                                          m->type == type_of(BE32(frame + 4)) &&
                                          BE16(frame) == EG_FRAME_HEAD + size_of(m->type) &&
                                          fields_ok(m)))
    /* LINK-2 */ ENSURES(IMPLIES(RET, session_ok(l, m->type, frame)))
    /* LINK-3 */ ENSURES(IMPLIES(RET && l->config.authenticated,
                                 BE16(frame) + EG_TAG_BYTES <= length &&
                                     tag_ok(l, m->type, l->heard_round[m->type], frame,
                                            BE16(frame))))
    /* LINK-3 */ ENSURES(IMPLIES(RET &&a_byte < length - END_OF(frame),
                                 frame[END_OF(frame) + a_byte] == 0))
    /* LINK-4 */ ENSURES(IMPLIES(IS(a_type), FOLLOWS(a_type, BE16(frame + 2))))
    /* LINK-14 */ ENSURES(
        IMPLIES(IS(a_type) && ROUNDS(l, a_type) && OLD(l->receiver[a_type].started),
                WHOLE(l->heard_round[a_type], l->receiver[a_type].counter) -
                        WHOLE(OLD(l->heard_round[a_type]), OLD(l->receiver[a_type].counter)) - 1u <
                    3))
    /* LINK-14 */ ENSURES(IMPLIES(!RET && ROUNDS(l, a_type) && OLD(l->receiver[a_type].started),
                                  WHOLE(l->heard_round[a_type], l->receiver[a_type].counter) -
                                          WHOLE(OLD(l->heard_round[a_type]),
                                                OLD(l->receiver[a_type].counter)) <
                                      0x8000))
    /* LINK-5 */ ENSURES(IMPLIES(IS(EG_MSG_COMMAND), young(l, now_us, m->as.command.stamp_us)))
    /* LINK-6 */ ENSURES(IMPLIES(IS(a_type), OLD(l->credit[a_type]) != 0 &&
                                                 l->credit[a_type] == OLD(l->credit[a_type]) - 1))
    /* LINK-7 */ ENSURES(RET == NOW(accepted))
    /* LINK-7 */ ENSURES(NOW(accepted) + NOW(repeated) + NOW(reordered) + NOW(corrupted) +
                             NOW(masked) + NOW(forged) + NOW(malformed) + NOW(stale) + NOW(future) +
                             NOW(excess) + NOW(unarmed) ==
                         1)
    /* LINK-7 */ ENSURES(ONE_MORE(accepted) && ONE_MORE(repeated) && ONE_MORE(reordered) &&
                         ONE_MORE(corrupted) && ONE_MORE(masked) && ONE_MORE(forged) &&
                         ONE_MORE(malformed) && ONE_MORE(stale) && ONE_MORE(future) &&
                         ONE_MORE(excess) && ONE_MORE(unarmed))
    /* LINK-8 */ ENSURES(IMPLIES(!RET, l->quiet_us == OLD(l->quiet_us) &&
                                           l->credit[a_type] == OLD(l->credit[a_type])))
    /* LINK-8 */ ENSURES(IMPLIES(BEFORE_SEQUENCE,
                                 l->receiver[a_type].counter == OLD(l->receiver[a_type].counter) &&
                                     l->receiver[a_type].started ==
                                         OLD(l->receiver[a_type].started) &&
                                     l->heard_round[a_type] == OLD(l->heard_round[a_type]) &&
                                     l->clock.offset_us == OLD(l->clock.offset_us) &&
                                     l->clock.uncounted_us == OLD(l->clock.uncounted_us) &&
                                     l->clock.back_us == OLD(l->clock.back_us)))
    /* LINK-8 */ ENSURES(IMPLIES(!IS(EXPECTED(l)), l->quiet_us == OLD(l->quiet_us)))
        ENSURES(IMPLIES(IS(EXPECTED(l)), l->quiet_us == 0 && (l->window & 1u) == 0))
    /* LINK-9 */ ENSURES(IMPLIES(!RET && length >= EG_FRAME_HEAD && length <= EG_FRAME_MAX &&
                                     type_of(BE32(frame + 4)) == EXPECTED(l),
                                 (l->window & 1u) == 1));

#define SESSION_ASSIGNS                                                                            \
  l->counter, l->sent_round, l->receiver, l->heard_round, l->credit, l->machine, l->quiet_us,      \
      l->window, l->worst, l->ahead
/* Of any type. */
#define ANEW                                                                                       \
  (l->counter[a_type] == 0 && l->sent_round[a_type] == 0 && l->heard_round[a_type] == 0 &&         \
   l->receiver[a_type].started == 0 && l->credit[a_type] == 8 &&                                   \
   l->machine.state == EG_E2E_NODATA && l->quiet_us == 0 && l->window == 0 && l->worst == 0 &&     \
   l->ahead == 0)

void eg_link_init(eg_link_t *l, const eg_link_config_t *config)
    REQUIRES(WRITES(l) && READS(config) && a_type < EG_MESSAGES && a_byte < EG_SESSION_BYTES)
        ASSIGNS(*l) ENSURES(link_ok(l))
    /* LINK-10 */ ENSURES(!l->in_session && !l->clock.known && l->session[a_byte] == 0 && ANEW &&
                          l->holds == 0)
    /* LINK-3 */ ENSURES(l->config.authenticated == config->authenticated);

void eg_link_open(eg_link_t *l, const uint8_t host_nonce[EG_NONCE_BYTES],
                  const uint8_t mcu_nonce[EG_NONCE_BYTES])
    REQUIRES(WRITES(l) && a_type < EG_MESSAGES && a_byte < EG_NONCE_BYTES)
        REQUIRES(link_ok(l) && __CPROVER_r_ok(host_nonce, 8) && __CPROVER_r_ok(mcu_nonce, 8))
            ASSIGNS(l->session, l->in_session, SESSION_ASSIGNS) ENSURES(link_ok(l))
    /* LINK-10 */ ENSURES(l->in_session && ANEW && l->session[a_byte] == host_nonce[a_byte] &&
                          l->session[8 + a_byte] == mcu_nonce[a_byte]);

void eg_link_close(eg_link_t *l)
    REQUIRES(WRITES(l) && a_type < EG_MESSAGES && a_byte < EG_SESSION_BYTES) REQUIRES(link_ok(l))
        ASSIGNS(l->session, l->in_session, l->clock.known, SESSION_ASSIGNS) ENSURES(link_ok(l))
    /* LINK-10 */ ENSURES(!l->in_session && !l->clock.known && l->session[a_byte] == 0 && ANEW);

#define SENT_SIZE(m) (EG_FRAME_HEAD + size_of((m)->type))

uint16_t eg_link_frame(eg_link_t *l, const eg_message_t *m, uint8_t frame[EG_FRAME_MAX])
    REQUIRES(WRITES(l) && READS(m) &&
             a_type < EG_MESSAGES) REQUIRES(link_ok(l) && __CPROVER_rw_ok(frame, EG_FRAME_MAX))
        ASSIGNS(l->counter, l->sent_round, l->receiver, __CPROVER_object_upto(frame, EG_FRAME_MAX))
            ENSURES(link_ok(l) && RET <= EG_FRAME_MAX)
    /* LINK-11 */ ENSURES(RET == (m->type >= EG_MESSAGES    ? 0
                                  : l->config.authenticated ? SENT_SIZE(m) + EG_TAG_BYTES
                                                            : SENT_SIZE(m)))
    /* LINK-11 */ ENSURES(IMPLIES(RET, HEADER_OK(frame, SENT_SIZE(m), id_of(m->type)) &&
                                           BE32(frame + 8) == FRAME_CRC(frame, SENT_SIZE(m)) &&
                                           word_ok(l, m->type, frame + EG_E2E_HEADER)))
    /* LINK-11 */ ENSURES(IMPLIES(RET && l->config.authenticated,
                                  tag_ok(l, m->type, OLD(l->sent_round[m->type % EG_MESSAGES]),
                                         frame, (uint16_t)SENT_SIZE(m))))
    /* LINK-11 */ ENSURES(
        IMPLIES(RET && m->type == a_type,
                BE16(frame + 2) == OLD(l->counter[a_type]) &&
                    WHOLE(l->sent_round[a_type], l->counter[a_type]) ==
                        WHOLE(OLD(l->sent_round[a_type]), OLD(l->counter[a_type])) + 1u));

uint16_t eg_link_wire(eg_link_t *l, const eg_message_t *m, uint8_t wire[EG_WIRE_MAX])
    REQUIRES(WRITES(l) && READS(m) &&
             a_type < EG_MESSAGES) REQUIRES(link_ok(l) && __CPROVER_rw_ok(wire, EG_WIRE_MAX))
        ASSIGNS(l->counter, l->sent_round, l->receiver, __CPROVER_object_upto(wire, EG_WIRE_MAX))
            ENSURES(link_ok(l) && RET <= EG_WIRE_MAX)
    /* LINK-11 */ ENSURES(IMPLIES(RET, wire[0] == 0 && wire[RET - 1u] == 0))
    /* LINK-11 */ ENSURES(IMPLIES(RET &&a_byte < RET - 2u, wire[1u + a_byte] != 0));

bool eg_link_byte(eg_link_t *l, uint8_t byte, uint32_t now_us, eg_message_t *m)
    REQUIRES(WRITES(l) && WRITES(m) && a_type < EG_MESSAGES) REQUIRES(link_ok(l))
        ASSIGNS(*m, RECEIVING, l->held, l->holds) ENSURES(link_ok(l))
    /* LINK-12 */ ENSURES(l->holds == (byte == 0            ? 0
                                       : OLD(l->holds) < 66 ? OLD(l->holds) + 1
                                                            : 66))
    /* LINK-12 */ ENSURES(IMPLIES(byte != 0 || OLD(l->holds) == 0,
                                  !RET && KEPT(accepted) && l->quiet_us == OLD(l->quiet_us)))
    /* LINK-12 */ ENSURES(RET == NOW(accepted))
    /* LINK-6 */ ENSURES(IMPLIES(IS(a_type), OLD(l->credit[a_type]) != 0));

#define BAD(x, i) (((x) >> (i)) & 1u)
#define BAD4(x, i) (BAD(x, i) + BAD(x, i + 1) + BAD(x, i + 2) + BAD(x, i + 3))
#define BAD16(x, i) (BAD4(x, i) + BAD4(x, i + 4) + BAD4(x, i + 8) + BAD4(x, i + 12))

static uint32_t bad_ones(uint32_t window) {
  return BAD16(window, 0) + BAD16(window, 16);
}

void eg_link_pass(eg_link_t *l, uint32_t elapsed_us) REQUIRES(WRITES(l)) REQUIRES(link_ok(l))
    ASSIGNS(l->clock.uncounted_us, l->quiet_us) ENSURES(link_ok(l))
    /* LINK-13 */ ENSURES(l->quiet_us == AGED(OLD(l->quiet_us), elapsed_us));

uint32_t eg_link_tick(eg_link_t *l) REQUIRES(WRITES(l) && a_type < EG_MESSAGES) REQUIRES(link_ok(l))
    ASSIGNS(l->credit, l->machine, l->worst, l->ahead) ENSURES(link_ok(l))
    /* LINK-6 */ ENSURES(l->credit[a_type] == MIN(OLD(l->credit[a_type]) + 2, 8))
    /* LINK-13 */ ENSURES(IMPLIES(l->config.mcu && !l->in_session, RET == 0))
    /* LINK-13 */ ENSURES(IMPLIES(!l->config.mcu || l->in_session,
                                  HAS(RET, EG_LINK_LOST) == (l->quiet_us >= 36000)))
    /* LINK-13 */ ENSURES(IMPLIES(!l->config.mcu || l->in_session,
                                  HAS(RET, EG_LINK_FAULTY) == (bad_ones(l->window) > 6 ||
                                                               l->machine.state == EG_E2E_INVALID)))
    /* LINK-13 */ ENSURES((RET & ~(EG_BIT(EG_LINK_LOST) | EG_BIT(EG_LINK_FAULTY))) == 0);

#endif
