/* SPDX-License-Identifier: Apache-2.0 */
/* Serial: frames out of a stream of bytes. */
#include <string.h>

#include "check.h"
#include "ends.h"

#define COUNT(end, field, want)                                                                    \
  CHECK((end)->counts.field == (want), #field " is %u", (end)->counts.field)

static uint32_t feed(ends_t *e, const uint8_t *bytes, uint32_t n) {
  uint32_t accepted = 0;
  eg_message_t said;
  for (uint32_t i = 0; i < n; i++)
    accepted += eg_link_byte(&e->mcu, bytes[i], e->now_us + SKEW_US, &said);
  return accepted;
}

static uint16_t wire_of(ends_t *e, uint8_t type, uint8_t wire[EG_WIRE_MAX]) {
  eg_message_t m = type == EG_MSG_COMMAND ? ends_command(e) : ends_message(type);
  return eg_link_wire(&e->host, &m, wire);
}

static void one_frame(uint8_t authenticated) {
  for (uint8_t type = EG_MSG_HELLO; type <= EG_MSG_LOG_HEAD; type++) {
    ends_t e = ends_together(authenticated);
    uint8_t wire[EG_WIRE_MAX], frame[EG_FRAME_MAX];
    uint16_t n = wire_of(&e, type, wire);
    CHECK(n == EG_FRAME_HEAD + eg_message_size(type) + (authenticated ? 8 : 0) + 3, "%u", n);
    CHECK(n <= EG_WIRE_MAX, "fits");
    CHECK(wire[0] == 0 && wire[n - 1] == 0, "a zero at both ends");
    CHECK(memchr(wire + 1, 0, n - 2u) == NULL, "and none between");
    CHECK(eg_cobs_decode(wire + 1, (uint16_t)(n - 2), frame, sizeof frame) == n - 3, "COBS");
    eg_message_t said;
    for (uint16_t i = 0; i < n; i++)
      CHECK(eg_link_byte(&e.mcu, wire[i], e.now_us + SKEW_US, &said) == (i == n - 1),
            "complete with the last byte, not with %u", i);
    CHECK(said.type == type, "type %u", said.type);
    CHECK(ends_counted(&e.mcu.counts) == 1, "counted once");
  }
}

static void a_stream(void) {
  ends_t e = ends_together(1);
  uint8_t stream[6 * EG_WIRE_MAX];
  uint32_t n = 0;
  for (int i = 0; i < 6; i++) n += wire_of(&e, EG_MSG_VERDICT, stream + n);
  CHECK(feed(&e, stream, n) == 6, "back to back");
  CHECK(ends_counted(&e.mcu.counts) == 6, "nothing else was seen in it");
}

/* Whatever came before, the next whole frame is heard. */
static void after_noise(void) {
  for (uint32_t length = 1; length <= 300; length++) {
    ends_t e = ends_together(1);
    uint8_t noise[300], wire[EG_WIRE_MAX];
    memset(noise, 0x55, sizeof noise);
    uint16_t n = wire_of(&e, EG_MSG_COMMAND, wire);
    CHECK(feed(&e, noise, length) == 0, "noise");
    CHECK(feed(&e, wire, n) == 1, "after %u bytes of noise", length);
    COUNT(&e.mcu, corrupted, 1);
  }
}

static void cut_anywhere(void) {
  ends_t start = ends_together(1);
  uint8_t first[EG_WIRE_MAX], second[EG_WIRE_MAX];
  const uint16_t n = wire_of(&start, EG_MSG_COMMAND, first), body = (uint16_t)(n - 2u);
  (void)wire_of(&start, EG_MSG_COMMAND, second);
  for (uint16_t at = 0; at < n; at++)
    for (uint16_t missing = 1; at + missing <= n; missing++) {
      ends_t e = start;
      uint16_t from = at ? at : 1, to = (uint16_t)(at + missing); /* what is missing of the body */
      if (to > n - 1) to = (uint16_t)(n - 1);
      uint16_t kept = (uint16_t)(body - (to > from ? to - from : 0));
      uint32_t heard = feed(&e, first, at) + feed(&e, first + at + missing, n - at - missing);
      heard += feed(&e, second, n);
      CHECK(heard == 1u + (kept == body), "the next one is heard, %u at %u", missing, at);
      CHECK(e.mcu.counts.corrupted == (kept > 0 && kept < body), "%u missing at %u", missing, at);
    }
}

/* The longest frame is heard; a byte more is none, however many follow. */
static void too_long(void) {
  for (uint32_t extra = 0; extra <= 600; extra++) {
    ends_t e = ends_together(1);
    uint8_t wire[EG_WIRE_MAX], end = 0;
    uint16_t n = wire_of(&e, EG_MSG_ANSWER, wire);
    CHECK(n == EG_WIRE_MAX, "the longest");
    CHECK(feed(&e, wire, n - 1u) == 0, "not complete");
    for (uint32_t i = 0; i < extra; i++) CHECK(feed(&e, &wire[1], 1) == 0, "not complete");
    CHECK(feed(&e, &end, 1) == (extra == 0), "%u more", extra);
    COUNT(&e.mcu, corrupted, extra != 0);
    CHECK(feed(&e, wire, n) == (extra != 0), "heard when it comes whole, once");
  }
}

/* Time that passes in the middle of a frame changes nothing. */
static void a_frame_over_ticks(void) {
  ends_t e = ends_together(1);
  uint8_t wire[EG_WIRE_MAX];
  uint16_t n = wire_of(&e, EG_MSG_VERDICT, wire);
  for (uint16_t i = 0; i < n; i++) {
    CHECK(feed(&e, &wire[i], 1) == (i == n - 1u), "byte %u", i);
    (void)ends_tick(&e.mcu, 100);
  }
}

static void zeros_are_nothing(void) {
  ends_t e = ends_together(1);
  uint8_t zeros[100] = {0}, one[] = {1, 0, 1, 1, 0};
  CHECK(feed(&e, zeros, sizeof zeros) == 0, "idle");
  CHECK(ends_counted(&e.mcu.counts) == 0, "and nothing is counted");
  CHECK(feed(&e, one, sizeof one) == 0, "empty frames");
  COUNT(&e.mcu, corrupted, 2);
}

/* Opening a session in the middle of a frame loses nothing that comes after. */
static void bytes_survive_opening(void) {
  ends_t e = ends_together(1);
  uint8_t wire[EG_WIRE_MAX];
  uint16_t n = wire_of(&e, EG_MSG_HELLO, wire);
  CHECK(feed(&e, wire, 20) == 0, "half");
  eg_link_close(&e.mcu);
  CHECK(feed(&e, wire + 20, n - 20u) == 1, "the other half");
}

int main(void) {
  one_frame(0);
  one_frame(1);
  a_stream();
  after_noise();
  cut_anywhere();
  too_long();
  a_frame_over_ticks();
  zeros_are_nothing();
  bytes_survive_opening();
  return 0;
}
