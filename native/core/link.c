/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "arith.h"
#include "edgeguard/link.h"

#define BIT(type) (1u << (type))

/* Their freshness is in their nonces: they are of no session. */
#define ARMING                                                                                     \
  (BIT(EG_MSG_HELLO) | BIT(EG_MSG_ARM) | BIT(EG_MSG_CHALLENGE) | BIT(EG_MSG_ARMED) |               \
   BIT(EG_MSG_BOOT))
/* Heard without a session. */
#define ALWAYS (ARMING | BIT(EG_MSG_STATE))
/* What the host sends. */
#define OF_HOST (BIT(EG_MSG_CHALLENGE) - 1u)
#define OF_MCU ((BIT(EG_MESSAGES) - 1u) & ~OF_HOST)

#define CREDIT_MAX (EG_RATE_MAX_PER_PERIOD * EG_RATE_PERIODS)

static bool among(uint32_t types, uint8_t type) {
  return (types & BIT(type)) != 0;
}

/* ------------------------------------------------------------------ session */

/* Counters, windows and time limits begin anew. */
static void restart(eg_link_t *l) {
  memset(l->counter, 0, sizeof l->counter);
  memset(l->sent_round, 0, sizeof l->sent_round);
  memset(l->receiver, 0, sizeof l->receiver);
  memset(l->heard_round, 0, sizeof l->heard_round);
  memset(l->credit, CREDIT_MAX, sizeof l->credit);
  eg_e2e_machine_init(&l->machine);
  l->quiet_us = 0;
  l->window = 0;
  l->worst = 0;
  l->ahead = 0;
}

void eg_link_init(eg_link_t *l, const eg_link_config_t *config) {
  memset(l, 0, sizeof *l);
  l->config = *config;
  restart(l);
}

void eg_link_open(eg_link_t *l, const uint8_t host_nonce[EG_NONCE_BYTES],
                  const uint8_t mcu_nonce[EG_NONCE_BYTES]) {
  for (uint32_t i = 0; i < EG_NONCE_BYTES; i++) {
    l->session[i] = host_nonce[i];
    l->session[EG_NONCE_BYTES + i] = mcu_nonce[i];
  }
  l->in_session = true;
  restart(l);
}

void eg_link_close(eg_link_t *l) {
  memset(l->session, 0, sizeof l->session);
  l->in_session = false;
  l->clock.known = false;
  restart(l);
}

/* The session that a type is framed with: the open one, or zeros. */
static const uint8_t *session_of(const eg_link_t *l, uint8_t type) {
  static const uint8_t none[EG_SESSION_BYTES];
  return among(ARMING, type) ? none : l->session;
}

static void fold(const uint8_t session[EG_SESSION_BYTES], uint8_t word[EG_SESSION_WORD]) {
  for (uint32_t i = 0; i < EG_SESSION_WORD; i++)
    word[i] = session[i] ^ session[EG_SESSION_BYTES - 1u - i];
}

/* Whether its rounds are counted. What arms is fresh by its nonces; a STATE without a session is
 * not, since its ends did not begin together. */
static bool of_rounds(const eg_link_t *l, uint8_t type) {
  return l->in_session && !among(ARMING, type);
}

static void make_tag(const eg_link_t *l, uint8_t type, uint16_t round, const uint8_t *frame,
                     uint16_t n, uint8_t tag[EG_TAG_BYTES]) {
  uint8_t fresh[EG_FRESH_BYTES];
  memcpy(fresh, session_of(l, type), sizeof l->session);
  fresh[sizeof fresh - 2u] = (uint8_t)(round >> 8);
  fresh[sizeof fresh - 1u] = (uint8_t)round;
  eg_cmac(l->config.key, fresh, sizeof fresh, frame, n, tag);
}

/* --------------------------------------------------------------------- send */

/* What answers this type may have any counter. */
static void await(eg_link_t *l, uint8_t type) {
  if (type == EG_MSG_HELLO) {
    l->receiver[EG_MSG_CHALLENGE].started = 0;
    l->receiver[EG_MSG_ARMED].started = 0;
  }
  if (type == EG_MSG_CHALLENGE) l->receiver[EG_MSG_ARM].started = 0;
}

