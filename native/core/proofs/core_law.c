/* SPDX-License-Identifier: Apache-2.0 */
/* The envelope's law for one channel, on the code itself, with the limits of the moment as some
 * function of the table and the signal that keeps its contract. */
#include "contracts.h"
#include "uninterpreted_crc.h"

#include "envelope_law.h"
#include "command.c"

/*! links perceive.c flow.c; unwind 10 */
void prove_law(void) {
  eg_policy_t p;
  eg_state_t s;
  eg_input_t in;
  eg_decision_t out;
  eg_mode_t mode = (eg_mode_t)out.mode;
  const eg_channel_t *c = &p.channel[0];
  ASSUME(p.period_us >= 1 && p.period_us <= 1000000 && out.mode <= EG_SAFE_STOP && out.active);
  ASSUME(c->measured == EG_NONE || c->measured < EG_MAX_SIGNALS);
  ASSUME(c->table_signal == EG_NONE || c->table_signal < EG_MAX_SIGNALS);
  s.conflict = 0;
  int32_t last = s.channel[0].last, want = want_of(&p, &in, 0, mode, s.channel[0].target);
  eg_limits_t l = limits_now(&p, &in, c, mode);
  int64_t low = (int64_t)last - l.fall, high = (int64_t)last + l.rise;
  command(&p, &s, &in, 0, &out);
  int32_t given = out.channel[0].command;
  CHECK(given >= low && given <= high, "ENV-5 a bounded ramp, up and down");
  bool possible = low <= l.max && high >= l.min;
  CHECK(IMPLIES(possible, given >= l.min && given <= l.max && !s.conflict),
        "ENV-1 in range whenever a value is");
  CHECK(IMPLIES(low > l.max, given == low && s.conflict),
        "ENV-2, ENV-3 back from above, and said so");
  CHECK(IMPLIES(high < l.min, given == high && s.conflict), "ENV-2, ENV-3 back from below");
  CHECK(IMPLIES(want >= l.min && want <= l.max && want >= low && want <= high, given == want),
        "ENV-6 what may be had is given");
  REACHED;
}
