/* SPDX-License-Identifier: Apache-2.0 */
/* Which errors the link is sure to find: prints how many patterns were covered, and fails on the
 * first that gets through. `detection N` samples N damaged wires a type instead of 100,000. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "detection.h"

uint32_t random_of(uint32_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 17;
  *state ^= *state << 5;
  return *state;
}

sample_t sample(uint8_t type, uint8_t authenticated, uint32_t seed) {
  sample_t s;
  memset(&s, 0, sizeof s);
  uint32_t random = seed | 1u;
  s.type = type;
  s.start = ends_together(authenticated);
  uint8_t payload[EG_PAYLOAD_MAX], nonces[EG_SESSION_BYTES];
  eg_message_t m = ends_message(type), drawn = {.type = type};
  for (uint32_t i = 0; i < sizeof nonces; i++) nonces[i] = (uint8_t)random_of(&random);
  eg_link_open(&s.start.host, nonces, nonces + EG_NONCE_BYTES);
  eg_link_open(&s.start.mcu, nonces, nonces + EG_NONCE_BYTES);
  (void)eg_message_pack(&m, payload);
  for (uint32_t i = 0; i < eg_message_size(type); i++) {
    uint8_t kept = payload[i];
    payload[i] = (uint8_t)(random_of(&random) >> 11);
    if (!eg_message_unpack(payload, eg_message_size(type), &drawn)) payload[i] = kept;
  }
  CHECK(eg_message_unpack(payload, eg_message_size(type), &drawn), "type %u", type);
  if (type == EG_MSG_COMMAND) drawn.as.command.stamp_us = s.start.now_us;
  ends_t e = s.start;
  s.n = ends_frame(&e, &drawn, s.frame);
  e = s.start;
  s.wire_n = eg_link_wire(ends_sender(&e, type), &drawn, s.wire);
  return s;
}

bool fooled(const sample_t *s, const eg_message_t *said) {
  uint8_t payload[EG_PAYLOAD_MAX];
  uint16_t n = eg_message_pack(said, payload);
  return said->type != s->type || memcmp(payload, s->frame + EG_FRAME_HEAD, n) != 0;
}

static uint32_t widest(bool msb_first) {
  uint32_t width = 33;
  bool all = false;
  while (!all) {
    double ignored = 0;
    width--;
    all = true;
    for (uint8_t type = 0; type < EG_MESSAGES; type++)
      all = all && all_bursts(type, msb_first, true, width, &ignored);
  }
  return width;
}

static void algebra(void) {
  double few = 0, bursts = 0;
  for (uint8_t type = 0; type < EG_MESSAGES; type++) {
    CHECK(all_of_few_bits(type, &few), "type %u", type);
    CHECK(all_bursts(type, false, true, 32, &bursts), "type %u: bursts", type);
    double ignored = 0; /* the argument can fail: the profile's CRC alone is not enough */
    CHECK(!all_bursts(type, false, false, 32, &ignored), "type %u: without session word", type);
  }
  printf("decoded frames, all 1- to 3-bit errors: %.0f patterns, all found\n", few);
  printf("decoded frames, all bursts up to 32 bits in serial order: %.3g patterns, all found\n",
         bursts);
  printf("the same with the highest bit of a byte first (CAN): all up to %u bits\n", widest(true));
}

int main(int argc, char **argv) {
  uint32_t n = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 100000u;
  double frames = 0, wires = 0;
  printf("E2E frames of");
  for (uint8_t type = 0; type < EG_MESSAGES; type++)
    printf(" %u", EG_FRAME_HEAD + eg_message_size(type));
  printf(" bytes\n");
  algebra();
  for (uint8_t type = 0; type < EG_MESSAGES; type++) {
    for (uint8_t tags = 0; tags < 2; tags++) frames_of_two_bits(type, tags, &frames);
    frames_sampled(type, n / 100);
    for (uint32_t seed = 1; seed <= 3; seed++) wires_of_two_bits(type, 0, seed, &wires);
    wires_of_two_bits(type, 1, 4, &wires);
    wires_sampled(type, n);
  }
  printf("receiver, all 1- and 2-bit errors of decoded frames: %.0f, none accepted\n", frames);
  printf("receiver, sampled 3-bit errors and bursts: %.0f, none accepted\n",
         EG_MESSAGES * (n / 100) * 50.0);
  printf("receiver, all 1- and 2-bit errors of COBS bytes: %.0f, no other message\n", wires);
  printf("receiver, COBS bytes damaged at random: %.0f, no other message: at most %.2g (95 %%)\n",
         EG_MESSAGES * (double)n, 3.0 / (EG_MESSAGES * (double)n));
  return 0;
}