static void count_sent(eg_link_t *l, uint8_t type) {
  l->counter[type]++;
  if (l->counter[type] == 0) l->sent_round[type]++;
}

uint16_t eg_link_frame(eg_link_t *l, const eg_message_t *m, uint8_t frame[EG_FRAME_MAX]) {
  uint16_t size = eg_message_pack(m, frame + EG_FRAME_HEAD);
  if (size == 0) return 0;
  uint16_t n = (uint16_t)(EG_FRAME_HEAD + size);
  fold(session_of(l, m->type), frame + EG_E2E_HEADER);
  eg_e2e_protect(frame, n, l->counter[m->type], eg_message_data_id((eg_message_type_t)m->type));
  uint16_t round = of_rounds(l, m->type) ? l->sent_round[m->type] : 0;
  count_sent(l, m->type);
  await(l, m->type);
  if (!l->config.authenticated) return n;
  make_tag(l, m->type, round, frame, n, frame + n);
  return (uint16_t)(n + EG_TAG_BYTES);
}

uint16_t eg_link_wire(eg_link_t *l, const eg_message_t *m, uint8_t wire[EG_WIRE_MAX]) {
  uint8_t frame[EG_FRAME_MAX];
  uint16_t n = eg_link_frame(l, m, frame);
  if (n == 0) return 0;
  n = eg_cobs_encode(frame, n, wire + 1);
  wire[0] = 0;
  wire[n + 1u] = 0;
  return (uint16_t)(n + 2u);
}

/* ----------------------------------------------------------------- counting */

/* The type that must come every period. */
static bool expected(const eg_link_t *l, uint8_t type) {
  return type == (l->config.mcu ? EG_MSG_COMMAND : EG_MSG_STATE);
}

/* A bad one. */
static void note(eg_link_t *l, eg_e2e_result_t result) {
  uint8_t worst = (uint8_t)(result + 1u);
  l->window = (l->window << 1) | 1u;
  if (worst > l->worst) l->worst = worst;
}

/* Refused, after its counter was looked at. */
static bool refuse(eg_link_t *l, uint8_t type, uint32_t *count, eg_e2e_result_t result) {
  (*count)++;
  if (expected(l, type)) note(l, result);
  return false;
}

/* Refused: its counter will be missed, and is not counted as bad again then. */
static bool refuse_early(eg_link_t *l, uint8_t type, uint32_t *count, eg_e2e_result_t result) {
  if (expected(l, type)) l->refused++;
  return refuse(l, type, count, result);
}

/* So many counters did not come before this frame. */
static void miss(eg_link_t *l, uint8_t type, uint32_t lost) {
  l->counts.lost += lost;
  if (!expected(l, type)) return;
  for (uint32_t i = l->refused; i < lost; i++) note(l, EG_E2E_OKSOMELOST);
  l->refused = 0;
}

static bool welcome(eg_link_t *l, uint8_t type) {
  l->counts.accepted++;
  l->credit[type]--;
  if (!expected(l, type)) return true;
  l->window <<= 1;
  l->quiet_us = 0;
  l->ahead++;
  return true;
}

/* ------------------------------------------------------------------ receive */

/* Length and CRC are those of a frame, whatever it says; its head is there. */
static bool intact(const uint8_t *frame, uint16_t length) {
  uint16_t n = eg_get16(frame);
  return n >= EG_FRAME_HEAD && n <= length && eg_e2e_verify(frame, n, eg_get32(frame + 4));
}

static bool zeros(const uint8_t *data, uint16_t n) {
  uint8_t any = 0;
  for (uint16_t i = 0; i < n; i++) any |= data[i];
  return any == 0;
}

static bool from_other_end(const eg_link_t *l, uint8_t type) {
  return among(l->config.mcu ? OF_HOST : OF_MCU, type);
}

