/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "check.h"
#include "fixture.h"

#define PERIOD_US 10000u

/* One channel, 0 to 36 m/s, stop at 2 m/s; a millisecond's worth of rate is easy to see. */
typedef struct {
  eg_policy_t policy;
  eg_state_t state;
  eg_input_t input;
  eg_decision_t out;
} setup_t;

static eg_limit_table_t table(int32_t min, int32_t max, int32_t rise, int32_t fall) {
  eg_limit_table_t t = {.rows = 1, .row = {{0, {min, max, rise, fall}}}};
  return t;
}

static void setup(setup_t *u, eg_mode_t mode) {
  memset(u, 0, sizeof *u);
  u->policy = fixture_policy();
  u->policy.channels = 1;
  eg_channel_t *c = &u->policy.channel[0];
  c->stop = 2000;
  c->nominal = table(0, 36000, 1000, 3000); /* 10 up and 30 down a period */
  c->degraded = table(0, 22000, 500, 2000);
  eg_init(&u->policy, &u->state);
  u->state.armed = 1;
  u->state.channel[0] = (eg_channel_state_t){20000, 20005, 1};
  u->input.elapsed_us = PERIOD_US;
  u->input.rule_ok = 1;
  u->input.rule[0] = 19995;
  u->input.signal[0] = (eg_number_t){EG_VALID, 20000};
  u->out.mode = (uint8_t)mode;
  u->out.active = 1;
  u->out.channel[0].granted = 1;
}

static int32_t step(setup_t *u) {
  eg_commands_update(&u->policy, &u->state, &u->input, &u->out);
  CHECK(u->out.channel[0].command == u->state.channel[0].last, "command is what is remembered");
  return u->out.channel[0].command;
}

static void follows(eg_mode_t mode, int32_t want, int32_t command, bool accepts) {
  setup_t u;
  setup(&u, mode);
  CHECK(step(&u) == command, "mode %d: %d", (int)mode, u.out.channel[0].command);
  CHECK(u.out.channel[0].want == want, "mode %d wants %d", (int)mode, u.out.channel[0].want);
  CHECK(u.state.channel[0].target == (accepts ? 20005 : command), "mode %d target", (int)mode);
  CHECK(u.out.channel[0].granted == accepts, "mode %d granted", (int)mode);
  CHECK(u.state.conflict == 0, "conflict");
}

static void each_mode_follows_its_own(void) {
  follows(EG_NOMINAL, 20005, 20005, true);
  follows(EG_DEGRADED, 20005, 20005, true);
  follows(EG_FALLBACK, 19995, 19995, false);
  follows(EG_SAFE_STOP, 2000, 19970, false);
}

static void limits_are_the_modes(void) {
  const struct {
    eg_mode_t mode;
    int32_t want, command;
  } row[] = {{EG_NOMINAL, 30000, 20010},  {EG_NOMINAL, 0, 19970},  {EG_DEGRADED, 30000, 20005},
             {EG_DEGRADED, 0, 19980},     {EG_FALLBACK, 0, 19970}, {EG_FALLBACK, 30000, 20010},
             {EG_SAFE_STOP, 2000, 19970}, {EG_SAFE_STOP, 0, 19970}};
  for (int i = 0; i < 8; i++) {
    setup_t u;
    setup(&u, row[i].mode);
    u.state.channel[0].target = u.input.rule[0] = row[i].want;
    CHECK(step(&u) == row[i].command, "row %d: %d", i, u.out.channel[0].command);
  }
}

/* A controller that gives no number is not followed; a manoeuvre follows it in SAFE_STOP too. */
static void the_controller(void) {
  const struct {
    eg_mode_t mode;
    uint8_t manoeuvre, rule_ok;
    int32_t want;
  } row[] = {{EG_FALLBACK, 0, 1, 19995},  {EG_FALLBACK, 0, 0, 2000},  {EG_FALLBACK, 1, 1, 19995},
             {EG_FALLBACK, 1, 0, 2000},   {EG_SAFE_STOP, 0, 1, 2000}, {EG_SAFE_STOP, 0, 0, 2000},
             {EG_SAFE_STOP, 1, 1, 19995}, {EG_SAFE_STOP, 1, 0, 2000}, {EG_NOMINAL, 1, 1, 20005}};
  for (int i = 0; i < 9; i++) {
    setup_t u;
    setup(&u, row[i].mode);
    u.policy.channel[0].manoeuvre = row[i].manoeuvre;
    u.input.rule_ok = row[i].rule_ok;
    u.input.rule_us = EG_AGE_MAX; /* late is noted, not wrong */
    step(&u);
    CHECK(u.out.channel[0].want == row[i].want, "row %d wants %d", i, u.out.channel[0].want);
  }
}

