/* SPDX-License-Identifier: Apache-2.0 */
#include "contracts_envelope.h"

#include "envelope.c"

static int64_t eg_part_c(int64_t x, int64_t part, int64_t whole)
    REQUIRES(x >= -4294967295 && x <= 4294967295)
        REQUIRES(part >= 0 && part <= whole && whole > 0 && whole <= INT32_MAX) ASSIGNS()
            ENSURES(x >= 0 ? RET >= 0 && RET <= x : RET <= 0 && RET >= x);

static int32_t eg_clamp_c(int32_t x, int64_t low, int64_t high)
    REQUIRES(low <= INT32_MAX && high >= INT32_MIN) ASSIGNS()
        ENSURES(RET == (MIN(x, high) > low ? MIN(x, high) : low));

static int32_t between_c(int32_t a, int32_t b, int64_t part, int64_t whole)
    REQUIRES(part >= 0 && part <= whole && whole > 0 && whole <= INT32_MAX) ASSIGNS()
    /* ENV-7 */ ENSURES(BETWEEN(RET, a, b));

static eg_limits_t strictest_c(const eg_limit_table_t *t) REQUIRES(READS(t) && rows_ok(t)) ASSIGNS()
    /* ENV-7 */ ENSURES(RET.rise >= 1 && RET.fall >= 1 && RET.min <= RET.max)
    /* ENV-7 */ ENSURES(IMPLIES(a_row < t->rows, RET.rise <= ROW_A.rise && RET.fall <= ROW_A.fall &&
                                                     RET.max <= ROW_A.max && RET.min >= ROW_A.min));

/* x * part / whole in numbers without end, divided as C does: the quotient q and the rest r have
 * the sign of the dividend. The contract that bit vectors cannot decide, and that the product fits
 * into 64 bits. */
/*! proves eg_part; solver z3 */
void prove_part(void) {
  __CPROVER_integer x, part, whole, q, r;
  ASSUME(x >= 0 && x <= 4294967295);
  ASSUME(part >= 0 && part <= whole && whole > 0 && whole <= 2147483647);
  ASSUME(x * part == q * whole + r && r >= 0 && r < whole); /* -x: the same with -q and -r */
  CHECK(x * part <= 9223372036854775807, "ENV-7 the product fits into 64 bits, and its negative");
  CHECK(q >= 0 && q <= x, "ENV-7 a part is not more than the whole");
  REACHED;
}

/*! enforce eg_envelope_step; replace eg_clamp */
void prove_envelope_step(void) {
  eg_limits_t l;
  eg_envelope_step(&l, nondet_i32(), nondet_i32());
  REACHED;
}

/*! enforce eg_rate_step; replace eg_part */
void prove_rate_step(void) {
  eg_rate_step(nondet_i32(), nondet_u32(), nondet_u32());
  REACHED;
}

/*! enforce between; replace eg_part */
void prove_between(void) {
  int64_t part, whole;
  between(nondet_i32(), nondet_i32(), part, whole);
  REACHED;
}

/*! enforce strictest; unwind 10; seconds 12 */
void prove_strictest(void) {
  free_choice();
  eg_limit_table_t t;
  strictest(&t);
  REACHED;
}

/*! enforce eg_limits_at; replace strictest between; unwind 10; seconds 4 */
void prove_limits_at(void) {
  free_choice();
  eg_limit_table_t t;
  eg_number_t signal;
  bool there;
  eg_limits_at(&t, there ? &signal : NULL);
  REACHED;
}

/* Any step, however late: a command moves by no more than one period's worth of its rate, which is
 * a table's rate over periods of a second. */
/*! replace eg_part */
void prove_ramp(void) {
  eg_limits_t l, step;
  uint32_t elapsed = nondet_u32(), period = nondet_u32();
  ASSUME(limits_ok(&l) && period >= 1 && period <= 1000000);
  step = l;
  step.rise = eg_rate_step(l.rise, elapsed, period);
  step.fall = eg_rate_step(l.fall, elapsed, period);
  int32_t last = nondet_i32(), next = eg_envelope_step(&step, last, nondet_i32());
  CHECK((int64_t)next - last <= l.rise && (int64_t)last - next <= l.fall,
        "ENV-5 both directions, at no more than its rate");
  REACHED;
}

/* A policy whose stop command lies in all rows has tables that eg_limits_at can use. */
/*! unwind 10; seconds 7 */
void prove_tables_overlap(void) {
  eg_limit_table_t t;
  if (table_ok(&t, nondet_i32())) CHECK(rows_ok(&t), "ENV-7 what the policy's check lets pass");
  REACHED;
}
