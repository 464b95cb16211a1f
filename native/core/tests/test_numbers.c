/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <string.h>

#include "check.h"
#include "fixture.h"

static uint32_t numbers(guard_t *g) {
  return eg_numbers_check(&g->policy, &g->state, &g->input);
}

static void a_detector_is_silent_with_its_member(void) {
  guard_t g;
  guard_start(&g);
  g.policy.detector[0].member = 1;
  g.input.detector[0] = (eg_number_t){EG_VALID, Q(0.9)};
  CHECK(eg_numbers_check(&g.policy, &g.state, &g.input) == 0, "of a member that abstains");
  g.state.member[1].held = 1;
  CHECK(eg_numbers_check(&g.policy, &g.state, &g.input) == EG_BIT(EG_IMAGE_UNHEALTHY), "speaks");
}

static void numbers_out_of_range(void) {
  guard_t g;
  guard_start(&g);
  CHECK(eg_numbers_check(&g.policy, &g.state, &g.input) == 0,
        "good; an absent detector says nothing");
  g.input.signal[0].value = Q(70) + 1;
  CHECK(eg_numbers_check(&g.policy, &g.state, &g.input) == EG_BIT(EG_INPUT_INVALID), "above");
  g.input.signal[0] = (eg_number_t){EG_INVALID, Q(10)};
  CHECK(eg_numbers_check(&g.policy, &g.state, &g.input) == EG_BIT(EG_INPUT_INVALID), "NaN");
  g.input.signal[0] = (eg_number_t){EG_ABSENT, Q(10)};
  CHECK(eg_numbers_check(&g.policy, &g.state, &g.input) == EG_BIT(EG_INPUT_INVALID), "missing");
  g.input.signal[0] = (eg_number_t){EG_VALID, 0};
  g.input.detector[0] = (eg_number_t){EG_VALID, Q(0.8)};
  CHECK(eg_numbers_check(&g.policy, &g.state, &g.input) == 0, "at the threshold");
  g.input.detector[0].value++;
  CHECK(eg_numbers_check(&g.policy, &g.state, &g.input) == EG_BIT(EG_IMAGE_UNHEALTHY), "over it");
  g.input.detector[0] = (eg_number_t){EG_INVALID, 0};
  CHECK(eg_numbers_check(&g.policy, &g.state, &g.input) == EG_BIT(EG_IMAGE_UNHEALTHY),
        "not a number");
}

static void each_limit_of_a_number(void) {
  const struct {
    uint8_t validity;
    int32_t value;
    bool ok;
  } row[] = {{EG_VALID, -5, true},   {EG_VALID, 7, true},  {EG_VALID, 0, true},
             {EG_VALID, -6, false},  {EG_VALID, 8, false}, {EG_ABSENT, 0, false},
             {EG_INVALID, 0, false}, {255, 0, false}};
  for (int i = 0; i < 8; i++) {
    eg_number_t n = {row[i].validity, row[i].value};
    CHECK(eg_number_ok(&n, -5, 7) == row[i].ok, "row %d", i);
  }
}

static void each_number_is_looked_at(void) {
  guard_t g;
  guard_start(&g);
  g.policy.signals = g.policy.detectors = 3;
  const eg_cause_t cause[] = {EG_IMAGE_UNHEALTHY, EG_OUT_OF_DISTRIBUTION, EG_LOW_CERTAINTY,
                              EG_DISAGREEMENT};
  for (int i = 0; i < 4; i++) {
    g.policy.signal[i] = (eg_signal_t){0, 100 + i};
    g.policy.detector[i] = (eg_detector_t){(uint8_t)cause[i], EG_NONE, 0, 200 + i};
    g.input.signal[i] = (eg_number_t){EG_VALID, 100 + i};
    g.input.detector[i] = (eg_number_t){EG_VALID, 200 + i};
  }
  g.input.signal[3].value = g.input.detector[3].value = 1000;
  CHECK(numbers(&g) == 0, "all at their limits, and no fourth");
  for (int i = 0; i < 3; i++) {
    g.input.signal[i].value++;
    CHECK(numbers(&g) == EG_BIT(EG_INPUT_INVALID), "signal %d", i);
    g.input.signal[i].value--;
    g.input.detector[i].value++;
    CHECK(numbers(&g) == EG_BIT(cause[i]), "detector %d", i);
    g.input.detector[i].value--;
  }
  g.input.engaged_unknown = 1;
  CHECK(numbers(&g) == EG_BIT(EG_INPUT_INVALID), "nobody knows whether it is engaged");
  g.policy.detector[1].cause = EG_LATE;
  g.input.detector[1].validity = EG_INVALID;
  CHECK(numbers(&g) == (EG_BIT(EG_INPUT_INVALID) | EG_BIT(EG_LATE)), "both");
}

static void when_a_detector_speaks(void) {
  const struct {
    uint8_t validity, member, held;
    bool present;
  } row[] = {{EG_VALID, EG_NONE, 0, true}, {EG_VALID, 1, 1, true},
             {EG_VALID, 1, 0, false},      {EG_INVALID, EG_NONE, 0, true},
             {EG_INVALID, 1, 0, true},     {EG_ABSENT, EG_NONE, 0, false},
             {EG_ABSENT, 1, 1, false},     {255, EG_NONE, 0, false}};
  for (int i = 0; i < 8; i++) {
    guard_t g;
    guard_start(&g);
    g.policy.detector[0].member = row[i].member;
    g.state.member[1].held = row[i].held;
    g.input.detector[0] = (eg_number_t){row[i].validity, EG_ONE};
    CHECK(numbers(&g) == (row[i].present ? EG_BIT(EG_IMAGE_UNHEALTHY) : 0), "row %d", i);
  }
}

static void a_signal_or_none(void) {
  guard_t g;
  guard_start(&g);
  g.policy.signal[3] = (eg_signal_t){5, 6};
  g.input.signal[3] = (eg_number_t){EG_VALID, 6};
  CHECK(eg_signal(&g.policy, &g.input, 3) == &g.input.signal[3], "the fourth");
  g.input.signal[3].value = 7;
  CHECK(eg_signal(&g.policy, &g.input, 3) == NULL, "out of its range");
}

/* EG_NONE is no index: what lies there looks like a good number here. */
static void none_is_no_index(void) {
  static struct {
    eg_policy_t policy;
    eg_signal_t behind[EG_NONE];
  } p;
  static struct {
    eg_input_t input;
    eg_number_t behind[EG_NONE];
  } in;
  memset(&in, EG_VALID, sizeof in);
  memset(&p, EG_VALID, sizeof p); /* every number is valid and exactly its range */
  CHECK(eg_signal(&p.policy, &in.input, EG_NONE) == NULL, "none");
}

int main(void) {
  each_limit_of_a_number();
  each_number_is_looked_at();
  when_a_detector_speaks();
  a_signal_or_none();
  none_is_no_index();
  a_detector_is_silent_with_its_member();
  numbers_out_of_range();
  return 0;
}
