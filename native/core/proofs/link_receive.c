/* SPDX-License-Identifier: Apache-2.0 */
#define OPAQUE_TYPES
#include "link_uninterpreted_tag.h"

#include "link.c"

/* The parts of eg_link_accept. */
#define HERE_IS(frame, n) __CPROVER_r_ok(frame, n)

static bool zeros_c(const uint8_t *data, uint16_t n) REQUIRES(n <= EG_FRAME_MAX && HERE_IS(data, n))
    ASSIGNS()
    /* LINK-3 */ ENSURES(IMPLIES(RET &&a_byte < n, data[a_byte] == 0));

static bool intact_c(const uint8_t *frame, uint16_t length)
    REQUIRES(length >= EG_FRAME_HEAD && length <= EG_FRAME_MAX && HERE_IS(frame, length)) ASSIGNS()
    /* LINK-1 */ ENSURES(RET == crc_ok(frame, length));

static bool of_session_c(const eg_link_t *l, uint8_t type, const uint8_t *frame)
    REQUIRES(READS(l) && type < EG_MESSAGES && HERE_IS(frame, EG_FRAME_HEAD)) ASSIGNS()
    /* LINK-2 */ ENSURES(RET == word_ok(l, type, frame + EG_E2E_HEADER));

static bool tag_right_c(const eg_link_t *l, uint8_t type, const uint8_t *frame, uint16_t n)
    REQUIRES(READS(l) && type < EG_MESSAGES && n <= EG_FRAME_MAX - EG_TAG_BYTES &&
             HERE_IS(frame, n + EG_TAG_BYTES) && n >= EG_FRAME_HEAD) ASSIGNS()
    /* LINK-3 */ ENSURES(RET == tag_ok(l, type, ROUND_OF(l, type, BE16(frame + 2)), frame, n));

#define MOVED(t)                                                                                   \
  (WHOLE(l->heard_round[t], l->receiver[t].counter) -                                              \
   WHOLE(OLD(l->heard_round[t]), OLD(l->receiver[t].counter)))

static bool in_sequence_c(eg_link_t *l, uint8_t type, uint16_t counter) REQUIRES(WRITES(l))
    REQUIRES(link_ok(l) && type < EG_MESSAGES && a_type < EG_MESSAGES)
        ASSIGNS(l->counts.repeated, l->counts.reordered, l->counts.lost, l->window, l->worst,
                l->refused, l->receiver[type], l->heard_round[type])
            ENSURES(l->worst <= EG_E2E_RESULTS)
    /* LINK-4 */ ENSURES(RET == FOLLOWS(type, counter))
    /* LINK-14 */ ENSURES(IMPLIES(RET, WHOLE(l->heard_round[type], l->receiver[type].counter) ==
                                           WHOLE_OF(OLD(l->receiver[type].started),
                                                    OLD(l->heard_round[type]),
                                                    OLD(l->receiver[type].counter), counter)))
    /* LINK-14 */ ENSURES(IMPLIES(ROUNDS(l, type) && OLD(l->receiver[type].started),
                                  MOVED(type) < 0x8000))
    /* LINK-14 */ ENSURES(IMPLIES(ROUNDS(l, type) &&
                                      BEHIND(OLD(l->receiver[type].started),
                                             OLD(l->receiver[type].counter), counter),
                                  MOVED(type) == 0))
    /* LINK-9 */ ENSURES(IMPLIES(!RET && type == EXPECTED(l),
                                 l->window == (OLD(l->window) << 1 | 1u)))
    /* LINK-9 */ ENSURES(IMPLIES(RET &&type == EXPECTED(l) && OLD(l->refused) == 0,
                                 l->window == (OLD(l->window) << (DELTA_OF(type, counter) - 1u) |
                                               ((1u << (DELTA_OF(type, counter) - 1u)) - 1u))))
    /* LINK-7 */ ENSURES(NOW(repeated) + NOW(reordered) == !RET && ONE_MORE(repeated) &&
                         ONE_MORE(reordered));

