/* SPDX-License-Identifier: Apache-2.0 */
/* What the link's functions promise to each other, as contracts.h says it of the core's. */
#ifndef EDGEGUARD_LINK_CONTRACTS_H
#define EDGEGUARD_LINK_CONTRACTS_H

#include "edgeguard/link.h"
#include "edgeguard/watchdog.h"
#include "contracts_flow.h"

/* Any one of each, so all of them: chosen before a proof begins. */
static uint8_t a_type;
static uint16_t a_byte;

static void free_link_choice(void) {
  a_type = nondet_u8();
  a_byte = (uint16_t)(nondet_u32() & UINT16_MAX);
}

/* ------------------------------------------------------------------ clock.c */

#define CLOCK_ERROR_MAX_US (EG_ROUND_TRIP_MAX_US / 2u)
#define CLOCK_DRIFT_EVERY_US (1000000u / EG_CLOCK_DRIFT_PPM)
#define CLOCK_UNCOUNTED_MAX_US (EG_CLOCK_EARNED_MAX_US * CLOCK_DRIFT_EVERY_US)

/* What eg_link_init makes (all zero) and every function of a clock keeps. */
static bool clock_ok(const eg_clock_t *c) {
  return c->error_us <= CLOCK_ERROR_MAX_US && c->back_us <= EG_CLOCK_EARNED_MAX_US &&
         c->uncounted_us <= CLOCK_UNCOUNTED_MAX_US;
}

/* How far behind the frame's stamp `now` is, by the offset; negative: the stamp lies ahead. */
#define SIGNED(x) ((int64_t)(x) - ((x) > INT32_MAX ? INT64_C(4294967296) : 0))
#define CLOCK_AGE(c, now, stamp) SIGNED((uint32_t)((now) - (stamp) - (c)->offset_us))

bool eg_clock_measure(eg_clock_t *c, uint32_t sent_us, uint32_t got_us, uint32_t their_stamp_us)
    REQUIRES(WRITES(c)) REQUIRES(clock_ok(c)) ASSIGNS(*c) ENSURES(clock_ok(c))
    /* CLOCK-2 */ ENSURES(RET == (got_us - sent_us <= EG_ROUND_TRIP_MAX_US))
    /* CLOCK-2 */ ENSURES(IMPLIES(!RET, c->offset_us == OLD(c->offset_us) &&
                                            c->error_us == OLD(c->error_us) &&
                                            c->known == OLD(c->known)))
    /* CLOCK-1 */ ENSURES(IMPLIES(RET, c->known && c->error_us <= CLOCK_ERROR_MAX_US &&
                                           c->uncounted_us == 0 && c->back_us == 0));

void eg_clock_tick(eg_clock_t *c, uint32_t elapsed_us) REQUIRES(WRITES(c)) REQUIRES(clock_ok(c))
    ASSIGNS(c->uncounted_us) ENSURES(clock_ok(c))
    /* CLOCK-4 */ ENSURES(c->uncounted_us ==
                          MIN((uint64_t)OLD(c->uncounted_us) + elapsed_us, CLOCK_UNCOUNTED_MAX_US));

bool eg_clock_age(eg_clock_t *c, uint32_t now_us, uint32_t their_stamp_us, uint32_t *age_us)
    REQUIRES(WRITES(c) && WRITES(age_us)) REQUIRES(clock_ok(c))
        ASSIGNS(c->offset_us, c->uncounted_us, c->back_us, *age_us) ENSURES(clock_ok(c))
    /* CLOCK-3 */ ENSURES(RET == (c->known &&
                                  CLOCK_AGE(c, now_us, their_stamp_us) >= -(int64_t)c->error_us))
    /* CLOCK-3 */ ENSURES(IMPLIES(RET, *age_us == (CLOCK_AGE(c, now_us, their_stamp_us) < 0
                                                       ? 0
                                                       : CLOCK_AGE(c, now_us, their_stamp_us))))
        ENSURES(IMPLIES(!c->known, c->offset_us == OLD(c->offset_us)));

/* -------------------------------------------------------------------- e2e.c */

/* Which bytes a CRC is over is what matters, not its value: some function of where they stand, as
 * long as nobody writes there. */
uint32_t __CPROVER_uninterpreted_crc_bytes(uint32_t crc, const uint8_t *data, uint32_t n);
#define CRC_BYTES(crc, data, n) __CPROVER_uninterpreted_crc_bytes(crc, data, n)
#define FRAME_CRC(frame, n)                                                                        \
  CRC_END(CRC_BYTES(CRC_BYTES(EG_CRC_START, frame, 8u), (frame) + 12, (uint32_t)(n) - 12u))
#define BE16(at) ((uint16_t)(((uint32_t)(at)[0] << 8) | (at)[1]))
#define BE32(at) (((uint32_t)BE16(at) << 16) | BE16((at) + 2))
#define HEADER_OK(frame, n, id) (BE16(frame) == (n) && BE32((frame) + 4) == (id))

