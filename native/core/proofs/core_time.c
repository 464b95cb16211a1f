/* SPDX-License-Identifier: Apache-2.0 */
#include "contracts_time.h"
#include "uninterpreted_crc.h"

#include "time.c"

static uint32_t eg_age_add_c(uint32_t age_us, uint32_t elapsed_us) ASSIGNS()
    /* TIME-1 */ ENSURES(RET == AGED(age_us, elapsed_us));

static int32_t eg_clamp_c(int32_t x, int64_t low, int64_t high)
    REQUIRES(low <= INT32_MAX && high >= INT32_MIN) ASSIGNS()
        ENSURES(RET == (MIN(x, high) > low ? MIN(x, high) : low));

/*! enforce eg_age_add */
void prove_age_add(void) {
  eg_age_add(nondet_u32(), nondet_u32());
  REACHED;
}

/*! enforce eg_clamp */
void prove_clamp(void) {
  int64_t low, high;
  eg_clamp(nondet_i32(), low, high);
  REACHED;
}

/*! enforce eg_time_advance; replace eg_age_add eg_flow_fold; unwind 10; fields 4; object-bits 10 */
void prove_time_advance(void) {
  free_choice();
  eg_policy_t p;
  eg_state_t s;
  eg_time_advance(&p, &s, nondet_u32());
  REACHED;
}

/* The age that is kept against the one that a clock without end would show: equal up to the
 * greatest one that can be kept, and never less after it. One step from any such state, for any
 * number of steps and any time that they take. */
/*! replace eg_age_add; unwind 10 */
void prove_true_age(void) {
  uint32_t age = nondet_u32(), elapsed = nondet_u32();
  uint64_t true_age;
  ASSUME(true_age <= UINT64_MAX - UINT32_MAX &&
         age == (true_age > UINT32_MAX ? UINT32_MAX : true_age));
  true_age += elapsed;
  age = eg_age_add(age, elapsed);
  CHECK(age == (true_age > UINT32_MAX ? UINT32_MAX : true_age), "TIME-1 no wrap, at any age");
  uint32_t limit = nondet_u32();
  CHECK(IMPLIES(true_age > limit && limit != EG_AGE_MAX, age > limit), "TIME-1 stale stays stale");
  REACHED;
}
