/* SPDX-License-Identifier: Apache-2.0 */
#include "contracts_envelope.h"
#include "policy_parts.h"

static bool signal_ok_c(const eg_policy_t *p, uint8_t index) REQUIRES(READS(p)) ASSIGNS()
    ENSURES(RET == signal_index_ok(p, index));

static const char *check_cause_c(const eg_cause_row_t *row) REQUIRES(READS(row)) ASSIGNS()
    /* POL-1 */ ENSURES(IS_NULL == cause_ok(row));

static const char *check_row_c(const eg_policy_t *p, const eg_limit_table_t *t, uint8_t row,
                               int32_t stop)
    REQUIRES(READS(p) && READS(t) && p->period_us <= 1000000 && row < EG_MAX_ROWS) ASSIGNS()
    /* POL-1 */ ENSURES(IMPLIES(IS_NULL, row_ok(t, row, stop)));

static const char *check_table_c(const eg_policy_t *p, const eg_limit_table_t *t, int32_t stop)
    REQUIRES(READS(p) && READS(t) && p->period_us <= 1000000) ASSIGNS()
    /* POL-1 */ ENSURES(IMPLIES(IS_NULL, table_ok(t, stop)));

static uint32_t may_of_c(const eg_policy_t *p, uint8_t member, uint8_t channel)
    REQUIRES(READS(p) && member < EG_MAX_MEMBERS && channel < EG_MAX_CHANNELS) ASSIGNS()
        ENSURES(RET == may(p, member, channel));

static uint8_t granted_c(const eg_policy_t *p, uint8_t channel, uint32_t operation)
    REQUIRES(READS(p) && p->members <= EG_MAX_MEMBERS && channel < EG_MAX_CHANNELS)
        REQUIRES(operation < EG_OPERATIONS) ASSIGNS() ENSURES(RET <= p->members);

/*! enforce signal_ok */
void prove_signal_ok(void) {
  eg_policy_t p;
  signal_ok(&p, nondet_u8());
  REACHED;
}

/*! enforce check_cause */
void prove_check_cause(void) {
  eg_cause_row_t row;
  check_cause(&row);
  REACHED;
}

/*! enforce check_causes; replace check_cause; object-bits 10; seconds 15 */
void prove_check_causes(void) {
  eg_policy_t p;
  check_causes(&p);
  REACHED;
}

/*! enforce check_row; replace eg_rate_step */
void prove_check_row(void) {
  eg_policy_t p;
  eg_limit_table_t t;
  check_row(&p, &t, nondet_u8(), nondet_i32());
  REACHED;
}

/*! enforce check_table; replace check_row; unwind 10; object-bits 9; solver kissat; seconds 20 */
void prove_check_table(void) {
  eg_policy_t p;
  eg_limit_table_t t;
  check_table(&p, &t, nondet_i32());
  REACHED;
}

/*! enforce may_of */
void prove_may_of(void) {
  eg_policy_t p;
  may_of(&p, nondet_u8(), nondet_u8());
  REACHED;
}

/*! enforce granted; replace may_of; unwind 10 */
void prove_granted(void) {
  eg_policy_t p;
  granted(&p, nondet_u8(), nondet_u32());
  REACHED;
}

/*! enforce check_channel; replace signal_ok granted may_of check_table; unwind 10; fields 4;
 * object-bits 12; solver kissat; seconds 20 */
void prove_check_channel(void) {
  free_choice();
  eg_policy_t p;
  FOR_ANY(channel, EG_MAX_CHANNELS) check_channel(&p, channel);
  REACHED;
}

/*! enforce check_sizes; replace signal_ok */
void prove_check_sizes(void) {
  eg_policy_t p;
  check_sizes(&p);
  REACHED;
}

/*! enforce check_labels; loops core_policy.loops.json; seconds 4 */
void prove_check_labels(void) {
  free_choice();
  eg_policy_t p;
  some_policy(&p);
  check_labels(&p);
  REACHED;
}

/*! enforce check_parts; unwind 18; object-bits 9; seconds 9 */
void prove_check_parts(void) {
  eg_policy_t p;
  check_parts(&p);
  REACHED;
}
