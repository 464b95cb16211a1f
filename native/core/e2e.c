/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "edgeguard/e2e.h"
#include "edgeguard/flow.h"

/* Bytes of the header. */
#define AT_COUNTER 2u
#define AT_ID 4u
#define AT_CRC 8u

uint16_t eg_get16(const uint8_t *at) {
  return (uint16_t)((at[0] << 8) | at[1]);
}

uint32_t eg_get32(const uint8_t *at) {
  return ((uint32_t)eg_get16(at) << 16) | eg_get16(at + 2);
}

static void put16(uint8_t *at, uint16_t x) {
  at[0] = (uint8_t)(x >> 8);
  at[1] = (uint8_t)x;
}

static void put32(uint8_t *at, uint32_t x) {
  put16(at, (uint16_t)(x >> 16));
  put16(at + 2, (uint16_t)x);
}

static uint32_t crc_of(const uint8_t *frame, uint16_t length) {
  uint32_t crc = eg_crc(EG_CRC_START, frame, AT_CRC);
  return eg_crc_end(eg_crc(crc, frame + EG_E2E_HEADER, length - EG_E2E_HEADER));
}

void eg_e2e_protect(uint8_t *frame, uint16_t length, uint16_t counter, uint32_t data_id) {
  put16(frame, length);
  put16(frame + AT_COUNTER, counter);
  put32(frame + AT_ID, data_id);
  put32(frame + AT_CRC, crc_of(frame, length));
}

bool eg_e2e_verify(const uint8_t *frame, uint16_t length, uint32_t data_id) {
  return length >= EG_E2E_HEADER && eg_get16(frame) == length &&
         eg_get32(frame + AT_ID) == data_id && eg_get32(frame + AT_CRC) == crc_of(frame, length);
}

static eg_e2e_result_t judge(uint16_t delta) {
  if (delta == 0) return EG_E2E_REPEATED;
  if (delta == 1) return EG_E2E_OK;
  return delta <= EG_E2E_MAX_DELTA ? EG_E2E_OKSOMELOST : EG_E2E_WRONGSEQUENCE;
}

eg_e2e_result_t eg_e2e_sequence(eg_e2e_receiver_t *r, uint16_t counter) {
  uint16_t delta = r->started ? (uint16_t)(counter - r->counter) : 1u;
  r->counter = counter;
  r->started = 1;
  return judge(delta);
}

eg_e2e_result_t eg_e2e_check(eg_e2e_receiver_t *r, const uint8_t *frame, uint16_t length,
                             uint32_t data_id) {
  if (!eg_e2e_verify(frame, length, data_id)) return EG_E2E_ERROR;
  return eg_e2e_sequence(r, eg_get16(frame + AT_COUNTER));
}

/* ------------------------------------------------------------ state machine */

/* What each state asks of the window to be, or to become, VALID. */
static const struct {
  uint8_t min_ok, max_error;
} limits[] = {/* of INIT and what follows; NODATA asks for one frame instead */
              {EG_E2E_MIN_OK_INIT, EG_E2E_MAX_ERROR_INIT},
              {EG_E2E_MIN_OK_VALID, EG_E2E_MAX_ERROR_VALID},
              {EG_E2E_MIN_OK_INVALID, EG_E2E_MAX_ERROR_INVALID}};

void eg_e2e_machine_init(eg_e2e_machine_t *m) {
  memset(m->result, EG_E2E_RESULTS, sizeof m->result);
  m->next = 0;
  m->state = EG_E2E_NODATA;
}

static eg_e2e_state_t from_window(const eg_e2e_machine_t *m) {
  uint8_t ok = 0, errors = 0, row = (uint8_t)(m->state - EG_E2E_INIT);
  for (uint32_t i = 0; i < EG_E2E_WINDOW; i++) {
    if (m->result[i] <= EG_E2E_OKSOMELOST) ok++;
    if (m->result[i] == EG_E2E_ERROR) errors++;
  }
  if (errors > limits[row].max_error) return EG_E2E_INVALID;
  if (ok >= limits[row].min_ok) return EG_E2E_VALID;
  return m->state == EG_E2E_INIT ? EG_E2E_INIT : EG_E2E_INVALID;
}

eg_e2e_state_t eg_e2e_machine_step(eg_e2e_machine_t *m, eg_e2e_result_t result) {
  m->result[m->next] = (uint8_t)result;
  m->next = (uint8_t)((m->next + 1u) % EG_E2E_WINDOW);
  if (m->state != EG_E2E_NODATA)
    m->state = (uint8_t)from_window(m);
  else if (result != EG_E2E_NONEWDATA && result != EG_E2E_ERROR)
    m->state = EG_E2E_INIT;
  return (eg_e2e_state_t)m->state;
}