static bool heed_c(eg_link_t *l, uint8_t type, const uint8_t *payload, uint16_t n, uint32_t now_us,
                   eg_message_t *m) REQUIRES(WRITES(l) && WRITES(m))
    REQUIRES(link_ok(l) && type < EG_MESSAGES && HERE_IS(payload, n))
        ASSIGNS(*m, l->counts.accepted, l->counts.malformed, l->counts.stale, l->counts.future,
                l->counts.excess, l->window, l->worst, l->ahead, l->quiet_us, l->credit[type],
                CLOCK_STATE(l)) ENSURES(link_ok(l))
    /* LINK-1 */ ENSURES(IMPLIES(RET, m->type == type && n == size_of(type) && fields_ok(m)))
    /* LINK-5 */ ENSURES(IMPLIES(RET &&type == EG_MSG_COMMAND,
                                 young(l, now_us, m->as.command.stamp_us)))
    /* LINK-6 */ ENSURES(IMPLIES(RET, OLD(l->credit[type]) != 0 &&
                                          l->credit[type] == OLD(l->credit[type]) - 1))
    /* LINK-7 */ ENSURES(RET == NOW(accepted))
    /* LINK-7 */ ENSURES(NOW(accepted) + NOW(malformed) + NOW(stale) + NOW(future) + NOW(excess) ==
                         1)
    /* LINK-7 */ ENSURES(ONE_MORE(accepted) && ONE_MORE(malformed) && ONE_MORE(stale) &&
                         ONE_MORE(future) && ONE_MORE(excess))
    /* LINK-9 */ ENSURES(IMPLIES(!RET && (type == EXPECTED(l) || NOW(excess)),
                                 l->window == (OLD(l->window) << 1 | 1u)))
    /* LINK-8 */ ENSURES(IMPLIES(!RET, l->quiet_us == OLD(l->quiet_us) &&
                                           l->credit[type] == OLD(l->credit[type])))
    /* LINK-8 */ ENSURES(IMPLIES(RET, EXPECTED(l) == type
                                          ? l->quiet_us == 0 && (l->window & 1u) == 0
                                          : l->quiet_us == OLD(l->quiet_us)));

/*! enforce zeros; unwind 66 */
void prove_zeros(void) {
  free_link_choice();
  uint16_t n;
  uint8_t *data = malloc(n);
  ASSUME(data != NULL);
  zeros(data, n);
  REACHED;
}

/* A frame of any length. */
#define FRAME(frame, length)                                                                       \
  uint16_t length;                                                                                 \
  uint8_t *frame = malloc(length);                                                                 \
  ASSUME(frame != NULL)

/*! enforce intact; replace eg_e2e_verify eg_get16 eg_get32 */
void prove_intact(void) {
  FRAME(frame, length);
  intact(frame, length);
  REACHED;
}

/*! enforce of_session */
void prove_of_session(void) {
  eg_link_t l;
  FRAME(frame, length);
  of_session(&l, nondet_u8(), frame);
  REACHED;
}

/*! enforce tag_right; replace eg_get16 eg_tag_equal */
void prove_tag_right(void) {
  eg_link_t l;
  FRAME(frame, length);
  uint16_t n;
  tag_right(&l, nondet_u8(), frame, n);
  REACHED;
}

/*! enforce in_sequence; replace eg_e2e_sequence; flags --unwindset miss.0:4 */
void prove_in_sequence(void) {
  eg_link_t l;
  uint16_t counter;
  free_link_choice();
  in_sequence(&l, nondet_u8(), counter);
  REACHED;
}

/*! enforce heed; replace eg_message_unpack eg_clock_age; seconds 6 */
void prove_heed(void) {
  eg_link_t l;
  uint16_t n;
  uint8_t *payload = malloc(n);
  ASSUME(payload != NULL);
  eg_message_t m;
  heed(&l, nondet_u8(), payload, n, nondet_u32(), &m);
  REACHED;
}

/*! enforce eg_link_accept; replace eg_message_type eg_get16 eg_get32 intact of_session tag_right
 * zeros in_sequence heed; seconds 15 */
void prove_link_accept(void) {
  eg_link_t l;
  FRAME(frame, length);
  eg_message_t m;
  free_link_choice();
  eg_link_accept(&l, frame, length, nondet_u32(), &m);
  REACHED;
}
