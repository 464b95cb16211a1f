/* SPDX-License-Identifier: Apache-2.0 */
/* What a member said of the frames before, as far as they are one row (REQ-CORE-34). */
#include <string.h>

#include "check.h"
#include "fixture.h"

static bool remembers(const guard_t *g, int32_t first, int32_t second, int32_t third) {
  const int32_t want[EG_MAX_RUN - 1] = {first, second, third};
  return memcmp(g->state.member[0].before, want, sizeof want) == 0;
}

static void say_of_next_frame(guard_t *g, int32_t label, int32_t certainty) {
  eg_time_advance(&g->policy, &g->state, 30000);
  guard_say(g, 0, label, certainty);
  guard_members(g);
}

#define NOT_SAID EG_UNSAID, EG_UNSAID, EG_UNSAID

static void frames_in_a_row_are_remembered(void) {
  guard_t g;
  guard_start(&g);
  for (int32_t i = 0; i < EG_MAX_RUN - 1; i++)
    g.state.member[0].before[i] = EG_ONE; /* of a life before */
  say_of_next_frame(&g, 1, 10);
  CHECK(remembers(&g, NOT_SAID), "nothing was said before the first");
  say_of_next_frame(&g, 1, 20);
  CHECK(remembers(&g, 10, EG_UNSAID, EG_UNSAID), "one");
  say_of_next_frame(&g, 1, 30);
  CHECK(remembers(&g, 20, 10, EG_UNSAID), "newest first");
  say_of_next_frame(&g, 1, 40);
  say_of_next_frame(&g, 1, 50);
  CHECK(remembers(&g, 40, 30, 20), "the oldest is let go");
  say_of_next_frame(&g, 2, 60);
  CHECK(remembers(&g, NOT_SAID), "another label begins anew");
  say_of_next_frame(&g, 2, 70);
  say_of_next_frame(&g, 1, 80);
  CHECK(remembers(&g, NOT_SAID), "a lower one as well");
}

static void a_second_look_is_no_second_frame(void) {
  guard_t g;
  guard_start(&g);
  say_of_next_frame(&g, 1, 10);
  guard_say(&g, 0, 1, 20); /* of the same age: of the same frame */
  guard_members(&g);
  CHECK(remembers(&g, NOT_SAID), "counted twice");
  CHECK(g.state.member[0].evidence.certainty == 20, "though it is what it says now");
  guard_say(&g, 0, 2, 30);
  guard_members(&g);
  guard_say(&g, 0, 1, 40);
  guard_members(&g);
  CHECK(remembers(&g, NOT_SAID), "in between it said another label");
}

/* Ages are rounded down, each for itself: a microsecond apart may be one capture. */
static void a_microsecond_is_no_frame(void) {
  for (uint32_t apart = 0; apart < 4; apart++) {
    guard_t g;
    guard_start(&g);
    say_of_next_frame(&g, 1, 10);
    guard_say(&g, 0, 1, 20);
    g.input.member[0].age_us -= apart;
    guard_members(&g);
    bool one = remembers(&g, NOT_SAID), two = remembers(&g, 10, EG_UNSAID, EG_UNSAID);
    CHECK(apart > 1 ? two : one, "%u us apart", apart);
  }
}

/* A camera gives one picture twice, the second time under a new stamp: what a member said of both
 * is one frame's word. What is captured more than a period after that is another. */
static void a_repeated_frame_is_no_second_one(void) {
  for (uint32_t after = 0; after < 3; after++) {
    guard_t g;
    guard_start(&g);
    guard_frame(&g, 7);
    eg_cameras_update(&g.policy, &g.state, &g.input);
    say_of_next_frame(&g, 1, 10);
    eg_time_advance(&g.policy, &g.state, 30000);
    guard_frame(&g, 7);
    eg_cameras_update(&g.policy, &g.state, &g.input);
    guard_say(&g, 0, 1, 20);
    guard_members(&g);
    CHECK(g.state.repeated_us == 5000 && remembers(&g, NOT_SAID), "of the repeated one");
    eg_time_advance(&g.policy, &g.state, g.policy.period_us + after - 1);
    guard_frame(&g, 8);
    eg_cameras_update(&g.policy, &g.state, &g.input);
    guard_say(&g, 0, 1, 30);
    guard_members(&g);
    bool goes_on = remembers(&g, 20, EG_UNSAID, EG_UNSAID);
    CHECK(after > 1 ? goes_on : remembers(&g, NOT_SAID), "%d us after a period", (int)after - 1);
  }
}

/* An answer that was slow: of a frame before the repeated one. */
static void what_was_captured_before_a_repeated_frame_does_not_count(void) {
  guard_t g;
  guard_start(&g);
  say_of_next_frame(&g, 1, 10);
  eg_time_advance(&g.policy, &g.state, 30000);
  g.state.repeated_us = 4000;
  guard_say(&g, 0, 1, 20);
  guard_members(&g);
  CHECK(remembers(&g, NOT_SAID), "counted");
}

/* The newest of all cameras' repeated frames counts. */
static void the_newest_repeated_frame_is_kept(void) {
  guard_t g;
  guard_start(&g);
  g.policy.cameras = 2;
  g.state.camera[1].repeats = 1;
  g.state.camera[1].age_us = 4000;
  eg_cameras_update(&g.policy, &g.state, &g.input);
  CHECK(g.state.repeated_us == 4000, "of the second camera");
  g.state.camera[0].repeats = 1;
  g.state.camera[0].age_us = 6000;
  eg_cameras_update(&g.policy, &g.state, &g.input);
  CHECK(g.state.repeated_us == 4000, "an older one takes nothing back");
  g.state.camera[0].age_us = 3000;
  eg_cameras_update(&g.policy, &g.state, &g.input);
  CHECK(g.state.repeated_us == 3000, "nor one that is looked at later");
}

/* What takes the word back ends the row: 0 an empty answer, 1 an insane one, 2 one that it may not
 * give, 3 and 6 silence, 4 its death. What is late is not looked at: 5. */
static void a_row_ends_with_the_word(void) {
  for (int how = 0; how < 7; how++) {
    guard_t g;
    guard_start(&g);
    g.policy.member[0].may = 0x3;
    say_of_next_frame(&g, 1, 10);
    eg_time_advance(&g.policy, &g.state, 30000);
    guard_say(&g, 0, how == 0 ? -1 : how == 2 ? 5 : 1, 20);
    if (how == 1) g.input.member[0].evidence.bad = 1;
    if (how == 5) g.input.member[0].latency_us = 25001;
    if (how == 3) eg_time_advance(&g.policy, &g.state, 100001);
    if (how == 3) g.input.member[0].serial--;
    if (how == 4) g.input.member[0].present = 0;
    if (how != 6) guard_members(&g);
    g.input.member[0].present = 1;
    if (how == 6) eg_time_advance(&g.policy, &g.state, 70000); /* and speaks at the last moment */
    say_of_next_frame(&g, 1, 30);
    bool kept = remembers(&g, 10, EG_UNSAID, EG_UNSAID);
    CHECK(how == 5 ? kept : remembers(&g, NOT_SAID), "end %d", how);
  }
}

int main(void) {
  frames_in_a_row_are_remembered();
  a_second_look_is_no_second_frame();
  a_microsecond_is_no_frame();
  a_repeated_frame_is_no_second_one();
  what_was_captured_before_a_repeated_frame_does_not_count();
  the_newest_repeated_frame_is_kept();
  a_row_ends_with_the_word();
  return 0;
}
