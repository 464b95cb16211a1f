/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: vote.c
 * Stub: voters_of plurality wanted operate
 * Unwind: 10
 * Mutants: 3c714639eb a32d82513d d91ca29d75
 * Why: where nobody said a value it makes no difference which one: a quorum is at least 1. */
voters_t STUB(voters_of)(const eg_policy_t *p, const eg_state_t *s, uint8_t channel) {
  voters_t nobody = {0};
  (void)p, (void)s, (void)channel;
  return nobody;
}

winner_t STUB(plurality)(const voters_t *v) {
  winner_t none = {0};
  (void)v;
  return none;
}

int32_t STUB(wanted)(const eg_policy_t *p, uint8_t channel, const winner_t *w, int32_t target) {
  (void)p, (void)channel, (void)w;
  SAME(false); /* not reached */
  return target;
}

uint32_t STUB(operate)(const eg_channel_t *c, const voters_t *v, const winner_t *w, int32_t want,
                       bool trusted, eg_channel_state_t *state, eg_command_t *out) {
  (void)c, (void)v, (void)w, (void)want, (void)trusted, (void)state, (void)out;
  SAME(false); /* not reached */
  return 0;
}

void harness(void) {
  eg_policy_t p;
  eg_state_t s;
  eg_command_t one, other;
  uint8_t channel;
  bool trusted;
  GIVEN(channel < EG_MAX_CHANNELS);
  GIVEN(p.channel[channel].demand[EG_RAISE].quorum >= 1);
  GIVEN(p.channel[channel].demand[EG_LOWER].quorum >= 1);
  other = one;
  SAME(A(eg_vote)(&p, &s, channel, trusted, &one) == B(eg_vote)(&p, &s, channel, trusted, &other));
  SAME(one.label == other.label && one.certainty == other.certainty);
  SAME(one.votes == other.votes && one.voters == other.voters && one.granted == other.granted);
}
