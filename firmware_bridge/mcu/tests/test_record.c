/* SPDX-License-Identifier: Apache-2.0 */
/* What survives a reset. */
#include <stddef.h>
#include <string.h>

#include "rig.h"

static void reasons(void) { /* F18: the second reset does not hide the first */
  rig_t r;
  rig_start(&r);
  rig_turns(&r, 2);
  CHECK(r.boot.reason == EG_RESET_POWER && r.boot.first == EG_RESET_POWER, "%u", r.boot.reason);
  r.twin.record.next = EG_RESET_FAULT; /* as the handler of a processor exception does */
  eg_record_save(&r.twin.record, r.twin.saved);
  eg_twin_boot(&r.twin);
  rig_turns(&r, 11); /* the first BOOT has a counter that the host knows already */
  CHECK(r.boot.reason == EG_RESET_FAULT && r.boot.first == EG_RESET_POWER, "%u", r.boot.reason);
  eg_twin_boot(&r.twin); /* by nobody who said so */
  rig_turns(&r, 11);
  CHECK(r.boot.reason == EG_RESET_WATCHDOG && r.boot.first == EG_RESET_FAULT, "%u %u",
        r.boot.reason, r.boot.first);
  CHECK(r.boot.resets == 2, "%u resets", r.boot.resets);
  r.twin.record.next = EG_RESET_SOFTWARE;
  eg_record_save(&r.twin.record, r.twin.saved);
  eg_twin_boot(&r.twin);
  rig_turns(&r, 11);
  CHECK(r.boot.reason == EG_RESET_SOFTWARE && r.boot.first == EG_RESET_WATCHDOG, "%u %u",
        r.boot.reason, r.boot.first);
}

static void resets_in_the_middle(void) { /* F18, twice */
  rig_t r;
  rig_steady(&r);
  for (int i = 0; i < 2; i++) {
    int32_t before = rig_out(&r, EG_SPEED);
    eg_twin_boot(&r.twin);
    eg_link_close(&r.host);
    rig_turns(&r, 30);
    CHECK(r.state.mode == EG_SAFE_STOP && rig_out(&r, EG_SPEED) < before, "drives on");
    CHECK(r.seen[EG_MSG_BOOT] > 0 && r.boot.reason == EG_RESET_WATCHDOG, "does not say so");
  }
  rig_turns(&r, 300);
  CHECK(rig_out(&r, EG_SPEED) == 0 && rig_arm(&r) == EG_ARM_OK, "result %u", r.armed.result);
}

static void the_count_of_resets_saturates(void) {
  rig_t r;
  rig_start(&r);
  r.twin.record.resets = UINT16_MAX - 1;
  eg_record_save(&r.twin.record, r.twin.saved);
  for (int i = 0; i < 2; i++) {
    eg_twin_boot(&r.twin);
    rig_turns(&r, 11);
    CHECK(r.boot.resets == UINT16_MAX, "%u", r.boot.resets);
  }
}

/* What led to a reset is said once. */
static void failures_are_of_the_last_reset(void) {
  rig_t r;
  rig_steady(&r);
  r.twin.canary[0] ^= 1u;
  while (r.twin.resets == 0) rig_turn(&r);
  CHECK(r.twin.record.failed_before == EG_FAIL_STACK, "%x", r.twin.record.failed_before);
  CHECK(r.twin.record.failed == 0, "%x", r.twin.record.failed);
  rig_turns(&r, 3);
  eg_twin_boot(&r.twin);
  CHECK(r.twin.record.failed_before == 0, "%x", r.twin.record.failed_before);
  CHECK(r.twin.record.reason == EG_RESET_WATCHDOG, "reason %u", r.twin.record.reason);
}

