/* SPDX-License-Identifier: Apache-2.0 */
/* Who looks into the label table of any size: perceive.c. */
#define REAL_LABELS
#include "core_perceive.c"

/*! enforce may_suggest_for/may_suggest_for_c */
void prove_may_suggest_for(void) {
  eg_policy_t p;
  eg_member_t m;
  some_policy(&p);
  may_suggest_for(&p, &m, nondet_i32());
  REACHED;
}
