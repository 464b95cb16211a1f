/* SPDX-License-Identifier: Apache-2.0 */
/* AUTOSAR E2E Profile 4 (FO R22-11, PRS_E2EProtocol): what tells a good frame from a lost,
 * repeated, reordered, inserted, masqueraded or corrupted one; and the E2E state machine above it.
 *
 * Header, 12 bytes, big-endian: length (16, header included), counter (16), data id (32), CRC-32P4
 * (32) over everything but itself. */
#ifndef EDGEGUARD_E2E_H
#define EDGEGUARD_E2E_H

#include <stdbool.h>
#include <stdint.h>

#define EG_E2E_HEADER 12u
#define EG_E2E_MAX_DELTA 3u /* MaxDeltaCounter: two frames may be lost between good ones */

/* Check results of the profile; the worst is last. */
typedef enum {
  EG_E2E_OK,
  EG_E2E_OKSOMELOST,
  EG_E2E_NONEWDATA, /* no frame since the last check */
  EG_E2E_REPEATED,
  EG_E2E_WRONGSEQUENCE,
  EG_E2E_ERROR, /* length, data id or CRC */
  EG_E2E_RESULTS
} eg_e2e_result_t;

typedef struct {
  uint16_t counter; /* of the last frame that was not ERROR */
  uint8_t started;  /* there was one */
} eg_e2e_receiver_t;

/* Big-endian, as the profile writes its header. */
uint16_t eg_get16(const uint8_t *at);
uint32_t eg_get32(const uint8_t *at);

/* Write the header in place; the payload stands behind it already. `length` counts both. */
void eg_e2e_protect(uint8_t *frame, uint16_t length, uint16_t counter, uint32_t data_id);

/* Length, data id and CRC, whatever the counter. */
bool eg_e2e_verify(const uint8_t *frame, uint16_t length, uint32_t data_id);
/* The counter alone, of a frame that holds otherwise; the first one starts the sequence. */
eg_e2e_result_t eg_e2e_sequence(eg_e2e_receiver_t *r, uint16_t counter);
/* The profile's check, both of them. */
eg_e2e_result_t eg_e2e_check(eg_e2e_receiver_t *r, const uint8_t *frame, uint16_t length,
                             uint32_t data_id);

/* ------------------------------------------------------------ state machine */

typedef enum { EG_E2E_NODATA, EG_E2E_INIT, EG_E2E_VALID, EG_E2E_INVALID } eg_e2e_state_t;

#define EG_E2E_WINDOW 8u /* results that the state machine looks back on, one a link period */

/* Stated limits (PRS_E2E: MinOkState..., MaxErrorState...), within the window. */
#define EG_E2E_MIN_OK_INIT 5u
#define EG_E2E_MAX_ERROR_INIT 1u
#define EG_E2E_MIN_OK_VALID 4u
#define EG_E2E_MAX_ERROR_VALID 2u
#define EG_E2E_MIN_OK_INVALID 5u
#define EG_E2E_MAX_ERROR_INVALID 1u

typedef struct {
  uint8_t result[EG_E2E_WINDOW]; /* ring of eg_e2e_result_t; EG_E2E_RESULTS: none yet */
  uint8_t next;
  uint8_t state; /* eg_e2e_state_t */
} eg_e2e_machine_t;

/* NODATA until something came that is not ERROR; INIT until enough of the window is good (VALID) or
 * too much bad (INVALID); then VALID while both limits of the state hold, else INVALID. OKSOMELOST
 * is good, only ERROR is bad. */
void eg_e2e_machine_init(eg_e2e_machine_t *m);
eg_e2e_state_t eg_e2e_machine_step(eg_e2e_machine_t *m, eg_e2e_result_t result);

#endif