static void time_scales_the_step(void) {
  const struct {
    uint32_t elapsed_us;
    int32_t up, down;
  } row[] = {{0, 10, 30}, {1000, 1, 3}, {5000, 5, 15}, {PERIOD_US, 10, 30}, {EG_AGE_MAX, 10, 30}};
  for (int i = 0; i < 5; i++)
    for (int up = 0; up < 2; up++) {
      setup_t u;
      setup(&u, EG_NOMINAL);
      u.input.elapsed_us = row[i].elapsed_us;
      u.state.channel[0].target = up ? 30000 : 100;
      int32_t moved = step(&u) - 20000;
      CHECK(moved == (up ? row[i].up : -row[i].down), "%u us: %d", row[i].elapsed_us, moved);
    }
}

static void limits_depend_on_the_signal(void) {
  setup_t u;
  setup(&u, EG_NOMINAL);
  u.policy.channel[0].table_signal = 0;
  u.policy.channel[0].nominal.rows = 2;
  u.policy.channel[0].nominal.row[1] = (eg_limit_row_t){20000, {0, 36000, 200, 400}};
  u.state.channel[0].target = 30000;
  CHECK(step(&u) == 20002, "at the signal's value: %d", u.out.channel[0].command);
  setup(&u, EG_NOMINAL);
  u.policy.channel[0].nominal.rows = 2;
  u.policy.channel[0].nominal.row[1] = (eg_limit_row_t){20000, {0, 36000, 2000, 400}};
  u.state.channel[0].target = 30000;
  CHECK(step(&u) == 20010, "without one, the strictest: %d", u.out.channel[0].command);
}

/* A limit that tightened below the command, or a value above what can be commanded. */
static void conflicts_are_noted(void) {
  const struct {
    int32_t last;
    uint8_t conflict;
  } row[] = {{-31, 1}, {-11, 1}, {-10, 0}, {0, 0}, {36000, 0}, {36030, 0}, {36031, 1}, {40000, 1}};
  for (int i = 0; i < 8; i++) {
    setup_t u;
    setup(&u, EG_NOMINAL);
    u.state.channel[0].last = row[i].last;
    u.state.conflict = !row[i].conflict; /* of the step before */
    step(&u);
    CHECK(u.state.conflict == row[i].conflict, "from %d: %d", row[i].last, u.state.conflict);
  }
}

static void two_channels_one_conflict(void) {
  setup_t u;
  setup(&u, EG_NOMINAL);
  u.policy.channels = 2;
  u.state.channel[0].last = 40000;
  u.state.channel[1] = (eg_channel_state_t){Q(1), Q(1), 1};
  step(&u);
  CHECK(u.state.conflict == 1, "the second channel is no excuse for the first");
}

/* F15: nothing winds up while nobody asks for commands. */
static void inactive_follows_what_is_measured(void) {
  for (int mode = EG_NOMINAL; mode <= EG_SAFE_STOP; mode++) {
    setup_t u;
    setup(&u, (eg_mode_t)mode);
    u.out.active = 0;
    u.input.signal[0].value = 7000;
    CHECK(step(&u) == 7000 && u.out.channel[0].want == 7000, "mode %d", mode);
    CHECK(u.state.channel[0].target == 7000 && u.out.channel[0].granted == 0, "mode %d", mode);
    u.input.signal[0].validity = EG_INVALID;
    u.state.channel[0].target = 5;
    CHECK(step(&u) == 7000 && u.out.channel[0].want == 7000, "nothing measured: it holds");
    CHECK(u.state.channel[0].target == 7000, "mode %d", mode);
    u.state.channel[0].last = 40000;
    step(&u);
    CHECK(u.state.conflict == 0, "nobody asks the envelope while inactive");
  }
}

