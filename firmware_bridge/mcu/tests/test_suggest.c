/* SPDX-License-Identifier: Apache-2.0 */
/* What a COMMAND counts for in the core: a member that is sure of what it says. */
#include "rig.h"

static void drives(rig_t *r, const char *what) {
  CHECK(rig_arm(r) == EG_ARM_OK, "%s: %u", what, r->armed.result);
  r->want[EG_SPEED] = Q(1);
  rig_turns(r, 100);
  CHECK(r->state.mode == EG_NOMINAL && rig_out(r, EG_SPEED) == Q(1), "%s: causes %x", what,
        r->state.causes);
}

/* Its certainty is 1, its scores add up to 1 and are three: no more, no less. */
static void is_sure_of_it(void) {
  rig_t r;
  eg_mcu_config_t config = rig_config();
  for (uint32_t i = 0; i < EG_OUTPUTS; i++) {
    config.policy.channel[i].demand[EG_RAISE].certainty = EG_ONE;
    config.policy.channel[i].demand[EG_LOWER].certainty = EG_ONE;
    config.policy.member[i].sum_min = config.policy.member[i].sum_max = EG_ONE;
    config.policy.member[i].min_distinct = 3;
  }
  rig_start_with(&r, &config);
  drives(&r, "sure");
}

static void is_late_by_its_age(void) {
  rig_t r;
  eg_mcu_config_t config = rig_config();
  config.policy.member[EG_SPEED].deadline_us = 9000;
  rig_start_with(&r, &config);
  drives(&r, "in time");
  r.command_age_us = 9000;
  rig_turn(&r);
  CHECK(r.state.causes & EG_BIT(EG_LATE), "causes %x", r.state.causes);
}

int main(void) {
  is_sure_of_it();
  is_late_by_its_age();
  return 0;
}