/* Zeros have a CRC too. */
static void ram_as_it_is_when_power_comes_is_no_record(void) {
  eg_record_t r, saved[EG_SAVES];
  memset(saved, 0, sizeof saved);
  memset(&r, 0, sizeof r);
  eg_record_save(&r, saved);
  CHECK(!eg_record_sealed(&saved[0]) && !eg_record_sealed(&saved[1]), "zeros pass as a record");
  eg_record_boot(&r, saved);
  CHECK(eg_record_sealed(&r) && r.reason == EG_RESET_POWER && r.resets == 0, "not a new one");
  CHECK(r.crc == eg_crc_of(&r, offsetof(eg_record_t, crc)),
        "another CRC than the one that board.h promises");
  for (uint32_t i = 0; i < EG_ARMS_PER_MINUTE; i++)
    CHECK(r.arm_us[i] == EG_AGE_MAX, "armed %u us before power came", r.arm_us[i]);
  for (uint32_t i = 0; i < sizeof r; i++) {
    ((uint8_t *)&r)[i] ^= 0x10u;
    CHECK(!eg_record_sealed(&r), "byte %u", i);
    ((uint8_t *)&r)[i] ^= 0x10u;
  }
}

static void what_was_in_ram_is_no_record(void) {
  eg_record_t r, saved[EG_SAVES];
  memset(saved, 0x5A, sizeof saved);
  memset(&r, 0x5A, sizeof r);
  eg_record_boot(&r, saved);
  CHECK(r.reason == EG_RESET_POWER && r.resets == 0 && r.commanded == 0, "%u resets", r.resets);
  CHECK(r.failed_before == 0 && r.failed == 0, "%x, %x", r.failed_before, r.failed);
  for (uint32_t i = 0; i < EG_OUTPUTS; i++) CHECK(r.output[i] == 0, "output %d", r.output[i]);
}

/* A reset while one is written: the other is as it was. And the counter may wrap. */
static void the_newest_whole_one_counts(void) {
  eg_record_t r, saved[EG_SAVES];
  memset(saved, 0, sizeof saved);
  eg_record_boot(&r, saved);
  for (uint32_t i = 0; i < 65540u; i++) {
    r.output[1] = (int32_t)i;
    eg_record_save(&r, saved);
    if (i > 3 && i < 65530u) continue;
    eg_record_t found, two[EG_SAVES];
    memcpy(two, saved, sizeof two);
    eg_record_boot(&found, two);
    CHECK(found.output[1] == (int32_t)i, "save %u: %d", i, found.output[1]);
    if (i == 0) continue;
    memcpy(two, saved, sizeof two);
    two[r.version % EG_SAVES].output[0] ^= 1;
    eg_record_boot(&found, two);
    CHECK(found.output[1] == (int32_t)i - 1, "cut save %u: %d", i, found.output[1]);
  }
}

static void the_slower_speed_counts(void) { /* backwards, too */
  static const int32_t speeds[][3] = {{5, 7, 5},    {7, 5, 5},    {6, 6, 6},
                                      {-5, -7, -5}, {-7, -5, -5}, {5, -6, 5},
                                      {-6, 7, -6},  {-1, 3, -1},  {5, -5, -5}};
  for (uint32_t i = 0; i < 2u * sizeof speeds / sizeof *speeds; i++) {
    const int32_t *speed = speeds[i / 2];
    eg_record_t r, saved[EG_SAVES];
    memset(saved, 0, sizeof saved);
    eg_record_boot(&r, saved);
    r.commanded = 1;
    r.output[EG_SPEED] = 8;               /* faster than any */
    if (i % 2) eg_record_save(&r, saved); /* either place may be the newer one */
    for (uint32_t j = 0; j < 2; j++) {
      r.output[EG_SPEED] = speed[j];
      eg_record_save(&r, saved);
    }
    eg_record_boot(&r, saved);
    CHECK(r.output[EG_SPEED] == speed[2], "%u: %d", i, r.output[EG_SPEED]);
  }
}