static bool of_session(const eg_link_t *l, uint8_t type, const uint8_t *frame) {
  uint8_t word[EG_SESSION_WORD];
  fold(session_of(l, type), word);
  return memcmp(word, frame + EG_E2E_HEADER, sizeof word) == 0;
}

/* Before the last one, by whichever way is shorter round the counter. */
static bool behind(const eg_e2e_receiver_t *r, uint16_t counter) {
  return r->started && (uint16_t)(counter - r->counter) > INT16_MAX;
}

/* In which round of its counter a frame was sent, if it is near the last one; of one that is not,
 * and was recorded long ago, the tag says no. */
static uint16_t round_of(const eg_link_t *l, uint8_t type, uint16_t counter) {
  const eg_e2e_receiver_t *r = &l->receiver[type];
  uint32_t last = ((uint32_t)l->heard_round[type] << 16) + r->counter;
  uint32_t round = (last + (uint16_t)(counter - r->counter)) >> 16;
  return (uint16_t)(round - (behind(r, counter) ? 1u : 0u));
}

static bool tag_right(const eg_link_t *l, uint8_t type, const uint8_t *frame, uint16_t n) {
  uint16_t round = of_rounds(l, type) ? round_of(l, type, eg_get16(frame + 2)) : 0;
  uint8_t tag[EG_TAG_BYTES];
  make_tag(l, type, round, frame, n, tag);
  return eg_tag_equal(tag, frame + n);
}

/* NULL: young enough, or it has no stamp. */
static uint32_t *untimely(eg_link_t *l, const eg_message_t *m, uint32_t now_us) {
  if (m->type != EG_MSG_COMMAND) return NULL;
  uint32_t age_us, limit_us = 2u * l->clock.error_us; /* the round trip of the arming */
  if (limit_us < l->config.max_age_us) limit_us = l->config.max_age_us;
  if (!eg_clock_age(&l->clock, now_us, m->as.command.stamp_us, &age_us)) return &l->counts.future;
  return age_us > limit_us ? &l->counts.stale : NULL;
}

/* It says something, in time, and not too often. */
static bool heed(eg_link_t *l, uint8_t type, const uint8_t *payload, uint16_t n, uint32_t now_us,
                 eg_message_t *m) {
  m->type = type;
  if (!eg_message_unpack(payload, n, m)) return refuse(l, type, &l->counts.malformed, EG_E2E_ERROR);
  uint32_t *count = untimely(l, m, now_us);
  if (count) return refuse(l, type, count, EG_E2E_ERROR);
  if (l->credit[type] == 0) {
    l->counts.excess++;
    note(l, EG_E2E_ERROR); /* whatever the type: too many frames are a fault by themselves */
    return false;
  }
  return welcome(l, type);
}

/* Whether it is new; the frame holds otherwise. In a session one from before is not followed: those
 * recorded after it would pass. */
static bool in_sequence(eg_link_t *l, uint8_t type, uint16_t counter) {
  if (of_rounds(l, type) && behind(&l->receiver[type], counter))
    return refuse(l, type, &l->counts.reordered, EG_E2E_WRONGSEQUENCE);
  uint16_t last = l->receiver[type].counter;
  l->heard_round[type] = round_of(l, type, counter);
  eg_e2e_result_t result = eg_e2e_sequence(&l->receiver[type], counter);
  if (result == EG_E2E_REPEATED) return refuse(l, type, &l->counts.repeated, result);
  if (result == EG_E2E_WRONGSEQUENCE) return refuse_early(l, type, &l->counts.reordered, result);
  miss(l, type, result == EG_E2E_OKSOMELOST ? (uint16_t)(counter - last - 1u) : 0);
  return true;
}

/* Who sent it, and in which session; NULL: the other end, in this one. */
static uint32_t *stranger(eg_link_t *l, uint8_t type, const uint8_t *frame) {
  if (!from_other_end(l, type)) return &l->counts.masked;
  if (!l->in_session && !among(ALWAYS, type)) return &l->counts.unarmed;
  return of_session(l, type, frame) ? NULL : &l->counts.masked;
}

