/* SPDX-License-Identifier: Apache-2.0 */
#include "link_contracts.h"

#include "cobs.c"

/*! enforce eg_cobs_encode; loops link_cobs_encode.loops.json; seconds 6 */
void prove_cobs_encode(void) {
  free_link_choice();
  uint16_t n;
  ASSUME(n <= 254);
  uint8_t *data = malloc(n), *out = malloc(n + 1u);
  ASSUME(data != NULL && out != NULL);
  eg_cobs_encode(data, n, out);
  REACHED;
}

/* Any number of bytes into any room. */
/*! enforce eg_cobs_decode; loops link_cobs_decode.loops.json */
void prove_cobs_decode(void) {
  free_link_choice();
  uint16_t n, room;
  uint8_t *data = malloc(n), *out = malloc(room);
  ASSUME(data != NULL && out != NULL);
  eg_cobs_decode(data, n, out, room);
  REACHED;
}

/* The same for few bytes without an invariant, and what has none: that both undo each other. Longer
 * ones, and blocks of 254 bytes without a zero, are the C tests' (test_cobs.c, every length). */
#define SMALL 12u

/*! unwind 16 */
void prove_cobs_inverse(void) {
  uint8_t data[SMALL], wire[SMALL + 1], back[SMALL + 1];
  uint16_t n;
  uint8_t i = nondet_u8(), k = nondet_u8();
  ASSUME(n >= 1 && n <= SMALL && i < n && k <= n);
  uint16_t stuffed = eg_cobs_encode(data, n, wire);
  CHECK(wire[k] != 0, "COBS-1 no zero in what was stuffed");
  uint16_t got = eg_cobs_decode(wire, stuffed, back, sizeof back);
  CHECK(got == n && back[i] == data[i], "COBS-3 what was stuffed comes back");
  REACHED;
}

/*! unwind 16 */
void prove_cobs_one_form(void) {
  uint8_t wire[SMALL], data[SMALL], again[SMALL + 1];
  uint16_t n;
  uint8_t i = nondet_u8();
  ASSUME(n <= SMALL && i < n);
  uint16_t got = eg_cobs_decode(wire, n, data, sizeof data);
  ASSUME(got != 0);
  CHECK(wire[i] != 0, "COBS-1 a zero inside is refused");
  CHECK(eg_cobs_encode(data, got, again) == n && again[i] == wire[i],
        "COBS-3 no two encodings mean the same");
  REACHED;
}

/*! unwind 16 */
void prove_cobs_room(void) {
  uint8_t wire[SMALL], out[SMALL];
  uint16_t n, room;
  uint8_t i = nondet_u8();
  ASSUME(n <= SMALL && room <= i && i < SMALL);
  uint8_t beyond = out[i];
  uint16_t got = eg_cobs_decode(wire, n, out, room);
  CHECK(out[i] == beyond, "COBS-2 nothing is written beyond the room");
  CHECK(got <= room && (n == 0 ? got == 0 : got < n), "COBS-2 it fits, and is shorter");
  REACHED;
}