/* A save from before the first command, one that is cut, and what lies behind the saves. */
static void what_says_no_speed(void) {
  eg_record_t r, saved[EG_SAVES + 1];
  memset(saved, 0, sizeof saved);
  eg_record_boot(&r, saved);
  r.commanded = 1;
  r.output[EG_SPEED] = 9;
  eg_record_save(&r, saved);
  eg_record_t behind = r, other[2];
  behind.version++; /* to the even place, and the copy behind it is whole */
  behind.output[EG_SPEED] = 3;
  memset(other, 0, sizeof other);
  eg_record_save(&behind, other);
  saved[EG_SAVES] = behind;
  CHECK(eg_record_sealed(&saved[EG_SAVES]), "no record behind them");
  eg_record_boot(&r, saved);
  CHECK(r.output[EG_SPEED] == 9, "%d", r.output[EG_SPEED]);
  eg_record_save(&r, saved);
  saved[(r.version + 1u) % EG_SAVES].output[EG_SPEED] = 4;
  eg_record_boot(&r, saved);
  CHECK(r.output[EG_SPEED] == 9, "of a save that is not whole: %d", r.output[EG_SPEED]);
}

/* F18: at each call of the board in a turn. Two periods' steps at most from one output to the next:
 * that of the turn which was cut, and that of the first one after. */
static void in_the_middle_of_a_turn(void) {
  rig_t good, r;
  rig_steady(&good);
  const int32_t step = 2 * (Q(4) / 100 + 1);
  uint32_t call = 0;
  do {
    rig_copy(&r, &good);
    int32_t before = rig_out(&r, EG_SPEED);
    r.twin.reset_in = ++call;
    rig_turns(&r, 1);
    eg_link_close(&r.host);
    if (r.twin.pulled == 0) break;
    for (int i = 0; i < 3; i++) {
      int32_t was = rig_out(&r, EG_SPEED);
      rig_turns(&r, 1);
      int32_t apart = rig_out(&r, EG_SPEED) - was;
      CHECK(apart <= step && -apart <= step, "call %u: jumps by %d", call, apart);
    }
    CHECK(rig_out(&r, EG_SPEED) < before, "call %u: drives on", call);
    CHECK(r.twin.record.resets == 1 && r.twin.record.reason == EG_RESET_WATCHDOG, "call %u", call);
    CHECK(r.twin.record.arm_us[0] < EG_ARM_SPAN_US, "call %u: forgot that it was armed", call);
  } while (call < 100);
  CHECK(call > 6 && call < 100, "%u calls of the board in a turn", call);
}

/* From what the actuators have, a stop goes on in the next turn. Only in the moment between acting
 * and noting it does the record not know the one output from the other: then the lower one counts,
 * which while it speeds up is one more step away. */
static void in_the_middle_of_a_ramp(const rig_t *good, int32_t least) {
  const int32_t step = Q(4) / 100 + 1;
  rig_t r;
  uint32_t call = 0, late = 0;
  for (;;) {
    rig_copy(&r, good);
    uint32_t acted = r.twin.actuations;
    r.twin.reset_in = ++call;
    rig_step(&r);
    if (r.twin.pulled == 0) break;
    if (r.twin.actuations > acted) late++;
    int32_t was = rig_out(&r, EG_SPEED);
    rig_step(&r);
    int32_t fell = was - rig_out(&r, EG_SPEED);
    CHECK(fell >= least && fell <= 2 * step, "call %u: from %d by %d", call, was, fell);
    CHECK(late < 2 || fell <= step, "call %u: from %d by %d", call, was, fell);
  }
  CHECK(late > 2, "%u calls of the board after acting", late);
}

static void ramps(void) {
  rig_t r;
  rig_drive(&r, Q(20), 100);
  in_the_middle_of_a_ramp(&r, 0);
  r.mute = 1;
  rig_turns(&r, 20);
  CHECK(r.twin.mcu.out.mode == EG_SAFE_STOP, "mode %u", r.twin.mcu.out.mode);
  in_the_middle_of_a_ramp(&r, 1);
}

int main(void) {
  reasons();
  resets_in_the_middle();
  the_count_of_resets_saturates();
  failures_are_of_the_last_reset();
  ram_as_it_is_when_power_comes_is_no_record();
  what_was_in_ram_is_no_record();
  the_newest_whole_one_counts();
  the_slower_speed_counts();
  what_says_no_speed();
  in_the_middle_of_a_turn();
  ramps();
  return 0;
}
