/* SPDX-License-Identifier: Apache-2.0 */
/* Anything on the wire: the decoder, and the receiver of either end (the first byte of the input
 * says which), serial or CAN FD, in a session or before it, take it between good frames of the
 * other end. Nothing is accepted that the other end did not send. */
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

/* Something that this end may say. */
static eg_message_t message_of(bytes_t *b, bool mcu, uint32_t now_us) {
  eg_message_t m;
  memset(&m, 0, sizeof m);
  uint8_t chosen = take_u8(b);
  m.type = chosen % EG_MSG_CHALLENGE;
  if (mcu) m.type = (uint8_t)(EG_MSG_CHALLENGE + chosen % (EG_MESSAGES - EG_MSG_CHALLENGE));
  if (m.type == EG_MSG_COMMAND) {
    m.as.command.stamp_us = now_us - take_u16(b);
    m.as.command.channels = 1 + take_u8(b) % EG_MAX_CHANNELS;
    m.as.command.command[0] = take_odd(b);
  } else if (mcu) {
    take(b, &m.as, 8); /* its first fields: nonces, stamps, results, reasons */
  }
  return m;
}

/* A good frame from the other end, as it is or with a few of its bytes overwritten. */
static uint16_t frame_of(bytes_t *b, eg_link_t *from, uint32_t now_us, bool can, uint8_t *wire,
                         bool *whole) {
  eg_message_t m = message_of(b, from->config.mcu, now_us);
  uint16_t n = can ? eg_link_frame(from, &m, wire) : eg_link_wire(from, &m, wire);
  DEMAND(n > 0 && n <= (can ? EG_FRAME_MAX : EG_WIRE_MAX));
  uint8_t sent[EG_WIRE_MAX];
  memcpy(sent, wire, n);
  for (size_t i = take_u8(b) % 4u; i > 0; i--) {
    uint16_t at = take_u8(b) % n;
    wire[at] = take_u8(b);
  }
  /* On serial it is whole without its zeros too: those of its neighbours end it. No memcmp:
   * libFuzzer would learn the frame from it, tag and all. */
  uint8_t apart = 0, ends = can ? 0 : 1;
  for (uint16_t i = ends; i + ends < n; i++) apart |= sent[i] ^ wire[i];
  *whole = apart == 0;
  return n;
}

/* CAN FD has frames of 48 and 64 bytes, and nothing between: what is too short is padded. */
static bool hear_frame(bytes_t *b, eg_link_t *to, uint8_t *frame, uint16_t n, uint32_t now_us,
                       eg_message_t *m) {
  uint8_t pad = take_u8(b);
  uint16_t length = pad & 1u ? n : n <= 48 ? 48 : EG_FRAME_MAX;
  for (uint16_t i = n; i < length; i++) frame[i] = pad & 2u ? pad : 0;
  return eg_link_accept(to, frame, length > n ? length : n, now_us, m);
}

static uint32_t hear(bytes_t *b, eg_link_t *to, uint8_t *wire, uint16_t n, uint32_t now_us,
                     bool can) {
  uint32_t accepted = 0;
  for (uint16_t i = 0; i < (can ? 1 : n); i++) {
    eg_message_t m;
    bool good =
        can ? hear_frame(b, to, wire, n, now_us, &m) : eg_link_byte(to, wire[i], now_us, &m);
    accepted += good;
    if (good) DEMAND((m.type >= EG_MSG_CHALLENGE) != to->config.mcu && m.type < EG_MESSAGES);
  }
  return accepted;
}

static void exchange(bytes_t *b) {
  uint8_t how = take_u8(b), authenticated = how & 1u, to_host = how >> 1 & 1u;
  bool can = how & 4u;
  eg_link_t from = end_of(to_host, authenticated), to = end_of(!to_host, authenticated);
  if (!(how & 8u)) {
    eg_link_open(&from, nonce, nonce);
    eg_link_open(&to, nonce, nonce);
  }
  (void)eg_clock_measure(&to.clock, 0, 2000, 1000);
  uint32_t now_us = take_u32(b), accepted = 0, sent = 0;
  while (b->left) {
    uint8_t wire[EG_WIRE_MAX];
    bool whole = false;
    uint16_t n = 0;
    if (take_u8(b) & 1u) {
      n = frame_of(b, &from, now_us, can, wire, &whole);
      sent += whole;
    } else {
      n = take_u8(b) % EG_WIRE_MAX;
      take(b, wire, n);
    }
    accepted += hear(b, &to, wire, n, now_us, can);
    uint32_t elapsed_us = take_u8(b) & 1u ? 10000 : take_u16(b);
    now_us += elapsed_us;
    eg_link_pass(&to, elapsed_us);
    (void)eg_link_tick(&to);
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
