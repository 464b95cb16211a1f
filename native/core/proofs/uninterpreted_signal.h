/* SPDX-License-Identifier: Apache-2.0 */
/* Instead of perceive.c: eg_signal as some function of its arguments that keeps its contract. */
#include "spec.h"

const eg_number_t *eg_signal(const eg_policy_t *p, const eg_input_t *in, uint8_t index) {
  if (index == EG_NONE || !SIGNAL_OK(p, in, index)) return NULL;
  eg_number_t *n = malloc(sizeof *n);
  ASSUME(n != NULL);
  n->validity = EG_VALID;
  n->value = SIGNAL_VALUE(in, index);
  return n;
}
