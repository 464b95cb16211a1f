/* SPDX-License-Identifier: Apache-2.0 */
/* Random steps under random tables, reduced to one number that must be the same on every processor.
 *   trace STEPS [SEED] */
#include <stdio.h>
#include <stdlib.h>

#include "bytes.h"
#include "edgeguard/flow.h"

#define STEPS_PER_TABLE 256u
#define BYTES_PER_STEP 1024u

static uint32_t random_state;

static uint32_t random_u32(void) { /* xorshift (Marsaglia 2003) */
  random_state ^= random_state << 13;
  random_state ^= random_state >> 17;
  random_state ^= random_state << 5;
  return random_state;
}

/* A third of the bytes is 0 and as many small: structures take the usual branches, too. */
static bytes_t random_bytes(uint8_t *room, size_t n) {
  for (size_t i = 0; i < n; i++) {
    uint32_t r = random_u32();
    room[i] = r % 3u == 0 ? 0 : (uint8_t)(r % 3u == 1 ? r >> 8 & 15u : r >> 8);
  }
  bytes_t b = {room, n};
  return b;
}

static uint32_t add(uint32_t crc, const eg_policy_t *p, const eg_decision_t *d) {
  const uint32_t words[] = {d->sequence, d->mode,    d->active,   d->operator_request,
                            d->causes,   d->present, d->question, d->answer};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) crc = eg_crc_u32(crc, words[i]);
  for (size_t i = 0; i < p->members; i++) crc = eg_crc_u32(crc, d->member_age_us[i]);
  for (size_t i = 0; i < p->cameras; i++) crc = eg_crc_u32(crc, d->camera_age_us[i]);
  for (size_t i = 0; i < p->channels; i++) {
    const eg_command_t *c = &d->channel[i];
    const uint32_t said[] = {(uint32_t)c->command,
                             (uint32_t)c->want,
                             (uint32_t)c->label,
                             (uint32_t)c->certainty,
                             c->votes,
                             c->voters,
                             c->granted};
    for (size_t j = 0; j < sizeof said / sizeof *said; j++) crc = eg_crc_u32(crc, said[j]);
  }
  return crc;
}

static uint32_t one_table(uint32_t crc, uint32_t steps) {
  static uint8_t room[BYTES_PER_STEP];
  static eg_state_t s;
  static eg_input_t in;
  static eg_policy_t p;
  eg_label_t label[6];
  do {
    bytes_t b = random_bytes(room, sizeof room);
    p = take_policy(&b, label);
  } while (eg_policy_check(&p));
  memset(&in, 0, sizeof in);
  eg_init(&p, &s);
  eg_arm(&p, &s);
  for (uint32_t i = 0; i < steps; i++) {
    eg_decision_t out;
    bytes_t b = random_bytes(room, sizeof room);
    if (take_u8(&b) == 255) (void)eg_rearm(&p, &s);
    take_input(&b, &p, &in);
    eg_decide(&p, &s, &in, &out);
    crc = add(crc, &p, &out);
  }
  return crc;
}

int main(int argc, char **argv) {
  uint32_t steps = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 100000u;
  random_state = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 20261124u;
  uint32_t crc = EG_CRC_START;
  for (uint32_t done = 0; done < steps; done += STEPS_PER_TABLE) {
    uint32_t left = steps - done;
    crc = one_table(crc, left < STEPS_PER_TABLE ? left : STEPS_PER_TABLE);
  }
  printf("%lu steps %08lx\n", (unsigned long)steps, (unsigned long)eg_crc_end(crc));
  return 0;
}
