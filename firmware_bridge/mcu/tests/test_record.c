/* SPDX-License-Identifier: Apache-2.0 */
/* What survives a reset. */
#include <string.h>

#include "rig.h"

static void reasons(void) { /* F18: the second reset does not hide the first */
  rig_t r;
  rig_start(&r);
  rig_turns(&r, 2);
  CHECK(r.boot.reason == EG_RESET_POWER && r.boot.first == EG_RESET_POWER, "%u", r.boot.reason);
  r.twin.record.next = EG_RESET_FAULT; /* as the handler of a processor exception does */
  eg_record_seal(&r.twin.record);
  eg_twin_boot(&r.twin);
  rig_turns(&r, 11); /* the first BOOT has a counter that the host knows already */
  CHECK(r.boot.reason == EG_RESET_FAULT && r.boot.first == EG_RESET_POWER, "%u", r.boot.reason);
  eg_twin_boot(&r.twin); /* by nobody who said so */
  rig_turns(&r, 11);
  CHECK(r.boot.reason == EG_RESET_WATCHDOG && r.boot.first == EG_RESET_FAULT, "%u %u",
        r.boot.reason, r.boot.first);
  CHECK(r.boot.resets == 2, "%u resets", r.boot.resets);
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
  r.twin.record.resets = UINT16_MAX;
  eg_record_seal(&r.twin.record);
  eg_twin_boot(&r.twin);
  rig_turns(&r, 11);
  CHECK(r.boot.resets == UINT16_MAX, "%u", r.boot.resets);
}

/* Zeros have a CRC too. */
static void ram_as_it_is_when_power_comes_is_no_record(void) {
  eg_record_t r;
  memset(&r, 0, sizeof r);
  eg_record_seal(&r);
  CHECK(!eg_record_sealed(&r), "zeros pass as a record");
  eg_record_boot(&r);
  CHECK(eg_record_sealed(&r) && r.reason == EG_RESET_POWER && r.resets == 0, "not a new one");
  for (uint32_t i = 0; i < sizeof r; i++) {
    ((uint8_t *)&r)[i] ^= 0x10u;
    CHECK(!eg_record_sealed(&r), "byte %u", i);
    ((uint8_t *)&r)[i] ^= 0x10u;
  }
}

int main(void) {
  reasons();
  resets_in_the_middle();
  the_count_of_resets_saturates();
  ram_as_it_is_when_power_comes_is_no_record();
  return 0;
}
