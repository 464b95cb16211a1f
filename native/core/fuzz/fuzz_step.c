/* SPDX-License-Identifier: Apache-2.0 */
/* Any table: the check refuses it, or every step under any inputs keeps what the core promises. */
#include <stdlib.h>

#include "bytes.h"
#include "edgeguard/flow.h"

#define DEMAND(x)                                                                                  \
  if (!(x)) abort()

static int64_t gap(const eg_limits_t *l, int32_t x) {
  if (x < l->min) return (int64_t)l->min - x;
  return x > l->max ? (int64_t)x - l->max : 0;
}

/* The widest limits that any mode could have used, and the rate of one period. */
static void demand_ramp(const eg_policy_t *p, uint8_t channel, int32_t before, int32_t after) {
  const eg_limit_table_t *tables[2] = {&p->channel[channel].nominal, &p->channel[channel].degraded};
  int64_t rise = 0, fall = 0;
  bool outside = true;
  for (size_t t = 0; t < 2; t++) {
    for (size_t i = 0; i < tables[t]->rows; i++) {
      const eg_limits_t *l = &tables[t]->row[i].limits;
      int64_t up = eg_rate_step(l->rise, p->period_us, p->period_us);
      int64_t down = eg_rate_step(l->fall, p->period_us, p->period_us);
      if (up > rise) rise = up;
      if (down > fall) fall = down;
      if (gap(l, after) <= gap(l, before)) outside = false;
    }
  }
  DEMAND((int64_t)after - before <= rise && (int64_t)before - after <= fall);
  DEMAND(!outside || after == before || tables[0]->rows > 1 || tables[1]->rows > 1);
}

static void one_step(const eg_policy_t *p, eg_state_t *s, const eg_input_t *in) {
  eg_state_t before = *s;
  eg_decision_t out;
  eg_decide(p, s, in, &out);
  DEMAND(out.mode <= EG_SAFE_STOP);
  DEMAND(out.mode == (s->armed ? eg_worst(p, s->active) : EG_SAFE_STOP));
  DEMAND(out.answer == eg_flow_answer(in->question, out.sequence, out.check));
  for (uint32_t c = 0; c < EG_CAUSES; c++) {
    bool held = before.active & EG_BIT(c) && p->cause[c].clears != EG_CLEARS_ITSELF;
    DEMAND(!held || out.causes & EG_BIT(c));
  }
  for (uint8_t i = 0; i < p->channels; i++)
    if (out.active && before.channel[i].started)
      demand_ramp(p, i, before.channel[i].last, out.channel[i].command);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  bytes_t b = {data, size};
  eg_label_t label[6];
  eg_policy_t p = take_policy(&b, label);
  if (eg_policy_check(&p)) return 0;
  eg_state_t s;
  eg_input_t in;
  memset(&in, 0, sizeof in);
  eg_init(&p, &s);
  for (uint32_t i = 0; i < 64 && b.left; i++) {
    uint8_t act = take_u8(&b);
    if (i == 1 || act == 1) eg_arm(&p, &s);
    if (act == 2) (void)eg_rearm(&p, &s);
    if (act == 3) eg_takeover(&s);
    take_input(&b, &p, &in);
    one_step(&p, &s, &in);
  }
  return 0;
}