uint16_t eg_get16(const uint8_t *at) REQUIRES(__CPROVER_r_ok(at, 2)) ASSIGNS()
    ENSURES(RET == BE16(at));

uint32_t eg_get32(const uint8_t *at) REQUIRES(__CPROVER_r_ok(at, 4)) ASSIGNS()
    ENSURES(RET == BE32(at));

void eg_e2e_protect(uint8_t *frame, uint16_t length, uint16_t counter, uint32_t data_id)
    REQUIRES(length >= EG_E2E_HEADER && __CPROVER_rw_ok(frame, length))
        ASSIGNS(__CPROVER_object_upto(frame, EG_E2E_HEADER))
    /* PROFILE-1 */ ENSURES(HEADER_OK(frame, length, data_id) && BE16(frame + 2) == counter &&
                            BE32(frame + 8) == FRAME_CRC(frame, length));

bool eg_e2e_verify(const uint8_t *frame, uint16_t length, uint32_t data_id)
    REQUIRES(__CPROVER_r_ok(frame, length)) ASSIGNS()
    /* PROFILE-1 */ ENSURES(RET == (length >= EG_E2E_HEADER && HEADER_OK(frame, length, data_id) &&
                                    BE32(frame + 8) == FRAME_CRC(frame, length)));

/* What the profile's table says of the distance between two counters. */
#define JUDGED(delta)                                                                              \
  ((delta) == 0   ? EG_E2E_REPEATED                                                                \
   : (delta) == 1 ? EG_E2E_OK                                                                      \
   : (delta) <= 3 ? EG_E2E_OKSOMELOST                                                              \
                  : EG_E2E_WRONGSEQUENCE)
#define DELTA(started, last, counter) ((started) ? ((uint32_t)(counter) - (last)) & 0xFFFFu : 1u)

eg_e2e_result_t eg_e2e_sequence(eg_e2e_receiver_t *r, uint16_t counter) REQUIRES(WRITES(r))
    ASSIGNS(*r) ENSURES(r->counter == counter && r->started == 1)
    /* PROFILE-2 */ ENSURES(RET == JUDGED(DELTA(OLD(r->started), OLD(r->counter), counter)));

eg_e2e_result_t eg_e2e_check(eg_e2e_receiver_t *r, const uint8_t *frame, uint16_t length,
                             uint32_t data_id)
    REQUIRES(WRITES(r) && length <= EG_FRAME_MAX && __CPROVER_r_ok(frame, EG_FRAME_MAX)) ASSIGNS(*r)
    /* PROFILE-1 */ ENSURES((RET == EG_E2E_ERROR) ==
                            !(length >= EG_E2E_HEADER && HEADER_OK(frame, length, data_id) &&
                              BE32(frame + 8) == FRAME_CRC(frame, length)))
    /* PROFILE-2 */ ENSURES(RET == EG_E2E_ERROR
                                ? r->counter == OLD(r->counter) && r->started == OLD(r->started)
                                : RET == JUDGED(DELTA(OLD(r->started), OLD(r->counter),
                                                      BE16(frame + 2))));

/* What eg_e2e_machine_init makes and every step keeps. */
#define MACHINE_OK(m) ((m)->next < EG_E2E_WINDOW && (m)->state <= EG_E2E_INVALID)

void eg_e2e_machine_init(eg_e2e_machine_t *m) REQUIRES(WRITES(m)) ASSIGNS(*m) ENSURES(MACHINE_OK(m))
    /* PROFILE-3 */ ENSURES(m->state == EG_E2E_NODATA && m->result[0] == EG_E2E_RESULTS &&
                            m->result[7] == EG_E2E_RESULTS);

eg_e2e_state_t eg_e2e_machine_step(eg_e2e_machine_t *m, eg_e2e_result_t result) REQUIRES(WRITES(m))
    REQUIRES(MACHINE_OK(m) && (uint32_t)result < EG_E2E_RESULTS) ASSIGNS(*m)
        ENSURES(MACHINE_OK(m) && RET == m->state)
    /* PROFILE-3 */ ENSURES(m->next == (OLD(m->next) == 7 ? 0 : OLD(m->next) + 1))
    /* PROFILE-3 */ ENSURES(
        IMPLIES(OLD(m->state) == EG_E2E_NODATA,
                m->state == (result == EG_E2E_ERROR || result == EG_E2E_NONEWDATA ? EG_E2E_NODATA
                                                                                  : EG_E2E_INIT)));

/* ------------------------------------------------------------------- cobs.c */

uint16_t eg_cobs_encode(const uint8_t *data, uint16_t n, uint8_t *out)
    REQUIRES(n <= 254 && __CPROVER_r_ok(data, n) && __CPROVER_rw_ok(out, n + 1u))
        ASSIGNS(__CPROVER_object_upto(out, n + 1u)) ENSURES(RET == n + 1u)
    /* COBS-1 */ ENSURES(IMPLIES(a_byte < RET, out[a_byte] != 0));

