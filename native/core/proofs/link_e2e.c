/* SPDX-License-Identifier: Apache-2.0 */
#include "link_uninterpreted_crc.h"

/* The distance of two counters is taken modulo 2^16: that conversion is meant. */
#pragma CPROVER check push
#pragma CPROVER check disable "conversion"
#include "e2e.c"
#pragma CPROVER check pop

static void put16_c(uint8_t *at, uint16_t x) REQUIRES(__CPROVER_rw_ok(at, 2))
    ASSIGNS(__CPROVER_object_upto(at, 2)) ENSURES(BE16(at) == x);

static void put32_c(uint8_t *at, uint32_t x) REQUIRES(__CPROVER_rw_ok(at, 4))
    ASSIGNS(__CPROVER_object_upto(at, 4)) ENSURES(BE32(at) == x);

static uint32_t crc_of_c(const uint8_t *frame, uint16_t length)
    REQUIRES(length >= EG_E2E_HEADER && __CPROVER_r_ok(frame, length)) ASSIGNS()
    /* PROFILE-1 */ ENSURES(RET == FRAME_CRC(frame, length));

static eg_e2e_result_t judge_c(uint16_t delta) ASSIGNS()
    /* PROFILE-2 */ ENSURES(RET == JUDGED(delta));

/* A frame of up to 65535 bytes. */
#define FRAME(frame, length)                                                                       \
  uint16_t length;                                                                                 \
  uint8_t *frame = malloc(length);                                                                 \
  ASSUME(frame != NULL)

/*! enforce eg_get16 */
void prove_get16(void) {
  uint8_t at[2];
  eg_get16(at);
  REACHED;
}

/*! enforce eg_get32 */
void prove_get32(void) {
  uint8_t at[4];
  eg_get32(at);
  REACHED;
}

/*! enforce put16 */
void prove_put16(void) {
  uint8_t at[2];
  uint16_t x;
  put16(at, x);
  REACHED;
}

/*! enforce put32 */
void prove_put32(void) {
  uint8_t at[4];
  put32(at, nondet_u32());
  REACHED;
}

/*! enforce crc_of */
void prove_crc_of(void) {
  FRAME(frame, length);
  crc_of(frame, length);
  REACHED;
}

/*! enforce eg_e2e_protect; replace crc_of */
void prove_e2e_protect(void) {
  FRAME(frame, length);
  uint16_t counter;
  eg_e2e_protect(frame, length, counter, nondet_u32());
  REACHED;
}

/*! enforce eg_e2e_verify; replace crc_of */
void prove_e2e_verify(void) {
  FRAME(frame, length);
  eg_e2e_verify(frame, length, nondet_u32());
  REACHED;
}

/*! enforce judge */
void prove_judge_delta(void) {
  uint16_t delta;
  judge(delta);
  REACHED;
}

/*! enforce eg_e2e_sequence */
void prove_e2e_sequence(void) {
  eg_e2e_receiver_t r;
  uint16_t counter;
  eg_e2e_sequence(&r, counter);
  REACHED;
}

/*! enforce eg_e2e_check; replace eg_e2e_verify eg_e2e_sequence eg_get16 */
void prove_e2e_check(void) {
  eg_e2e_receiver_t r;
  uint8_t frame[EG_FRAME_MAX];
  uint16_t length;
  eg_e2e_check(&r, frame, length, nondet_u32());
  REACHED;
}

/* ------------------------------------------------------------ state machine */

static uint8_t count(const eg_e2e_machine_t *m, uint8_t a, uint8_t b) {
  uint8_t n = 0;
  for (uint32_t i = 0; i < 8; i++)
    if (m->result[i] == a || m->result[i] == b) n++;
  return n;
}

/* The profile's transitions (PRS_E2E, with the limits that this build states) out of a state, given
 * the window. */
static eg_e2e_state_t leads_to(uint8_t state, uint8_t ok, uint8_t errors) {
  switch (state) {
  case EG_E2E_INIT: return errors > 1 ? EG_E2E_INVALID : ok >= 5 ? EG_E2E_VALID : EG_E2E_INIT;
  case EG_E2E_VALID: return errors <= 2 && ok >= 4 ? EG_E2E_VALID : EG_E2E_INVALID;
  default: return errors <= 1 && ok >= 5 ? EG_E2E_VALID : EG_E2E_INVALID;
  }
}

#define WINDOW_STATE(m)                                                                            \
  leads_to((m)->state, count(m, EG_E2E_OK, EG_E2E_OKSOMELOST), count(m, EG_E2E_ERROR, EG_E2E_ERROR))

static eg_e2e_state_t from_window_c(const eg_e2e_machine_t *m) REQUIRES(READS(m))
    REQUIRES(m->state >= EG_E2E_INIT && m->state <= EG_E2E_INVALID) ASSIGNS()
    /* PROFILE-3 */ ENSURES(RET == WINDOW_STATE(m));

/*! enforce eg_e2e_machine_init */
void prove_machine_init(void) {
  eg_e2e_machine_t m;
  eg_e2e_machine_init(&m);
  REACHED;
}

/*! enforce from_window; unwind 10 */
void prove_from_window(void) {
  eg_e2e_machine_t m;
  from_window(&m);
  REACHED;
}

/*! enforce eg_e2e_machine_step; replace from_window; unwind 10 */
void prove_machine_step(void) {
  eg_e2e_machine_t m;
  eg_e2e_machine_step(&m, (eg_e2e_result_t)nondet_u8());
  REACHED;
}

/* The newest result takes the oldest one's place, all others stay, and the table is followed. */
/*! replace from_window; unwind 10 */
void prove_machine_window(void) {
  eg_e2e_machine_t m;
  uint8_t result = nondet_u8(), i = nondet_u8();
  ASSUME(MACHINE_OK(&m) && result < EG_E2E_RESULTS && i < EG_E2E_WINDOW);
  eg_e2e_machine_t old = m;
  eg_e2e_machine_step(&m, (eg_e2e_result_t)result);
  CHECK(m.result[i] == (i == old.next ? result : old.result[i]),
        "PROFILE-3 the window moves by one");
  uint8_t new_state = m.state;
  m.state = old.state;
  CHECK(IMPLIES(old.state != EG_E2E_NODATA, new_state == WINDOW_STATE(&m)),
        "PROFILE-3 a state leads where the profile's table says");
  REACHED;
}
