/* SPDX-License-Identifier: Apache-2.0 */
#ifndef EDGEGUARD_FIXTURE_H
#define EDGEGUARD_FIXTURE_H

#include "edgeguard/core.h"

#define Q(x) ((int32_t)((x) * 65536))

/* Three members with one camera vote on a speed target of 0 to 36; raising asks for 3 votes of
 * 0.98, lowering for 2 of 0.80. Labels 0 to 5 mean 0, 10, 20 and 30 m/s; hold; another channel. */
eg_policy_t fixture_policy(void);

/* A state, its input and what came out: one guard in a test's hands. */
typedef struct {
  eg_policy_t policy;
  eg_state_t state;
  eg_input_t input;
  eg_decision_t out;
} guard_t;

void guard_start(guard_t *g); /* armed, at 20 m/s, rule 5 m/s */
void guard_say(guard_t *g, int member, int32_t label, int32_t certainty);
void guard_frame(guard_t *g, uint64_t hash);
uint32_t
guard_members(guard_t *g);   /* what member 0 stands for: the others are as fresh as can be */
void guard_tick(guard_t *g); /* one period, inputs age by it */
void guard_run(guard_t *g, int ticks, int32_t label,
               int32_t certainty); /* all say it, new frames */

#endif
