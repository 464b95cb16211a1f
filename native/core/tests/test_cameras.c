/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"
#include "fixture.h"

static uint32_t look(guard_t *g) {
  return eg_cameras_update(&g->policy, &g->state, &g->input);
}

static void frozen_camera(void) { /* F04 */
  guard_t g;
  guard_start(&g);
  guard_frame(&g, 7);
  CHECK(eg_cameras_update(&g.policy, &g.state, &g.input) == 0, "first frame");
  guard_frame(&g, 7); /* a new stamp on the same picture */
  CHECK(eg_cameras_update(&g.policy, &g.state, &g.input) == EG_BIT(EG_FROZEN_INPUT), "repeat");
  CHECK(eg_cameras_update(&g.policy, &g.state, &g.input) == EG_BIT(EG_FROZEN_INPUT), "stays so");
  guard_frame(&g, 8);
  CHECK(eg_cameras_update(&g.policy, &g.state, &g.input) == 0, "moves again");
  eg_time_advance(&g.policy, &g.state, 100001);
  CHECK(eg_cameras_update(&g.policy, &g.state, &g.input) == EG_BIT(EG_FRAME_LOST), "silent");
}

static void frozen_behind_a_ring_and_a_box(void) {
  guard_t g;
  guard_start(&g);
  for (uint64_t i = 0; i < EG_FRAMES_KEPT; i++) {
    guard_frame(&g, 100 + i);
    CHECK(eg_cameras_update(&g.policy, &g.state, &g.input) == 0, "buffer %d", (int)i);
  }
  for (uint64_t i = 0; i < 3 * EG_FRAMES_KEPT; i++) {
    guard_frame(&g, 100 + i % EG_FRAMES_KEPT);
    CHECK(eg_cameras_update(&g.policy, &g.state, &g.input) == EG_BIT(EG_FROZEN_INPUT), "ring");
  }
  guard_frame(&g, 200);
  eg_cameras_update(&g.policy, &g.state, &g.input);
  guard_frame(&g, 201);
  g.input.frame[0].scene = 200; /* another part of the same picture */
  g.input.frame[0].view = 1;
  CHECK(eg_cameras_update(&g.policy, &g.state, &g.input) == EG_BIT(EG_FROZEN_INPUT), "box moved");
  guard_frame(&g, 202);
  g.input.frame[0].scene = 200; /* the same part, and it changed */
  g.input.frame[0].view = 1;
  uint32_t present = eg_cameras_update(&g.policy, &g.state, &g.input);
  CHECK(present == EG_BIT(EG_FROZEN_INPUT), "the kept frame with another box still matches");
}

static void each_part_of_a_picture(void) {
  for (int s = -1; s <= 1; s++)
    for (int v = -1; v <= 1; v++)
      for (int h = -1; h <= 1; h++) {
        eg_frame_t a = {9, 5, 100, 200, 300}, b = {8, 4, 100, 200, 300};
        b.scene += (uint32_t)s;
        b.view += (uint32_t)v;
        b.hash += (uint64_t)(int64_t)h;
        bool want = s == 0 && (v != 0 || h == 0);
        CHECK(eg_same_picture(&a, &b) == want, "scene %d view %d hash %d", s, v, h);
      }
}

static void a_black_first_picture_is_no_repeat(void) {
  guard_t g;
  guard_start(&g);
  g.input.frame[0].serial = 1; /* all of it zero: what an empty memory would show */
  CHECK(look(&g) == 0, "frozen at the first picture");
  CHECK(g.state.camera[0].seen == 1 && g.state.camera[0].repeats == 0, "seen");
  g.input.frame[0].serial = 0; /* the counter started anew */
  CHECK(look(&g) == EG_BIT(EG_FROZEN_INPUT), "the same picture under a smaller number");
  CHECK(g.state.camera[0].repeats == 1, "a flag is 1: %d", g.state.camera[0].repeats);
}

static void as_many_pictures_are_kept_as_fit(void) {
  guard_t g;
  guard_start(&g);
  g.state.camera[1].kept[0].scene = 77;
  for (uint64_t i = 1; i <= EG_FRAMES_KEPT + 2; i++) {
    guard_frame(&g, 1000 + i);
    CHECK(look(&g) == 0, "picture %d", (int)i);
    CHECK(g.state.camera[0].kept[0].hash == 1000 + i, "the newest comes first");
    CHECK(g.state.camera[0].age_us == 5000, "its age counts");
  }
  CHECK(g.state.camera[0].seen == EG_FRAMES_KEPT, "seen %u", g.state.camera[0].seen);
  for (uint64_t i = 0; i < EG_FRAMES_KEPT; i++)
    CHECK(g.state.camera[0].kept[i].hash == 1000 + EG_FRAMES_KEPT + 2 - i, "kept %d", (int)i);
  guard_frame(&g, 1002); /* long gone */
  CHECK(look(&g) == 0, "a picture from before the ring");
}

static void each_camera_has_its_age_limit(void) {
  guard_t g;
  guard_start(&g);
  g.policy.cameras = 3;
  g.policy.camera[1].max_age_us = 50;
  g.policy.camera[2].max_age_us = 70;
  for (uint32_t i = 0; i < 3; i++) g.input.frame[i] = (eg_frame_t){1, 0, i, 10 + i, 0};
  CHECK(look(&g) == 0, "all new");
  const uint32_t age[3] = {100000, 50, 70};
  for (int old = -1; old < 3; old++) {
    for (int i = 0; i < 3; i++) g.state.camera[i].age_us = age[i] + (i == old);
    CHECK(look(&g) == (old < 0 ? 0 : EG_BIT(EG_FRAME_LOST)), "camera %d", old);
  }
  g.state.camera[0].repeats = 1;
  CHECK(look(&g) == (EG_BIT(EG_FRAME_LOST) | EG_BIT(EG_FROZEN_INPUT)), "one frozen, another lost");
  g.policy.cameras = 2;
  CHECK(look(&g) == EG_BIT(EG_FROZEN_INPUT), "no third camera");
}

int main(void) {
  each_part_of_a_picture();
  a_black_first_picture_is_no_repeat();
  as_many_pictures_are_kept_as_fit();
  each_camera_has_its_age_limit();
  frozen_camera();
  frozen_behind_a_ring_and_a_box();
  return 0;
}
