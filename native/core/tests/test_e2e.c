/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "check.h"
#include "edgeguard/e2e.h"
#include "edgeguard/flow.h"

#define ID 0x0A0B0C0Du
#define N 16u

/* PRS_E2EProtocol, example of profile 4 with its default configuration: 4 bytes of zeros as data,
 * offset 0, counter 0. */
static void standard_vector(void) {
  uint8_t frame[N];
  memset(frame, 0, sizeof frame);
  eg_e2e_protect(frame, sizeof frame, 0, ID);
  const uint8_t want[N] = {0x00, 0x10, 0x00, 0x00, 0x0A, 0x0B, 0x0C, 0x0D, 0x86, 0x2B, 0x05, 0x56};
  CHECK(memcmp(frame, want, sizeof want) == 0, "%02X%02X%02X%02X", frame[8], frame[9], frame[10],
        frame[11]);
}

static void big_endian(void) {
  const uint8_t bytes[] = {0x81, 0x02, 0xF3, 0x04};
  CHECK(eg_get16(bytes) == 0x8102, "%04X", eg_get16(bytes));
  CHECK(eg_get32(bytes) == 0x8102F304u, "%08X", eg_get32(bytes));
}

static void protects(uint8_t *frame, uint16_t n, uint16_t counter) {
  for (uint16_t i = EG_E2E_HEADER; i < n; i++) frame[i] = (uint8_t)(3 * i);
  eg_e2e_protect(frame, n, counter, ID);
}

static void every_field_is_checked(void) {
  uint8_t frame[N];
  protects(frame, N, 0x1234);
  CHECK(eg_e2e_verify(frame, N, ID), "good");
  for (uint32_t bit = 0; bit < 8 * N; bit++) {
    frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
    CHECK(!eg_e2e_verify(frame, N, ID), "bit %u", bit);
    frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
  }
  CHECK(!eg_e2e_verify(frame, N, ID ^ 1u), "data id");
  CHECK(!eg_e2e_verify(frame, N - 1, ID), "cut");
}

/* The length decides, even where the CRC is that of what stands there. */
static void length_is_checked(void) {
  uint8_t frame[N];
  memset(frame, 5, sizeof frame);
  eg_e2e_protect(frame, N - 1, 1, ID);
  CHECK(eg_e2e_verify(frame, N - 1, ID), "N - 1");
  CHECK(!eg_e2e_verify(frame, N, ID), "more came than it says");
  eg_e2e_receiver_t r = {0, 0};
  CHECK(eg_e2e_check(&r, frame, N, ID) == EG_E2E_ERROR, "nor does it count");
  protects(frame, EG_E2E_HEADER, 1);
  CHECK(eg_e2e_verify(frame, EG_E2E_HEADER, ID), "a header alone");
  for (uint16_t n = 0; n < EG_E2E_HEADER; n++) {
    frame[1] = (uint8_t)n;
    CHECK(!eg_e2e_verify(frame, n, ID), "%u bytes are no header", n);
  }
}

/* A frame that says `n` bytes, with the CRC of what stands there. */
static void says(uint8_t *frame, uint32_t n) {
  frame[0] = (uint8_t)(n >> 8);
  frame[1] = (uint8_t)n;
  uint32_t crc = eg_crc(eg_crc(EG_CRC_START, frame, 8), frame + EG_E2E_HEADER, N - EG_E2E_HEADER);
  crc = eg_crc_end(crc);
  for (uint32_t i = 0; i < 4; i++) frame[8 + i] = (uint8_t)(crc >> (24 - 8 * i));
}

static void length_alone_is_wrong(void) {
  uint8_t frame[N];
  protects(frame, N, 1);
  for (uint32_t n = 0; n < 0x10000u; n++) {
    says(frame, n);
    CHECK(eg_e2e_verify(frame, N, ID) == (n == N), "says %u", n);
  }
}

static eg_e2e_result_t after(uint16_t last, uint16_t next) {
  eg_e2e_receiver_t r = {last, 1};
  eg_e2e_result_t result = eg_e2e_sequence(&r, next);
  CHECK(r.counter == next && r.started == 1, "goes on from %u", next);
  return result;
}

/* PRS_E2E_00365 and what follows it, over every delta and across the wrap. */
static void counters(void) {
  const uint16_t starts[] = {0, 1, 0x7FFF, 0xFFFD, 0xFFFE, 0xFFFF};
  for (size_t s = 0; s < sizeof starts / sizeof *starts; s++)
    for (uint32_t delta = 0; delta < 0x10000u; delta++) {
      eg_e2e_result_t want = delta == 0   ? EG_E2E_REPEATED
                             : delta == 1 ? EG_E2E_OK
                             : delta <= 3 ? EG_E2E_OKSOMELOST
                                          : EG_E2E_WRONGSEQUENCE;
      CHECK(after(starts[s], (uint16_t)(starts[s] + delta)) == want, "%u + %u", starts[s], delta);
    }
  for (uint32_t first = 0; first < 0x10000u; first += 0xFFu) {
    eg_e2e_receiver_t r = {1, 0};
    CHECK(eg_e2e_sequence(&r, (uint16_t)first) == EG_E2E_OK, "the first one may be any: %u", first);
    CHECK(eg_e2e_sequence(&r, (uint16_t)first) == EG_E2E_REPEATED, "and starts the sequence");
  }
}

static void check_is_both(void) {
  uint8_t frame[N];
  eg_e2e_receiver_t r = {0, 0};
  protects(frame, N, 9);
  CHECK(eg_e2e_check(&r, frame, N, ID) == EG_E2E_OK, "first");
  CHECK(eg_e2e_check(&r, frame, N, ID) == EG_E2E_REPEATED, "again");
  protects(frame, N, 11);
  CHECK(eg_e2e_check(&r, frame, N, ID + 1) == EG_E2E_ERROR, "id");
  CHECK(r.counter == 9, "an ERROR leaves the counter alone");
  CHECK(eg_e2e_check(&r, frame, N, ID) == EG_E2E_OKSOMELOST, "one lost");
}

int main(void) {
  standard_vector();
  big_endian();
  every_field_is_checked();
  length_is_checked();
  length_alone_is_wrong();
  counters();
  check_is_both();
  return 0;
}
