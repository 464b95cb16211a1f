/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: policy.c
 * Stub: check_sizes check_causes check_labels check_parts check_channel
 * Unwind: 260
 * Mutants: 4f98aa76ae
 * Why: the counter meets the number of channels. */
static const char *sizes, *causes, *labels, *parts, *channel_of[256];

const char *STUB(check_sizes)(const eg_policy_t *p) {
  (void)p;
  return sizes;
}

const char *STUB(check_causes)(const eg_policy_t *p) {
  (void)p;
  return causes;
}

const char *STUB(check_labels)(const eg_policy_t *p) {
  (void)p;
  return labels;
}

const char *STUB(check_parts)(const eg_policy_t *p) {
  (void)p;
  return parts;
}

const char *STUB(check_channel)(const eg_policy_t *p, uint8_t channel) {
  (void)p;
  call(channel);
  return channel_of[channel];
}

static const char *any(void) {
  bool wrong;
  return wrong ? "wrong" : NULL;
}

void harness(void) {
  eg_policy_t p;
  sizes = any();
  causes = any();
  labels = any();
  parts = any();
  for (int i = 0; i < 256; i++) channel_of[i] = any();
  const char *a = A(eg_policy_check)(&p);
  side = 1;
  SAME(a == B(eg_policy_check)(&p));
  same_calls();
}
