/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "record.h"

void eg_replay_begin(eg_replay_t *r) {
  r->has_policy = r->knows_state = false;
  r->size = 0;
}

static eg_replay_result_t compared(const eg_replay_t *r, const uint8_t *record, size_t n) {
  return r->size == n && memcmp(r->bytes, record, n) == 0 ? EG_REPLAY_SAME : EG_REPLAY_DIFFERS;
}

static eg_replay_result_t takes_policy(eg_replay_t *r, const uint8_t *record, size_t n) {
  r->knows_state = false;
  r->has_policy =
      eg_read_policy(record, n, &r->policy, r->label) && eg_policy_check(&r->policy) == NULL;
  return r->has_policy ? EG_REPLAY_NOTHING : EG_REPLAY_MALFORMED;
}

/* What the core looks up by: it holds only what it has checked, a log may say anything. */
static bool may_be_state(const eg_policy_t *p, const eg_state_t *s) {
  for (size_t i = 0; i < p->members; i++) {
    const eg_member_state_t *m = &s->member[i];
    bool by_label = p->member[i].kind == EG_BY_LABEL;
    int32_t label = m->evidence.label;
    if (m->held && (label < 0 || (by_label && label >= (int32_t)p->labels))) return false;
  }
  for (size_t i = 0; i < p->cameras; i++)
    if (s->camera[i].seen > EG_FRAMES_KEPT) return false;
  return true;
}

/* Where the state is known, what was recorded must be it. */
static eg_replay_result_t takes_state(eg_replay_t *r, const uint8_t *record, size_t n) {
  eg_replay_result_t result = EG_REPLAY_NOTHING;
  if (r->knows_state) {
    r->size = eg_record_state(&r->policy, &r->state, r->bytes, sizeof r->bytes);
    result = compared(r, record, n);
  }
  r->knows_state =
      eg_read_state(&r->policy, record, n, &r->state) && may_be_state(&r->policy, &r->state);
  return r->knows_state ? result : EG_REPLAY_MALFORMED;
}

static eg_replay_result_t takes_decision(eg_replay_t *r, const uint8_t *record, size_t n) {
  int64_t t_ns = 0;
  if (!eg_read_decision(&r->policy, record, n, &t_ns, &r->in, &r->said)) return EG_REPLAY_MALFORMED;
  if (!r->knows_state) return EG_REPLAY_NOTHING;
  eg_decide(&r->policy, &r->state, &r->in, &r->made);
  r->size = eg_record_decision(&r->policy, t_ns, &r->in, &r->made, r->bytes, sizeof r->bytes);
  return compared(r, record, n);
}

static eg_replay_result_t takes_operation(eg_replay_t *r, const uint8_t *record, size_t n) {
  uint8_t result = 0;
  if (n != 2) return EG_REPLAY_MALFORMED;
  if (!r->knows_state) return EG_REPLAY_NOTHING;
  if (record[0] == EG_RECORD_ARM) eg_arm(&r->policy, &r->state);
  if (record[0] == EG_RECORD_TAKEOVER) eg_takeover(&r->state);
  if (record[0] == EG_RECORD_REARM) result = (uint8_t)eg_rearm(&r->policy, &r->state);
  r->size = eg_record_operation((eg_record_kind_t)record[0], result, r->bytes, sizeof r->bytes);
  return compared(r, record, n);
}

eg_replay_result_t eg_replay(eg_replay_t *r, const uint8_t *record, size_t n) {
  if (n == 0) return EG_REPLAY_MALFORMED;
  if (record[0] == EG_RECORD_POLICY) return takes_policy(r, record, n);
  if (!r->has_policy) return EG_REPLAY_MALFORMED;
  switch (record[0]) {
  case EG_RECORD_STATE: return takes_state(r, record, n);
  case EG_RECORD_DECISION: return takes_decision(r, record, n);
  case EG_RECORD_ARM:
  case EG_RECORD_REARM:
  case EG_RECORD_TAKEOVER: return takes_operation(r, record, n);
  case EG_RECORD_GAP: r->knows_state = false; return EG_REPLAY_NOTHING;
  case EG_RECORD_SCORES: return EG_REPLAY_NOTHING;
  default: return EG_REPLAY_MALFORMED;
  }
}
