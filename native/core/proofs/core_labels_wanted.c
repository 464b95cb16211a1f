/* SPDX-License-Identifier: Apache-2.0 */
/* Who looks into the label table of any size: vote.c. */
#define REAL_LABELS
#include "core_vote.c"

/*! enforce wanted/wanted_c; unwind 10; seconds 12 */
void prove_wanted(void) {
  eg_policy_t p;
  some_policy(&p);
  winner_t w;
  FOR_ANY(channel, EG_MAX_CHANNELS) wanted(&p, channel, &w, nondet_i32());
  REACHED;
}
