/* SPDX-License-Identifier: Apache-2.0 */
/* Random policies and steps: what is written is what was, and reads back; what was cut is refused.
 */
#include "../fuzz/bytes.h"
#include "../tests/check.h"
#include "record.h"

#define TABLES 200u
#define STEPS 40u

static uint32_t random_state = 20261125u;

static uint32_t random_u32(void) { /* xorshift (Marsaglia 2003) */
  random_state ^= random_state << 13;
  random_state ^= random_state >> 17;
  random_state ^= random_state << 5;
  return random_state;
}

static bytes_t random_bytes(uint8_t *room, size_t n) {
  for (size_t i = 0; i < n; i++)
    room[i] = random_u32() % 3u == 0 ? 0 : (uint8_t)(random_u32() >> 8);
  bytes_t b = {room, n};
  return b;
}

static eg_replay_t replay;
static uint8_t tape[EG_RECORD_POLICY_MAX];

static eg_policy_t random_policy(eg_label_t label[6]) {
  static uint8_t room[1024];
  eg_policy_t p;
  do {
    bytes_t b = random_bytes(room, sizeof room);
    p = take_policy(&b, label);
  } while (eg_policy_check(&p));
  return p;
}

/* Any shorter or longer, or of another kind: not the record. */
static void refused_when_cut(const eg_policy_t *p, uint8_t *record, size_t n) {
  eg_input_t in;
  eg_decision_t d;
  int64_t t_ns;
  CHECK(eg_read_decision(p, record, n, &t_ns, &in, &d), "at %u", random_state);
  for (size_t cut = 0; cut < n; cut++)
    CHECK(!eg_read_decision(p, record, cut, &t_ns, &in, &d), "at %u", random_state);
  CHECK(!eg_read_decision(p, record, n + 1, &t_ns, &in, &d), "at %u", random_state);
  for (size_t room = 0; room < n; room++)
    CHECK(eg_record_decision(p, t_ns, &in, &d, tape, room) == 0, "at %u", random_state);
  record[0] = EG_RECORD_GAP;
  CHECK(!eg_read_decision(p, record, n, &t_ns, &in, &d), "at %u", random_state);
}

static void operation(eg_policy_t *p, eg_state_t *s, uint8_t dice) {
  size_t n = 0;
  if (dice < 20) {
    eg_arm(p, s);
    n = eg_record_operation(EG_RECORD_ARM, 0, tape, sizeof tape);
  } else if (dice < 25) {
    eg_takeover(s);
    n = eg_record_operation(EG_RECORD_TAKEOVER, 0, tape, sizeof tape);
  } else if (dice < 60) {
    n = eg_record_operation(EG_RECORD_REARM, (uint8_t)eg_rearm(p, s), tape, sizeof tape);
  }
  if (n) CHECK(eg_replay(&replay, tape, n) == EG_REPLAY_SAME, "at %u", random_state);
}

static void one_table(void) {
  static uint8_t room[1024];
  static eg_state_t s;
  static eg_input_t in;
  eg_label_t label[6];
  eg_policy_t p = random_policy(label);
  memset(&in, 0, sizeof in);
  eg_init(&p, &s);
  eg_replay_begin(&replay);
  size_t n = eg_record_policy(&p, tape, sizeof tape);
  CHECK(eg_replay(&replay, tape, n - 1) == EG_REPLAY_MALFORMED, "at %u", random_state);
  CHECK(eg_replay(&replay, tape, n) == EG_REPLAY_NOTHING, "at %u", random_state);
  CHECK(eg_record_policy(&replay.policy, room, sizeof room) == n || n > sizeof room, "at %u",
        random_state);
  CHECK(n > sizeof room || memcmp(room, tape, n) == 0, "at %u", random_state);
  for (uint32_t i = 0; i < STEPS; i++) {
    eg_decision_t out;
    bytes_t b = random_bytes(room, sizeof room);
    n = eg_record_state(&p, &s, tape, sizeof tape);
    eg_replay_result_t result = eg_replay(&replay, tape, n);
    CHECK(result == (i ? EG_REPLAY_SAME : EG_REPLAY_NOTHING), "at %u",
          random_state); /* all of the state is in it */
    operation(&p, &s, take_u8(&b));
    take_input(&b, &p, &in);
    eg_decide(&p, &s, &in, &out);
    n = eg_record_decision(&p, (int64_t)i - 5, &in, &out, tape, sizeof tape);
    CHECK(n > 0 && n <= EG_RECORD_MAX, "at %u", random_state);
    CHECK(eg_replay(&replay, tape, n) == EG_REPLAY_SAME, "at %u", random_state);
    CHECK(memcmp(replay.bytes, tape, n) == 0, "at %u", random_state);
  }
  refused_when_cut(&p, tape, n);
}

/* A gap ends what is known; the next state begins it again. */
static void gaps(void) {
  guard_t g;
  guard_start(&g);
  const eg_policy_t *p = &g.policy;
  eg_replay_begin(&replay);
  CHECK(eg_replay(&replay, tape, 0) == EG_REPLAY_MALFORMED, "at %u", random_state);
  tape[0] = EG_RECORD_GAP;
  CHECK(eg_replay(&replay, tape, 5) == EG_REPLAY_MALFORMED, "at %u",
        random_state); /* before any policy */
  size_t n = eg_record_policy(p, tape, sizeof tape);
  CHECK(eg_replay(&replay, tape, n) == EG_REPLAY_NOTHING, "at %u", random_state);
  for (int gap = 0; gap < 2; gap++) {
    guard_tick(&g);
    n = eg_record_decision(p, 1, &g.input, &g.out, tape, sizeof tape);
    CHECK(eg_replay(&replay, tape, n) == EG_REPLAY_NOTHING, "at %u", random_state);
    n = eg_record_operation(EG_RECORD_ARM, 0, tape, sizeof tape);
    CHECK(eg_replay(&replay, tape, n) == EG_REPLAY_NOTHING, "at %u", random_state);
    n = eg_record_state(p, &g.state, tape, sizeof tape);
    CHECK(eg_replay(&replay, tape, n) == EG_REPLAY_NOTHING, "at %u", random_state);
    guard_tick(&g);
    n = eg_record_decision(p, 1, &g.input, &g.out, tape, sizeof tape);
    CHECK(eg_replay(&replay, tape, n) == EG_REPLAY_SAME, "at %u", random_state);
    tape[n - 1] ^= 1u;
    CHECK(eg_replay(&replay, tape, n) == EG_REPLAY_DIFFERS, "at %u", random_state);
    n = eg_record_gap(7, tape, sizeof tape);
    CHECK(eg_replay(&replay, tape, n) == EG_REPLAY_NOTHING, "at %u", random_state);
  }
  tape[0] = 0;
  CHECK(eg_replay(&replay, tape, 1) == EG_REPLAY_MALFORMED, "at %u", random_state);
  tape[0] = EG_RECORD_SCORES;
  CHECK(eg_replay(&replay, tape, 9) == EG_REPLAY_NOTHING, "at %u", random_state);
}

int main(void) {
  for (uint32_t i = 0; i < TABLES; i++) one_table();
  gaps();
  return 0;
}
