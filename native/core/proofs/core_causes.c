/* SPDX-License-Identifier: Apache-2.0 */
#include "contracts_causes.h"
#include "uninterpreted_crc.h"

#include "causes.c"

static uint32_t credit_us_c(const eg_policy_t *p, bool present, uint32_t elapsed_us)
    REQUIRES(READS(p)) ASSIGNS() ENSURES(RET == CREDIT(p, present, elapsed_us));

/*! enforce eg_debounce_step */
void prove_debounce_step(void) {
  eg_cause_row_t row;
  eg_debounce_t d;
  bool active, present;
  eg_debounce_step(&row, &d, active, present, nondet_u32());
  REACHED;
}

/*! enforce credit_us */
void prove_credit_us(void) {
  eg_policy_t p;
  bool present;
  credit_us(&p, present, nondet_u32());
  REACHED;
}

/*! enforce eg_causes_update; replace credit_us eg_debounce_step eg_flow_fold; object-bits 12;
 * fields 4; seconds 9 */
void prove_causes_update(void) {
  free_choice();
  eg_policy_t p;
  eg_state_t s;
  eg_causes_update(&p, &s, nondet_u32(), nondet_u32());
  REACHED;
}

/*! enforce eg_asks_operator; fields 4 */
void prove_asks_operator(void) {
  eg_policy_t p;
  eg_asks_operator(&p, nondet_u32());
  REACHED;
}

/*! enforce eg_worst; fields 4; seconds 3 */
void prove_worst(void) {
  free_choice();
  eg_policy_t p;
  eg_worst(&p, nondet_u32());
  REACHED;
}

/*! enforce eg_mode; replace eg_worst; fields 4; seconds 4 */
void prove_mode(void) {
  free_choice();
  eg_policy_t p;
  eg_state_t s;
  eg_mode(&p, &s);
  REACHED;
}

/*! enforce eg_rearm; fields 4; seconds 3 */
void prove_rearm(void) {
  free_choice();
  eg_policy_t p;
  eg_state_t s;
  eg_rearm(&p, &s);
  REACHED;
}

/* Adding causes never relaxes the mode, whatever the table says. */
/*! unwind 31; fields 4; seconds 4 */
void prove_worst_grows(void) {
  eg_policy_t p;
  uint32_t causes = nondet_u32(), more = nondet_u32();
  CHECK(eg_worst(&p, causes | more) >= eg_worst(&p, causes), "MODE-1 a cause never relaxes");
  REACHED;
}

/* A cause that is not acting, seen for `present_us` and unseen for `absent_us` since any moment:
 * its level is at least present - absent / 8. One step from any such state; so for every pattern,
 * as long as it is, and however long its steps are. Then the bound: once 10 * on_us have passed and
 * the cause was there for more than a fifth of them, it acts. */
/*! replace eg_debounce_step */
void prove_debounce_bound(void) {
  eg_cause_row_t row;
  eg_debounce_t d;
  uint64_t present_us, absent_us;
  ASSUME(present_us < (1ull << 56) && absent_us < (1ull << 56)); /* two thousand years */
  ASSUME(8 * (uint64_t)d.level_us + absent_us >= 8 * present_us);
  ASSUME(d.level_us < row.on_us || d.level_us == 0);
  uint32_t elapsed_us = nondet_u32();
  bool present, acts = eg_debounce_step(&row, &d, false, present, elapsed_us);
  present_us += present ? elapsed_us : 0;
  absent_us += present ? 0 : elapsed_us;
  CHECK(acts || 8 * (uint64_t)d.level_us + absent_us >= 8 * present_us,
        "DEB-1 the level keeps up with the pattern");
  CHECK(acts || d.level_us < row.on_us || d.level_us == 0, "DEB-1 below its threshold, or empty");
  bool fifth = 5 * present_us > present_us + absent_us;
  bool due = present_us + absent_us >= 10 * (uint64_t)row.on_us;
  CHECK(acts || !(due && fifth), "DEB-1 acts within its bound");
  REACHED;
}
