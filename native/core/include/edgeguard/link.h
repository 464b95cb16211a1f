/* SPDX-License-Identifier: Apache-2.0 */
/* One end of the link between host and microcontroller; both ends run this code.
 *
 * Frame: E2E Profile 4 header (12), session word (4), payload (<= 40), tag (8 where the build asks
 * for it): at most 64 bytes, one CAN FD frame; on serial in COBS with a zero at both ends. E2E
 * length and CRC cover header, session word and payload; the tag covers these, the session, and the
 * round of the counter: how often it has wrapped, which both ends count and nobody sends. So a tag
 * holds for one frame of a session, however long that lasts.
 *
 * The session word, nonces of the arming folded to 32 bits, tells frames of another session where
 * there are no tags. It also keeps CRC and payload 32 known bits apart: only so is every burst of
 * up to 32 bits found, since the profile's CRC stands before the bytes that it covers.
 *
 * HELLO, CHALLENGE, ARM, ARMED and BOOT are of no session (zeros; their freshness is in the
 * nonces), all others of the open one; STATE is also sent and heard without.
 *
 * A received frame is accepted only with the right CRC, data id, session, tag, counter, age and
 * rate; each refusal is counted on its own, in that order. */
#ifndef EDGEGUARD_LINK_H
#define EDGEGUARD_LINK_H

#include "edgeguard/cmac.h"
#include "edgeguard/cobs.h"
#include "edgeguard/e2e.h"
#include "edgeguard/message.h"

#define EG_SESSION_WORD 4u
#define EG_FRAME_HEAD (EG_E2E_HEADER + EG_SESSION_WORD)              /* before the payload */
#define EG_FRAME_MAX (EG_FRAME_HEAD + EG_PAYLOAD_MAX + EG_TAG_BYTES) /* 64 */
#define EG_WIRE_MAX (EG_FRAME_MAX + 3u) /* COBS adds one, and the zeros */

#define EG_SESSION_BYTES (2u * EG_NONCE_BYTES)
#define EG_FRESH_BYTES (EG_SESSION_BYTES + 2u) /* what a tag covers beside the frame: the round */
/* No good COMMAND (MCU) or STATE (host) for that long: LOST. Found by a turn, which is up to 10 ms
 * later; with up to 2 ms on the wire and 2 ms that a turn takes the ramp begins within 50 ms. Two
 * frames of 10 ms may be lost and the third come 6 ms late. */
#define EG_LINK_TIMEOUT_US 36000u
#define EG_ROUND_TRIP_MAX_US 20000u  /* no arming above it */
#define EG_CLOCK_DRIFT_PPM 200u      /* how far the offset may move after arming */
#define EG_CLOCK_EARNED_MAX_US 2000u /* and not more at once than ten seconds of drift earn */
#define EG_ERROR_WINDOW 32u          /* expected frames that the error-rate rule looks back on */
#define EG_ERROR_WINDOW_MAX 6u       /* more bad ones than this (20 % of 32) is LINK_FAULTY */
#define EG_RATE_MAX_PER_PERIOD 2u    /* frames of one type in a link period, averaged over four */
#define EG_RATE_PERIODS 4u

typedef struct {
  uint8_t mcu;           /* which end this is */
  uint8_t authenticated; /* frames carry tags, and frames without one are ERROR: of the build */
  uint8_t key[EG_KEY_BYTES];
  uint32_t period_us;  /* link period = control period */
  uint32_t max_age_us; /* 2 control periods: an older command is refused (F12) */
} eg_link_config_t;

/* Every frame that came in is counted once; `lost` are those that did not. */
typedef struct {
  uint32_t accepted; /* OK or OKSOMELOST, tag, age and rate right */
  uint32_t lost;     /* counters that never came */
  uint32_t repeated;
  uint32_t reordered; /* WRONGSEQUENCE */
  uint32_t corrupted; /* not COBS, too short or long, or the CRC */
  uint32_t masked;    /* right CRC, but of another message, direction, version or session */
  uint32_t forged;    /* tag missing or wrong */
  uint32_t malformed; /* right in all of that, but no such message */
  uint32_t stale;     /* older than the limit */
  uint32_t future;    /* younger than can be, or no clock was measured */
  uint32_t excess;    /* above the rate cap */
  uint32_t unarmed;   /* needs a session and there is none */
} eg_link_counts_t;

typedef struct {
  uint32_t offset_us;    /* own clock minus the other's, modulo 2^32 */
  uint32_t error_us;     /* half the round trip, rounded up */
  uint32_t uncounted_us; /* time whose drift the offset did not gain yet */
  uint32_t back_us;      /* how far the offset may still be taken back */
  bool known;
} eg_clock_t;