/* The tag where there must be one, and nothing but padding behind; NULL: both right. */
static uint32_t *untrue(eg_link_t *l, uint8_t type, const uint8_t *frame, uint16_t length) {
  uint16_t n = eg_get16(frame), end = n;
  if (l->config.authenticated) {
    end = (uint16_t)(n + EG_TAG_BYTES);
    if (end > length || !tag_right(l, type, frame, n)) return &l->counts.forged;
  }
  return zeros(frame + end, (uint16_t)(length - end)) ? NULL : &l->counts.corrupted;
}

bool eg_link_accept(eg_link_t *l, const uint8_t *frame, uint16_t length, uint32_t now_us,
                    eg_message_t *m) {
  if (length < EG_FRAME_HEAD || length > EG_FRAME_MAX) {
    l->counts.corrupted++; /* of no type */
    return false;
  }
  uint8_t type = eg_message_type(eg_get32(frame + 4));
  if (!intact(frame, length)) return refuse_early(l, type, &l->counts.corrupted, EG_E2E_ERROR);
  uint32_t *count = stranger(l, type, frame);
  if (count == NULL) count = untrue(l, type, frame, length);
  if (count) return refuse_early(l, type, count, EG_E2E_ERROR);
  if (!in_sequence(l, type, eg_get16(frame + 2))) return false;
  uint16_t n = (uint16_t)(eg_get16(frame) - EG_FRAME_HEAD);
  return heed(l, type, frame + EG_FRAME_HEAD, n, now_us, m);
}

bool eg_link_byte(eg_link_t *l, uint8_t byte, uint32_t now_us, eg_message_t *m) {
  uint8_t frame[EG_FRAME_MAX], n = l->holds;
  if (byte != 0) {
    if (n == sizeof l->held) return false; /* too long already */
    l->held[n] = byte;
    l->holds++;
    return false;
  }
  l->holds = 0;
  if (n == 0) return false; /* between two frames */
  uint16_t length = eg_cobs_decode(l->held, n, frame, sizeof frame);
  return eg_link_accept(l, frame, length, now_us, m); /* 0 when it was no frame: too short */
}

/* --------------------------------------------------------------------- time */

static uint32_t ones(uint32_t x) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < EG_ERROR_WINDOW; i++) n += (x >> i) & 1u;
  return n;
}

static void refill(eg_link_t *l) {
  for (uint32_t t = 0; t < EG_MESSAGES; t++) {
    uint32_t credit = (uint32_t)l->credit[t] + EG_RATE_MAX_PER_PERIOD;
    l->credit[t] = (uint8_t)(credit > CREDIT_MAX ? CREDIT_MAX : credit);
  }
}

void eg_link_pass(eg_link_t *l, uint32_t elapsed_us) {
  eg_clock_tick(&l->clock, elapsed_us);
  l->quiet_us = eg_age_add(l->quiet_us, elapsed_us);
}

/* What a period counts as: the worst that came. Frames that come about when a tick does fall two
 * into one period and none into the next: a good one that a period did not count is kept for one
 * that has none. */
static eg_e2e_result_t of_period(eg_link_t *l) {
  uint32_t none = l->ahead ? EG_E2E_OK : EG_E2E_NONEWDATA;
  uint32_t result = l->worst ? l->worst - 1u : none;
  uint32_t counted = result <= EG_E2E_OKSOMELOST ? 1u : 0u;
  l->ahead = l->ahead >= 1u + counted ? 1u : 0u;
  l->worst = 0;
  return (eg_e2e_result_t)result;
}

uint32_t eg_link_tick(eg_link_t *l) {
  refill(l);
  eg_e2e_result_t result = of_period(l);
  if (l->config.mcu && !l->in_session) return 0;
  eg_e2e_state_t state = eg_e2e_machine_step(&l->machine, result);
  uint32_t present = 0;
  if (l->quiet_us >= EG_LINK_TIMEOUT_US) present |= EG_BIT(EG_LINK_LOST);
  if (ones(l->window) > EG_ERROR_WINDOW_MAX || state == EG_E2E_INVALID)
    present |= EG_BIT(EG_LINK_FAULTY);
  return present;
}
