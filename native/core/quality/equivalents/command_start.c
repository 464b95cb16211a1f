/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: command.c
 * Stub: start
 * Unwind: 12
 * Mutants: 4d3bbea76c
 * Why: the counter meets the number of channels, which is no more than EG_MAX_CHANNELS. */
void STUB(start)(const eg_channel_t *c, eg_channel_state_t *s, const eg_number_t *measured,
                 bool armed) {
  call((uint64_t)c->stop << 2 | (uint64_t)(measured != NULL) << 1 | armed);
  call((uint64_t)s->last);
}

const eg_number_t *eg_signal(const eg_policy_t *p, const eg_input_t *in, uint8_t index) {
  (void)p;
  return index == EG_NONE ? NULL : &in->signal[index % EG_MAX_SIGNALS];
}

void harness(void) {
  eg_policy_t p;
  eg_state_t s;
  eg_input_t in;
  GIVEN(p.channels <= EG_MAX_CHANNELS);
  A(eg_channels_start)(&p, &s, &in);
  side = 1;
  B(eg_channels_start)(&p, &s, &in);
  same_calls();
}
