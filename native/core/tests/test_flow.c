/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "check.h"
#include "edgeguard/flow.h"
#include "fixture.h"

/* CRC-32P4 of little-endian words, bit by bit: nothing here is the core's. */
static uint32_t fed(uint32_t crc, uint32_t word) {
  for (int byte = 0; byte < 4; byte++) {
    crc ^= word >> (8 * byte) & 0xFFu;
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1u ? 0xC8DF352Fu : 0);
  }
  return crc;
}

static uint32_t crc_of(const uint32_t *word, int n) {
  uint32_t crc = 0xFFFFFFFFu;
  for (int i = 0; i < n; i++) crc = fed(crc, word[i]);
  return ~crc;
}

static uint32_t answer_of(uint32_t question, uint32_t tick, const uint32_t check[EG_CHECKS]) {
  uint32_t crc = fed(fed(0xFFFFFFFFu, question), tick);
  for (uint32_t i = 0; i < EG_CHECKS; i++) crc = fed(fed(crc, i), check[i]);
  return ~crc;
}

#define SIGNED(s, check_id, ...)                                                                   \
  do {                                                                                             \
    const uint32_t words[] = {__VA_ARGS__};                                                        \
    CHECK((s)->check[check_id] == crc_of(words, sizeof words / sizeof *words), "check %d",         \
          (int)(check_id));                                                                        \
  } while (0)

/* Each check, on its own, signs its own place with the causes and ages that it left. */
static void each_check_signs_what_it_found(void) {
  guard_t g;
  guard_start(&g);
  guard_run(&g, 40, 3, EG_ONE);
  eg_policy_t *p = &g.policy;
  eg_state_t *s = &g.state;
  p->cameras = 2;
  s->camera[1].age_us = EG_AGE_MAX;
  g.input.missed = EG_BIT(EG_LATE);
  g.input.signal[0].validity = EG_INVALID;
  g.input.detector[0] = (eg_number_t){EG_INVALID, 0};
  g.input.member[1].present = 0;
  eg_flow_begin(s, 1, 2);
  uint32_t found = eg_time_advance(p, s, 30000);
  SIGNED(s, EG_CHECK_TIME, 30000, found);
  CHECK(found == EG_BIT(EG_OVERRUN), "found %x", found);
  found = eg_cameras_update(p, s, &g.input);
  SIGNED(s, EG_CHECK_CAMERAS, s->camera[0].age_us, s->camera[1].age_us, found);
  CHECK(found == EG_BIT(EG_FRAME_LOST), "found %x", found);
  found = eg_members_update(p, s, &g.input);
  SIGNED(s, EG_CHECK_MEMBERS, s->member[0].age_us, s->member[1].age_us, s->member[2].age_us, found);
  CHECK(found == EG_BIT(EG_MEMBER_LOST), "found %x", found);
  found = eg_numbers_check(p, s, &g.input);
  SIGNED(s, EG_CHECK_NUMBERS, found);
  CHECK(found == (EG_BIT(EG_INPUT_INVALID) | EG_BIT(EG_IMAGE_UNHEALTHY)), "found %x", found);
  memset(&g.out, 0, sizeof g.out);
  s->channel[0].target = Q(10);
  found = eg_votes_update(p, s, true, &g.out);
  SIGNED(s, EG_CHECK_VOTES, 3, (uint32_t)s->channel[0].target, 3, (uint32_t)s->channel[1].target,
         found);
  CHECK(found == EG_BIT(EG_OPERATION_DENIED), "found %x", found);
  eg_causes_update(p, s, found, 10000);
  SIGNED(s, EG_CHECK_CAUSES, s->active, found);
  eg_commands_update(p, s, &g.input, &g.out);
  SIGNED(s, EG_CHECK_COMMANDS, (uint32_t)s->channel[0].last, (uint32_t)s->channel[1].last);
  CHECK(~s->flow == answer_of(1, 2, s->check), "the signature folds all of them in order");
}

static void a_signature_is_made_of_all(void) {
  eg_state_t s;
  memset(&s, 0xA5, sizeof s);
  eg_flow_begin(&s, 0x12345678u, 9);
  CHECK(s.flow == fed(fed(0xFFFFFFFFu, 0x12345678u), 9), "opens with question and tick");
  for (uint32_t i = 0; i < EG_CHECKS; i++) CHECK(s.check[i] == 0, "check %u is of before", i);
  CHECK(s.debounce[0].level_us == 0xA5A5A5A5u, "what stands behind the checks");
  uint32_t opened = s.flow;
  eg_flow_fold(&s, EG_CHECK_VOTES, 77);
  CHECK(s.check[EG_CHECK_VOTES] == ~77u, "a check's CRC is finished");
  CHECK(s.flow == fed(fed(opened, EG_CHECK_VOTES), ~77u), "place and CRC are folded in");
}

/* The other end computes the answer from question, tick and CRCs; the host cannot hit it with a
 * check left out, out of order, of another tick or to another question. */
static void the_answer_to_every_tick(void) {
  guard_t g;
  guard_start(&g);
  for (uint32_t t = 1; t < 200; t++) {
    g.input.question = t * 2654435761u;
    guard_run(&g, 1, t / 50 % 2 ? 0 : 3, EG_ONE);
    const eg_decision_t *out = &g.out;
    CHECK(out->question == g.input.question && out->sequence == t, "tick %u", t);
    CHECK(out->answer == answer_of(out->question, t, out->check), "tick %u", t);
    CHECK(out->answer == eg_flow_answer(out->question, t, out->check), "tick %u", t);
    CHECK(out->answer != eg_flow_answer(out->question, t - 1, out->check), "of an old tick");
    CHECK(out->answer != eg_flow_answer(out->question + 1, t, out->check), "another question");
    for (uint32_t i = 0; i < EG_CHECKS; i++) {
      uint32_t check[EG_CHECKS];
      memcpy(check, out->check, sizeof check);
      check[i] ^= 1u;
      CHECK(out->answer != eg_flow_answer(out->question, t, check), "check %u does not count", i);
      CHECK(out->check[i] == g.state.check[i], "check %u is reported", i);
    }
    SIGNED(out, EG_CHECK_CAUSES, out->causes, out->present);
    SIGNED(out, EG_CHECK_COMMANDS, (uint32_t)out->channel[0].command,
           (uint32_t)out->channel[1].command);
  }
}

int main(void) {
  each_check_signs_what_it_found();
  a_signature_is_made_of_all();
  the_answer_to_every_tick();
  return 0;
}