/* Nobody knows for how long a person has driven: it goes to its stop command, within its limits. */
static void inactive_and_unmeasured_goes_to_its_stop(void) {
  setup_t u;
  setup(&u, EG_NOMINAL);
  u.out.active = 0;
  u.policy.channel[0].measured = EG_NONE;
  u.policy.channel[0].stop = 19945;
  const int32_t down[] = {19970, 19945, 19945};
  for (int i = 0; i < 3; i++) {
    CHECK(step(&u) == down[i] && u.out.channel[0].want == down[i], "step %d: %d", i,
          u.out.channel[0].command);
    CHECK(u.state.channel[0].target == down[i], "target %d", u.state.channel[0].target);
  }
  u.state.channel[0].last = 40000;
  step(&u);
  CHECK(u.state.conflict == 0, "nobody asks the envelope while inactive");
}

/* -------------------------------------------------------------------- start */

static void started(const eg_state_t *s, int channel, int32_t at, bool is) {
  const eg_channel_state_t *c = &s->channel[channel];
  CHECK(c->last == at && c->target == at, "channel %d starts from %d, %d", channel, c->last,
        c->target);
  CHECK(c->started == is, "channel %d started: %d", channel, c->started);
}

static void starts_from_what_is_measured(void) {
  setup_t u;
  setup(&u, EG_NOMINAL);
  memset(u.state.channel, 0, sizeof u.state.channel);
  u.state.armed = 0;
  eg_channels_start(&u.policy, &u.state, &u.input);
  started(&u.state, 0, 20000, true);
  u.input.signal[0].value = 300;
  eg_channels_start(&u.policy, &u.state, &u.input);
  started(&u.state, 0, 20000, true); /* once */
}

static void starts_from_stop_until_measured(void) {
  setup_t u;
  setup(&u, EG_NOMINAL);
  memset(u.state.channel, 0, sizeof u.state.channel);
  u.state.armed = 0;
  u.input.signal[0].validity = EG_INVALID;
  eg_channels_start(&u.policy, &u.state, &u.input);
  started(&u.state, 0, 2000, false);
  u.input.signal[0].validity = EG_VALID;
  eg_channels_start(&u.policy, &u.state, &u.input);
  started(&u.state, 0, 20000, true);
  memset(u.state.channel, 0, sizeof u.state.channel);
  u.state.armed = 1;
  u.input.signal[0].validity = EG_INVALID;
  eg_channels_start(&u.policy, &u.state, &u.input);
  started(&u.state, 0, 2000, true);
}

static void every_channel_starts(void) {
  setup_t u;
  setup(&u, EG_NOMINAL);
  memset(u.state.channel, 0, sizeof u.state.channel);
  u.state.armed = 0;
  u.policy.channels = 3;
  for (int i = 1; i < EG_MAX_CHANNELS; i++) {
    u.policy.channel[i].measured = EG_NONE;
    u.policy.channel[i].stop = 100 * i;
  }
  eg_channels_start(&u.policy, &u.state, &u.input);
  started(&u.state, 0, 20000, true);
  started(&u.state, 1, 100, true);
  started(&u.state, 2, 200, true);
  started(&u.state, 3, 0, false); /* there is no such channel */
}

static void no_more_channels_than_there_are(void) {
  setup_t u;
  setup(&u, EG_NOMINAL);
  u.policy.channels = 2;
  u.policy.channel[1] = u.policy.channel[2] = u.policy.channel[0];
  u.state.channel[1] = u.state.channel[2] = u.state.channel[0];
  u.state.channel[1].target = 19990;
  step(&u);
  CHECK(u.out.channel[1].command == 19990, "second channel: %d", u.out.channel[1].command);
  CHECK(u.out.channel[2].command == 0 && u.state.channel[2].last == 20000, "third channel");
}

int main(void) {
  each_mode_follows_its_own();
  limits_are_the_modes();
  the_controller();
  time_scales_the_step();
  limits_depend_on_the_signal();
  conflicts_are_noted();
  two_channels_one_conflict();
  inactive_follows_what_is_measured();
  inactive_and_unmeasured_goes_to_its_stop();
  starts_from_what_is_measured();
  starts_from_stop_until_measured();
  every_channel_starts();
  no_more_channels_than_there_are();
  return 0;
}
