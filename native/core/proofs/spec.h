/* SPDX-License-Identifier: Apache-2.0 */
/* The language of the contracts, and what the core may take for granted: a policy that
 * eg_policy_check let pass (POL-1 proves that it gives all of this), a state that eg_init made.
 *
 * goto-cc defines no macro of its own that could switch contracts on, so these files are compiled
 * by nobody else; prove.py counts the postconditions in CBMC's report. */
#ifndef EDGEGUARD_SPEC_H
#define EDGEGUARD_SPEC_H

#include <stddef.h>
#include <stdlib.h>

#include "edgeguard/core.h"
#include "edgeguard/flow.h"

#define REQUIRES __CPROVER_requires
#define ENSURES __CPROVER_ensures
#define ASSIGNS __CPROVER_assigns
#define OLD __CPROVER_old
#define RET __CPROVER_return_value
#define READS(x) __CPROVER_r_ok((x), sizeof *(x))
#define WRITES(x) __CPROVER_rw_ok((x), sizeof *(x))
#define ASSUME __CPROVER_assume
#define CHECK(condition, text) __CPROVER_assert(condition, text)
/* Must fail: or else the proof is of nothing. */
#define REACHED __CPROVER_assert(0, "canary")

#define HAS(causes, cause) (((causes) & EG_BIT(cause)) != 0)
#define IMPLIES(a, b) (!(a) || (b))

/* The CRC, as some function of its two arguments: nothing is proved by knowing which. */
uint32_t __CPROVER_uninterpreted_crc32(uint32_t crc, uint32_t word);
#define CRC(crc, word) __CPROVER_uninterpreted_crc32(crc, word)
#define CRC_END(crc) ((crc) ^ 0xFFFFFFFFu)
#define FOLDED(s, k) ((s)->flow == CRC(CRC(OLD((s)->flow), (k)), (s)->check[k]))

/* "For every member" is written out, one conjunct each: an index that is not known costs far more.
 */
#define ALL4(f) (f(0) && f(1) && f(2) && f(3))
#define ALL7(f) (ALL4(f) && f(4) && f(5) && f(6))
#define ALL8(f) (ALL7(f) && f(7))
#define ALL16(f) (ALL8(f) && f(8) && f(9) && f(10) && f(11) && f(12) && f(13) && f(14) && f(15))
#define ALL29(f)                                                                                   \
  (ALL16(f) && f(16) && f(17) && f(18) && f(19) && f(20) && f(21) && f(22) && f(23) && f(24) &&    \
   f(25) && f(26) && f(27) && f(28))
#define ALL1(f) f(0)

/* Sizes of the host's build, or of the microcontroller's (prove.py --small). */
#ifdef EG_SMALL
#define SIZES (EG_MAX_MEMBERS == 4 && EG_MAX_CAMERAS == 1 && EG_MAX_SIGNALS == 4)
#define MORE_SIZES (EG_MAX_DETECTORS == 1 && EG_FRAMES_KEPT == 1)
#define ALL_MEMBERS ALL4
#define ALL_CAMERAS ALL1
#define ALL_DETECTORS ALL1
#define ANY_FRAME(f) f(0)
#else
#define SIZES (EG_MAX_MEMBERS == 8 && EG_MAX_CAMERAS == 4 && EG_MAX_SIGNALS == 16)
#define MORE_SIZES (EG_MAX_DETECTORS == 16 && EG_FRAMES_KEPT == 4)
#define ALL_MEMBERS ALL8
#define ALL_CAMERAS ALL4
#define ALL_DETECTORS ALL16
#define ANY_FRAME(f) (f(0) || f(1) || f(2) || f(3))
#endif
#define ALL_CHANNELS ALL4
#define ALL_CAUSES ALL29
#define ALL_ROWS ALL8

typedef char sizes_are_written_out[SIZES && MORE_SIZES && EG_MAX_CHANNELS == 4 && EG_CHECKS == 7 &&
                                           EG_CAUSES == 29 && EG_MAX_ROWS == 8 && EG_MAX_RUN == 4
                                       ? 1
                                       : -1];

uint32_t nondet_u32(void);
int32_t nondet_i32(void);
uint8_t nondet_u8(void);

/* Any one of each: what is proved of it holds for all. Chosen before a proof begins. */
static uint8_t a_member, a_camera, a_signal, a_detector, a_channel, a_cause, a_row;
static int32_t a_label; /* there may be 65535 */

static void free_choice(void) {
  a_member = nondet_u8(), a_camera = nondet_u8(), a_signal = nondet_u8();
  a_detector = nondet_u8(), a_channel = nondet_u8(), a_cause = nondet_u8(), a_row = nondet_u8();
  a_label = nondet_i32();
  ASSUME(a_member < EG_MAX_MEMBERS && a_camera < EG_MAX_CAMERAS && a_signal < EG_MAX_SIGNALS);
  ASSUME(a_detector < EG_MAX_DETECTORS && a_channel < EG_MAX_CHANNELS);
  ASSUME(a_cause < EG_CAUSES && a_row < EG_MAX_ROWS);
}

/* For any i < n, each as a number of its own: cheaper than one that is not known. */
#define FOR_ANY(i, n)                                                                              \
  for (uint8_t i = 0, chosen_##i = nondet_u8(); i < (n); i++)                                      \
    if (i == chosen_##i)

/* Words of more than one contract. */
#define AGED(age, by) ((uint64_t)(age) + (by) > UINT32_MAX ? UINT32_MAX : (age) + (by))
#define STEP_US(p, elapsed) ((elapsed) ? (elapsed) : (p)->period_us) /* a clock that stands */
#define WATCHED(p, elapsed) ((elapsed) != 0 && (elapsed) <= (p)->max_gap_us)
#define IN_RANGE(n, low, high)                                                                     \
  ((n)->validity == EG_VALID && (n)->value >= (low) && (n)->value <= (high))
/* Who only asks eg_signal is proved with signals of any content, see uninterpreted_signal.h. */
#ifdef OPAQUE_SIGNALS
bool __CPROVER_uninterpreted_signal_ok(const eg_policy_t *p, const eg_input_t *in, uint8_t i);
int32_t __CPROVER_uninterpreted_signal_value(const eg_input_t *in, uint8_t i);
#define SIGNAL_OK __CPROVER_uninterpreted_signal_ok
#define SIGNAL_VALUE __CPROVER_uninterpreted_signal_value
#else
#define SIGNAL_OK(p, in, i)                                                                        \
  IN_RANGE(&(in)->signal[(i) % EG_MAX_SIGNALS], (p)->signal[(i) % EG_MAX_SIGNALS].min,             \
           (p)->signal[(i) % EG_MAX_SIGNALS].max)
#define SIGNAL_VALUE(in, i) ((in)->signal[(i) % EG_MAX_SIGNALS].value)
#endif
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define LEAST_QUORUM(c) MIN((c)->demand[0].quorum, (c)->demand[1].quorum)

#define ONE_MEMBER (a_member < p->members)
#define MEMBER s->member[a_member]
#define SAYS in->member[a_member]
#define ONE_CHANNEL (a_channel < p->channels)
#define OUT out->channel[a_channel]
#define HERE s->channel[a_channel]

#endif
