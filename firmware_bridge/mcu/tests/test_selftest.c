/* SPDX-License-Identifier: Apache-2.0 */
/* No stroke while any of its own checks fails, and a safe command meanwhile. */
#define _GNU_SOURCE
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rig.h"

static void stack(void) {
  rig_t r;
  for (uint32_t i = 0; i < EG_TWIN_CANARY; i++) {
    rig_steady(&r);
    CHECK(r.twin.canary[i] == EG_CANARY, "%x", r.twin.canary[i]);
    r.twin.canary[i] ^= 1u << i;
    rig_goes_safe(&r, 1, EG_FAIL_STACK, "stack");
  }
  rig_steady(&r);
  r.twin.canary[0] = 0; /* what most of a stack holds */
  rig_goes_safe(&r, 1, EG_FAIL_STACK, "stack of zeros");
}

static void flipped(rig_t *r, uint8_t *byte, uint8_t bit, uint32_t place) {
  int32_t before = rig_out(r, EG_SPEED), angle = rig_out(r, EG_STEERING);
  uint32_t strokes = r->twin.strokes;
  *byte ^= bit;
  rig_turn(r);
  CHECK(r->twin.mcu.kept.failed == EG_FAIL_RAM, "byte %u: %x", place, r->twin.mcu.kept.failed);
  CHECK(rig_out(r, EG_SPEED) < before && before - rig_out(r, EG_SPEED) <= Q(0.04) + 1,
        "byte %u: %d", place, rig_out(r, EG_SPEED));
  CHECK(rig_out(r, EG_STEERING) == angle && r->twin.strokes == strokes, "byte %u", place);
}

static void flip_all(const rig_t *good, uint32_t from, uint32_t n) {
  rig_t r;
  for (uint32_t i = from; i < from + n; i++) {
    rig_copy(&r, good);
    flipped(&r, (uint8_t *)&r.twin + i, (uint8_t)(1u << i % 8u), i);
  }
}

/* A bit in anything that lasts from turn to turn. */
static void ram(void) {
  rig_t good, r;
  rig_steady(&good);
  const uint32_t mcu = offsetof(eg_twin_t, mcu);
  flip_all(&good, mcu + offsetof(eg_mcu_t, heard), sizeof(eg_heard_t));
  flip_all(&good, mcu + offsetof(eg_mcu_t, heard_crc), sizeof(uint32_t));
  flip_all(&good, mcu + offsetof(eg_mcu_t, kept), sizeof(eg_kept_t));
  flip_all(&good, mcu + offsetof(eg_mcu_t, kept_crc), sizeof(uint32_t));
  flip_all(&good, offsetof(eg_twin_t, record), sizeof(eg_record_t));
  rig_steady(&r);
  r.twin.mcu.kept.state.channel[EG_SPEED].last = Q(33);
  rig_goes_safe(&r, 1, EG_FAIL_RAM, "ram");
}

/* And in what does not last: it acts on nothing. */
static void scratch(void) {
  rig_t good, r;
  rig_steady(&good);
  const uint32_t from = offsetof(eg_mcu_t, in), to = sizeof(eg_mcu_t);
  for (uint32_t i = from; i < to; i++) {
    rig_copy(&r, &good);
    ((uint8_t *)&r.twin.mcu)[i] ^= (uint8_t)(1u << i % 8u);
    for (int t = 0; t < 3; t++) {
      rig_turn(&r);
      CHECK(rig_out(&r, EG_SPEED) == Q(10) && r.state.mode == EG_NOMINAL, "byte %u", i);
    }
  }
}

/* Between the arrival of a frame and the next turn. */
static void while_it_listens(void) {
  rig_t r;
  rig_steady(&r);
  r.twin.mcu.heard.inbox.command.command[0] = Q(33);
  rig_goes_safe(&r, 1, EG_FAIL_RAM, "inbox");
  CHECK(r.twin.mcu.heard.link.counts.accepted == 0, "listened with a state that is not its own");
}

