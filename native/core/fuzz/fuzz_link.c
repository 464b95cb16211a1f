/* SPDX-License-Identifier: Apache-2.0 */
/* Anything on the wire: the decoder and both ends' receivers take it byte by byte, between good
 * frames. Nothing is accepted that the other end did not send. */
#include <stdlib.h>

#include "bytes.h"
#include "edgeguard/link.h"

#define DEMAND(x)                                                                                  \
  if (!(x)) abort()

static const uint8_t nonce[EG_NONCE_BYTES] = {1, 2, 3, 4, 5, 6, 7, 8};

static eg_link_t end_of(uint8_t mcu, uint8_t authenticated) {
  eg_link_config_t config = {.mcu = mcu,
                             .authenticated = authenticated,
                             .key = {42, 1, 7},
                             .period_us = 10000,
                             .max_age_us = 20000};
  eg_link_t l;
  eg_link_init(&l, &config);
  return l;
}

static void decode_alone(const uint8_t *data, size_t size) {
  uint8_t out[EG_FRAME_MAX], back[EG_FRAME_MAX + 1];
  uint16_t n = (uint16_t)(size < EG_WIRE_MAX ? size : EG_WIRE_MAX);
  uint16_t length = eg_cobs_decode(data, n, out, sizeof out);
  DEMAND(length <= sizeof out);
  if (length == 0) return;
  DEMAND(eg_cobs_encode(out, length, back) == n);
  DEMAND(memcmp(back, data, n) == 0);
}

/* A good frame from the other end, as it is or with a few of its bytes overwritten. */
static uint16_t frame_of(bytes_t *b, eg_link_t *from, uint32_t now_us, uint8_t *wire, bool *whole) {
  eg_message_t m;
  memset(&m, 0, sizeof m);
  m.type = take_u8(b) % EG_MSG_CHALLENGE;
  if (m.type == EG_MSG_COMMAND) {
    m.as.command.stamp_us = now_us - take_u16(b);
    m.as.command.channels = 1 + take_u8(b) % EG_MAX_CHANNELS;
    m.as.command.command[0] = take_odd(b);
  }
  uint16_t n = eg_link_wire(from, &m, wire);
  DEMAND(n <= EG_WIRE_MAX);
  uint8_t sent[EG_WIRE_MAX];
  memcpy(sent, wire, n);
  for (size_t i = take_u8(b) % 4u; i > 0; i--) {
    uint16_t at = take_u8(b) % n;
    wire[at] = take_u8(b);
  }
  /* Without its zeros it is still whole: those of its neighbours end it. No memcmp: libFuzzer would
   * learn the frame from it, tag and all. */
  uint8_t apart = 0;
  for (uint16_t i = 1; i + 1u < n; i++) apart |= sent[i] ^ wire[i];
  *whole = apart == 0;
  return n;
}

static void exchange(bytes_t *b) {
  uint8_t authenticated = take_u8(b) & 1u;
  eg_link_t host = end_of(0, authenticated), mcu = end_of(1, authenticated);
  eg_link_open(&host, nonce, nonce);
  eg_link_open(&mcu, nonce, nonce);
  (void)eg_clock_measure(&mcu.clock, 0, 2000, 1000);
  uint32_t now_us = take_u32(b), accepted = 0, sent = 0;
  while (b->left) {
    uint8_t wire[EG_WIRE_MAX];
    bool whole = false;
    uint16_t n = 0;
    if (take_u8(b) & 1u) {
      n = frame_of(b, &host, now_us, wire, &whole);
      sent += whole;
    } else {
      n = take_u8(b) % EG_WIRE_MAX;
      take(b, wire, n);
    }
    for (uint16_t i = 0; i < n; i++) {
      eg_message_t m;
      if (eg_link_byte(&mcu, wire[i], now_us, &m)) accepted++;
    }
    uint32_t elapsed_us = take_u8(b) & 1u ? 10000 : take_u16(b);
    now_us += elapsed_us;
    (void)eg_link_tick(&mcu, elapsed_us);
  }
  /* 32 bits of CRC can be hit by chance once in 4e9 frames; the fuzzer cannot aim at the tag. */
  if (authenticated) DEMAND(accepted <= sent);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  decode_alone(data, size);
  bytes_t b = {data, size};
  exchange(&b);
  return 0;
}
