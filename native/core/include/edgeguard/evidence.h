/* SPDX-License-Identifier: Apache-2.0 */
/* What one inference says about itself, as the decision core reads it. Written by the
 * evidence kernel (native/kernels/evidence.cpp), the border between float and integers. */
#ifndef EDGEGUARD_EVIDENCE_H
#define EDGEGUARD_EVIDENCE_H

#include <stdint.h>

/* Q16.16: 65536 is 1.0, saturated at the ends of int32. Q0.16: 0 to 65536.
 * If bad is not 0, label is -1 and every other field is 0. */
typedef struct {
  int32_t label;        /* top class, or -1 when the model said nothing usable */
  int32_t value;        /* Q16.16 channel units, continuous members; else 0 */
  int32_t certainty;    /* Q0.16: max probability after temperature; 65536 for continuous members */
  int32_t margin;       /* Q0.16: top minus second probability; 65536 for continuous members */
  int32_t entropy;      /* Q16.16 nats */
  int32_t energy;       /* Q16.16: -T*logsumexp(logits/T) (Liu et al. 2020); 0 for probabilities */
  int32_t sum;          /* Q16.16 sum of the probabilities as given; 65536 for logits and values */
  int32_t bad;          /* scores that are NaN or Inf; all of them if the spec is unusable */
  int32_t out_of_range; /* probabilities outside [0,1]; values outside the declared range */
  int32_t rail;         /* quantized scores at the upper rail */
  int32_t distinct;     /* distinct raw score values, counted up to 3 */
} eg_evidence_t;

#endif