/* Two addresses that are one cell: how a fault of an address line looks. */
static void pattern(void) {
  rig_t r;
  long page = sysconf(_SC_PAGESIZE);
  int file = memfd_create("ram", 0);
  CHECK(file >= 0 && ftruncate(file, page) == 0, "memfd");
  uint8_t *low = mmap(NULL, (size_t)(2 * page), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(low != MAP_FAILED, "mmap");
  for (int i = 0; i < 2; i++)
    CHECK(mmap(low + i * page, (size_t)page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file,
               0) != MAP_FAILED,
          "mmap");
  rig_steady(&r);
  r.twin.memory.ram = (volatile uint32_t *)(void *)low;
  r.twin.memory.ram_words = (uint32_t)(2 * page / 4);
  memset((void *)low, 0x3C, (size_t)page);
  rig_goes_safe(&r, 1, EG_FAIL_RAM, "pattern");
  CHECK(r.twin.mcu.kept.failed == EG_FAIL_RAM, "found at boot as well");
  for (long i = 0; i < page; i++) CHECK(low[i] == 0x3C, "the test left its pattern in RAM");
  munmap(low, (size_t)(2 * page));
  close(file);
}

static void output(void) {
  rig_t r;
  for (uint32_t i = 0; i < EG_OUTPUTS; i++) {
    rig_steady(&r);
    r.twin.stuck[i] = 4;
    rig_goes_safe(&r, 1, EG_FAIL_OUTPUT, "output");
    CHECK(r.twin.record.failed_before == EG_FAIL_OUTPUT, "%x", r.twin.record.failed_before);
  }
  rig_steady(&r);
  r.twin.stuck[EG_SPEED] = 0x20000; /* set in 10 m/s: it holds less */
  rig_goes_safe(&r, 1, EG_FAIL_OUTPUT, "less output");
}

/* All at once: none hides another, neither at boot nor later, and nobody else is blamed. */
static void says_all_that_failed(void) {
  rig_t r;
  rig_start(&r);
  r.twin.seal.known_answers ^= 1u;
  r.twin.flash.code[0] ^= 1u;
  eg_twin_boot(&r.twin);
  CHECK(r.twin.mcu.kept.failed == (EG_FAIL_FLASH | EG_FAIL_CORE), "%x", r.twin.mcu.kept.failed);
  rig_start(&r);
  r.twin.flash.config.policy_hash[0] ^= 1u; /* a table that this firmware can do, but not the one */
  eg_twin_boot(&r.twin);
  CHECK(r.twin.mcu.kept.failed == (EG_FAIL_FLASH | EG_FAIL_POLICY), "%x", r.twin.mcu.kept.failed);
  rig_start(&r);
  r.twin.seal.image_crc ^= 1u;
  eg_twin_boot(&r.twin);
  CHECK(r.twin.mcu.kept.failed == EG_FAIL_FLASH, "%x", r.twin.mcu.kept.failed);
}

/* An image of one slice, so that every turn looks at all of it. */
static void says_all_that_fails_later(void) {
  static const uint16_t each[] = {EG_FAIL_FLASH, EG_FAIL_POLICY,
                                  EG_FAIL_STACK | EG_FAIL_FLASH | EG_FAIL_POLICY};
  for (uint32_t i = 0; i < 3; i++) {
    rig_t r;
    rig_start(&r);
    r.twin.memory.image_bytes = EG_IMAGE_SLICE;
    eg_twin_seal(&r.twin);
    eg_twin_boot(&r.twin);
    rig_step(&r);
    if (each[i] & EG_FAIL_STACK) r.twin.canary[0] ^= 1u;
    if (each[i] & EG_FAIL_FLASH) r.twin.flash.code[5] ^= 1u;
    if (each[i] & EG_FAIL_POLICY) r.twin.flash.config.policy_hash[5] ^= 1u;
    rig_step(&r);
    CHECK(r.twin.mcu.kept.failed == each[i], "%x, not %x", r.twin.mcu.kept.failed, each[i]);
  }
}

static void core(void) {
  rig_t r;
  rig_steady(&r);
  r.twin.seal.known_answers ^= 0x100u;
  eg_twin_boot(&r.twin);
  rig_goes_safe(&r, 0, EG_FAIL_CORE, "core");
}

/* A table of right CRC that this firmware cannot do: found at boot. */
static void refuses(void (*spoil)(eg_policy_t *p)) {
  rig_t r;
  eg_mcu_config_t config = rig_config();
  spoil(&config.policy);
  rig_start_with(&r, &config);
  r.speed = Q(10);
  rig_turns(&r, 30);
  CHECK(r.twin.mcu.kept.failed == EG_FAIL_POLICY, "%x", r.twin.mcu.kept.failed);
  CHECK(r.twin.strokes == 0 && rig_out(&r, EG_SPEED) < Q(9), "%d", rig_out(&r, EG_SPEED));
}

static void no_members(eg_policy_t *p) {
  p->members = 0;
}
static void three_channels(eg_policy_t *p) {
  p->channels = 3;
  p->channel[2] = p->channel[1];
  p->member[1].may |= 3u << 4;
}
static void three_members(eg_policy_t *p) {
  p->members = 3;
  p->member[2] = p->member[1];
}
static void three_signals(eg_policy_t *p) {
  p->signals = 3;
}
static void a_camera(eg_policy_t *p) {
  p->cameras = 1;
}
static void a_detector(eg_policy_t *p) {
  p->detectors = 1;
}

static void a_camera_and_a_detector(eg_policy_t *p) {
  p->cameras = p->detectors = 1;
}

/* These pass: a loop that is late once is not broken, and is not stroked for that turn. */
static void late_turns(void) {
  rig_t r;
  rig_steady(&r);
  uint32_t strokes = r.twin.strokes;
  r.twin.now_us += 6000;
  rig_turn(&r);
  CHECK(r.twin.strokes == strokes, "stroked in a late turn");
  rig_turn(&r);
  CHECK(r.twin.strokes == strokes + 1, "and no more after it");
  r.twin.call_us = 3400; /* each look at the clock: a turn of more than 10 ms */
  rig_step(&r);
  CHECK(r.twin.strokes == strokes + 1, "stroked after a turn that took too long");
  CHECK(r.twin.mcu.kept.failed == 0, "%x", r.twin.mcu.kept.failed);
}

/* The controller takes longer than its budget, the turn as a whole does not. */
static void slow_controller(void) {
  rig_t r;
  eg_mcu_config_t config = rig_config();
  config.policy.controller_budget_us = 50;
  rig_start_with(&r, &config);
  rig_turns(&r, 3);
  uint32_t strokes = r.twin.strokes;
  r.twin.call_us = 60;
  rig_turns(&r, 30);
  CHECK(r.twin.strokes == strokes, "stroked %u times", r.twin.strokes - strokes);
  CHECK(r.twin.mcu.out.causes & EG_BIT(EG_CONTROLLER_LOST), "%x", r.twin.mcu.out.causes);
}

static void a_dead_loop_is_reset(void) {
  rig_t r;
  rig_steady(&r);
  r.twin.now_us += EG_TWIN_WATCHDOG_US + 1; /* no turn for that long */
  rig_turns(&r, 2);
  CHECK(r.twin.resets == 1 && r.twin.record.reason == EG_RESET_WATCHDOG, "%u", r.twin.resets);
  CHECK(rig_out(&r, EG_SPEED) < Q(10) && rig_out(&r, EG_SPEED) > Q(9.9), "%d", rig_out(&r, 0));
  CHECK(r.twin.mcu.out.mode == EG_SAFE_STOP, "mode %u", r.twin.mcu.out.mode);
}

int main(void) {
  stack();
  ram();
  scratch();
  while_it_listens();
  pattern();
  output();
  says_all_that_failed();
  says_all_that_fails_later();
  core();
  refuses(no_members);
  refuses(three_channels);
  refuses(three_members);
  refuses(three_signals);
  refuses(a_camera);
  refuses(a_detector);
  refuses(a_camera_and_a_detector);
  late_turns();
  slow_controller();
  a_dead_loop_is_reset();
  return 0;
}