typedef struct {
  eg_link_config_t config;
  uint8_t session[EG_SESSION_BYTES]; /* host's nonce, then the microcontroller's; 0 before */
  bool in_session;
  uint16_t counter[EG_MESSAGES];    /* of the next frame of each kind that goes out */
  uint16_t sent_round[EG_MESSAGES]; /* and its round */
  eg_e2e_receiver_t receiver[EG_MESSAGES];
  uint16_t heard_round[EG_MESSAGES]; /* of the last counter */
  eg_e2e_machine_t machine;          /* of the frames that must come every period */
  eg_clock_t clock;
  uint32_t quiet_us;               /* since the last good expected frame, saturating */
  uint32_t window;                 /* error-rate rule: one bit an expected frame, 1 is bad */
  uint32_t refused;                /* bad ones whose counters may be missed later */
  uint8_t worst;                   /* 1 + eg_e2e_result_t of bad ones since the last tick, or 0 */
  uint8_t ahead;                   /* good expected frames that no tick counted */
  uint8_t credit[EG_MESSAGES];     /* rate cap: frames that may still come */
  uint8_t held[EG_FRAME_MAX + 2u]; /* serial: bytes since the last zero; when full, too many */
  uint8_t holds;                   /* how many */
  eg_link_counts_t counts;
} eg_link_t;

void eg_link_init(eg_link_t *l, const eg_link_config_t *config);

/* Both nonces are known: from now on frames are of this session; counters, windows and time limits
 * start anew. The clock stays: it is measured before. */
void eg_link_open(eg_link_t *l, const uint8_t host_nonce[EG_NONCE_BYTES],
                  const uint8_t mcu_nonce[EG_NONCE_BYTES]);
/* The session ends; only what arms is heard (and STATE, by the host). */
void eg_link_close(eg_link_t *l);

/* From an echo: the other end's stamp, taken between our `sent_us` and `got_us`. False (and nothing
 * is set) when the round trip is above EG_ROUND_TRIP_MAX_US. */
bool eg_clock_measure(eg_clock_t *c, uint32_t sent_us, uint32_t got_us, uint32_t their_stamp_us);
/* Age of something that the other end stamped; false when it lies in the future beyond the error,
 * or nothing was measured. Whatever is more than 2^31 us old lies in the future.
 *
 * The offset follows drift: it gains what 200 ppm earned, so that a slow clock does not make all
 * frames old; and whenever a frame would be younger than half the round trip, it is taken back
 * until the frame is as old as that, by no more than it gained and drift earned on top. So it stays
 * within 200 ppm of what was measured, and the fastest frames are half a round trip old. */
bool eg_clock_age(eg_clock_t *c, uint32_t now_us, uint32_t their_stamp_us, uint32_t *age_us);
void eg_clock_tick(eg_clock_t *c, uint32_t elapsed_us);

/* Frame a message: E2E, tag. Returns the length, <= EG_FRAME_MAX; 0: no such type. For CAN FD as it
 * is. A HELLO or CHALLENGE that goes out begins a handshake: what answers it may have any counter,
 * since the other end may have restarted. */
uint16_t eg_link_frame(eg_link_t *l, const eg_message_t *m, uint8_t frame[EG_FRAME_MAX]);
/* The same in COBS with a zero before and after, <= EG_WIRE_MAX. */
uint16_t eg_link_wire(eg_link_t *l, const eg_message_t *m, uint8_t wire[EG_WIRE_MAX]);

/* A frame came in; true when it is accepted, and *m is what it says; else *m is not to be used.
 * `length` may be longer than the frame (CAN FD pads; with zeros, others are refused). */
bool eg_link_accept(eg_link_t *l, const uint8_t *frame, uint16_t length, uint32_t now_us,
                    eg_message_t *m);
/* A byte came in on serial; true when it completes a frame that is accepted. */
bool eg_link_byte(eg_link_t *l, uint8_t byte, uint32_t now_us, eg_message_t *m);

/* So much time has passed. Both ends say so before they look at what came in and before each tick,
 * so that silence is counted from the moment when the last good frame came. */
void eg_link_pass(eg_link_t *l, uint32_t elapsed_us);

/* Once a link period: the causes that are present, before debounce.
 * LINK_LOST: no good COMMAND (MCU) or STATE (host) for EG_LINK_TIMEOUT_US.
 * LINK_FAULTY: more than EG_ERROR_WINDOW_MAX of the last EG_ERROR_WINDOW of those were bad
 * (refused, or their counter never came), or the E2E state machine is INVALID. A frame above the
 * rate cap is bad whatever its type. To the machine a period is the worst that came in it; one good
 * frame more than that is kept for a period in which none comes. The MCU without a session expects
 * nothing: 0. */
uint32_t eg_link_tick(eg_link_t *l);

#endif