uint16_t eg_cobs_decode(const uint8_t *data, uint16_t n, uint8_t *out, uint16_t room)
    REQUIRES(__CPROVER_r_ok(data, n) && __CPROVER_rw_ok(out, room))
        ASSIGNS(__CPROVER_object_upto(out, room))
    /* COBS-2 */ ENSURES(RET <= room)
    /* COBS-2 */ ENSURES(n == 0 ? RET == 0 : RET < n)
    /* COBS-1 */ ENSURES(IMPLIES(RET != 0 && a_byte < n, data[a_byte] != 0));

/* --------------------------------------------------------------- message.c */

static uint16_t size_of(uint8_t type) {
  static const uint8_t size[12] = {40, 20, 27, 22, 40, 36, 18, 9, 30, 8, 40, 36};
  return type < 12 ? size[type] : 0;
}

/* "EG", version 1, and a word of the code. */
static uint32_t id_of(uint8_t type) {
  static const uint8_t code[12] = {0x0F, 0x33, 0x3C, 0x55, 0x5A, 0x66,
                                   0x69, 0x96, 0x99, 0xA5, 0xAA, 0xC3};
  return 0x45470200u | code[type];
}

#ifdef OPAQUE_TYPES /* who only asks for it needs not know which one it is */
uint8_t __CPROVER_uninterpreted_type_of(uint32_t id);
#define type_of __CPROVER_uninterpreted_type_of
#else
static uint8_t type_of(uint32_t id) {
  for (uint8_t t = 0; t < 12; t++)
    if (id == id_of(t)) return t;
  return EG_MESSAGES;
}
#endif

/* Every enumeration, flag and count in range. */
static bool fields_ok(const eg_message_t *m) {
  switch (m->type) {
  case EG_MSG_COMMAND:
    return m->as.command.mode <= EG_SAFE_STOP && m->as.command.engaged <= 1 &&
           m->as.command.channels <= EG_MAX_CHANNELS;
  case EG_MSG_VERDICT:
    return m->as.verdict.mode <= EG_SAFE_STOP && m->as.verdict.operator_request <= 1;
  case EG_MSG_CHALLENGE:
    return m->as.challenge.policy_agrees <= 1 && m->as.challenge.authenticated <= 1;
  case EG_MSG_ARMED: return m->as.armed.result <= EG_ARM_TOO_OFTEN;
  case EG_MSG_STATE: return m->as.state.mode <= EG_SAFE_STOP && m->as.state.measured_valid <= 3;
  case EG_MSG_QUESTION: return m->as.question.question != 0;
  case EG_MSG_BOOT:
    return m->as.boot.reason <= EG_RESET_SELF_TEST && m->as.boot.first <= EG_RESET_SELF_TEST;
  default: return true;
  }
}

uint16_t eg_message_size(uint8_t type) ASSIGNS()
    /* MESSAGE-2 */ ENSURES(RET == size_of(type)) ENSURES(RET <= EG_PAYLOAD_MAX);

uint16_t eg_message_pack(const eg_message_t *m, uint8_t payload[EG_PAYLOAD_MAX])
    REQUIRES(READS(m) && __CPROVER_rw_ok(payload, EG_PAYLOAD_MAX))
        ASSIGNS(__CPROVER_object_upto(payload, EG_PAYLOAD_MAX)) ENSURES(RET == size_of(m->type));

bool eg_message_unpack(const uint8_t *payload, uint16_t n, eg_message_t *m)
    REQUIRES(__CPROVER_r_ok(payload, n) && WRITES(m)) ASSIGNS(m->as)
    /* MESSAGE-2 */ ENSURES(IMPLIES(RET, n != 0 && n == size_of(m->type)))
    /* MESSAGE-3 */ ENSURES(IMPLIES(RET, fields_ok(m)));

uint32_t eg_message_data_id(eg_message_type_t type) REQUIRES((uint32_t)type < EG_MESSAGES) ASSIGNS()
    /* MESSAGE-4 */ ENSURES(RET == id_of(type));

uint8_t eg_message_type(uint32_t data_id) ASSIGNS()
    /* MESSAGE-4 */ ENSURES(RET == type_of(data_id)) ENSURES(RET <= EG_MESSAGES);

/* ------------------------------------------------------------------- cmac.c */

#define SAME_TAG(a, b)                                                                             \
  ((a)[0] == (b)[0] && (a)[1] == (b)[1] && (a)[2] == (b)[2] && (a)[3] == (b)[3] &&                 \
   (a)[4] == (b)[4] && (a)[5] == (b)[5] && (a)[6] == (b)[6] && (a)[7] == (b)[7])

bool eg_tag_equal(const uint8_t a[EG_TAG_BYTES], const uint8_t b[EG_TAG_BYTES])
    REQUIRES(__CPROVER_r_ok(a, EG_TAG_BYTES) && __CPROVER_r_ok(b, EG_TAG_BYTES)) ASSIGNS()
    /* TAG-1 */ ENSURES(RET == SAME_TAG(a, b));

#endif
