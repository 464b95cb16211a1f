/* SPDX-License-Identifier: Apache-2.0 */
/* What the decision core got and gave, as bytes that are the same on every processor:
 * little-endian, without padding, and of each array only what the policy uses. A tape is a row of
 * such records:
 *
 *   POLICY    once, first
 *   STATE     before the first decision, after every gap, and now and then between
 *   DECISION  when, the whole input, the whole output
 *   ARM, REARM, TAKEOVER   what changes the state between two decisions
 *   SCORES    raw scores of a member, for people: no decision is computed from them
 *   GAP       how many records are missing here
 *
 * Whoever has a tape can compute every decision again, without any model. Nothing here decides. */
#ifndef EDGEGUARD_RECORD_H
#define EDGEGUARD_RECORD_H

#include <stddef.h>

#include "edgeguard/core.h"

#define EG_RECORD_VERSION 2u /* of all layouts; part of POLICY */

typedef enum {
  EG_RECORD_POLICY = 1,
  EG_RECORD_STATE,
  EG_RECORD_DECISION,
  EG_RECORD_ARM,
  EG_RECORD_REARM,
  EG_RECORD_TAKEOVER,
  EG_RECORD_SCORES,
  EG_RECORD_GAP
} eg_record_kind_t;

#define EG_RECORD_MAX 4096u /* bytes that any of them needs but POLICY and SCORES */
#define EG_RECORD_POLICY_MAX (EG_RECORD_MAX + 5u * UINT16_MAX)

/* Each returns the bytes written to `out`, or 0 when `room` is too small. */
size_t eg_record_policy(const eg_policy_t *p, uint8_t *out, size_t room);
size_t eg_record_state(const eg_policy_t *p, const eg_state_t *s, uint8_t *out, size_t room);
size_t eg_record_decision(const eg_policy_t *p, int64_t t_ns, const eg_input_t *in,
                          const eg_decision_t *d, uint8_t *out, size_t room);
size_t eg_record_operation(eg_record_kind_t kind, uint8_t result, uint8_t *out, size_t room);
size_t eg_record_gap(uint32_t lost, uint8_t *out, size_t room);

/* false: not this kind of record, cut short, or something is left over. `label` has room for
 * UINT16_MAX; the policy points to it. */
bool eg_read_policy(const uint8_t *record, size_t n, eg_policy_t *p, eg_label_t *label);
bool eg_read_state(const eg_policy_t *p, const uint8_t *record, size_t n, eg_state_t *s);
bool eg_read_decision(const eg_policy_t *p, const uint8_t *record, size_t n, int64_t *t_ns,
                      eg_input_t *in, eg_decision_t *d);

/* A tape, played again. */
typedef struct {
  eg_policy_t policy;
  eg_label_t label[UINT16_MAX];
  eg_state_t state;
  bool has_policy, knows_state;
  eg_input_t in;
  eg_decision_t said, made; /* of the last DECISION: as recorded, and as computed again */
  uint8_t bytes[EG_RECORD_MAX];
  size_t size; /* of what the last record should have been, in `bytes` */
} eg_replay_t;

typedef enum {
  EG_REPLAY_SAME,     /* computed again, bit for bit */
  EG_REPLAY_NOTHING,  /* nothing to compute */
  EG_REPLAY_DIFFERS,  /* the core comes to something else: see `bytes` */
  EG_REPLAY_MALFORMED /* no such record, or a policy that the core refuses */
} eg_replay_result_t;

void eg_replay_begin(eg_replay_t *r);
eg_replay_result_t eg_replay(eg_replay_t *r, const uint8_t *record, size_t n);

#endif
