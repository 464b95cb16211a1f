/* SPDX-License-Identifier: Apache-2.0 */
/* One end of the link between host and microcontroller; both ends run this code.
 *
 * Frame: E2E Profile 4 header (12), payload (<= 44), tag (8 where the build asks for it): at most 64
 * bytes, one CAN FD frame; on serial in COBS with a zero at both ends. A received frame is accepted
 * only with the right CRC, data id, counter, tag, age and rate; each refusal is counted on its own. */
#ifndef EDGEGUARD_LINK_H
#define EDGEGUARD_LINK_H

#include "edgeguard/cmac.h"
#include "edgeguard/cobs.h"
#include "edgeguard/e2e.h"
#include "edgeguard/message.h"

#define EG_FRAME_MAX (EG_E2E_HEADER + EG_PAYLOAD_MAX + EG_TAG_BYTES) /* 64 */
#define EG_WIRE_MAX (EG_FRAME_MAX + 3u) /* COBS adds one, and the zeros */

#define EG_LINK_TIMEOUT_US 40000u     /* no good COMMAND (MCU) or STATE (host) for that long: LOST */
#define EG_ROUND_TRIP_MAX_US 20000u   /* no arming above it */
#define EG_CLOCK_DRIFT_PPM 200u       /* how far the offset may move after arming */
#define EG_ERROR_WINDOW 32u           /* expected frames that the error-rate rule looks back on */
#define EG_ERROR_WINDOW_MAX 6u        /* more bad ones than this (20 % of 32) is LINK_FAULTY */
#define EG_RATE_MAX_PER_PERIOD 2u     /* frames of one kind in a link period, averaged over four */

typedef struct {
  uint8_t mcu;           /* which end this is */
  uint8_t authenticated; /* frames carry tags, and frames without one are ERROR: of the build */
  uint8_t key[EG_KEY_BYTES];
  uint32_t period_us;    /* link period = control period */
  uint32_t max_age_us;   /* 2 control periods: an older command is refused (F12) */
} eg_link_config_t;

/* Every frame that came in is counted once. */
typedef struct {
  uint32_t accepted;   /* OK or OKSOMELOST, tag, age and rate right */
  uint32_t lost;       /* counters that never came */
  uint32_t repeated;
  uint32_t reordered;  /* WRONGSEQUENCE */
  uint32_t corrupted;  /* not COBS, too short, or the CRC */
  uint32_t masked;     /* right CRC, data id of another message, direction or version */
  uint32_t forged;     /* tag missing or wrong */
  uint32_t malformed;  /* right in all of that, but no such message */
  uint32_t stale;      /* older than the limit */
  uint32_t future;     /* younger than can be */
  uint32_t excess;     /* above the rate cap */
  uint32_t unarmed;    /* needs a session and there is none */
} eg_link_counts_t;

typedef struct {
  int64_t offset_us;      /* own clock minus the other's */
  uint32_t error_us;      /* half the round trip */
  uint32_t budget_ppm_us; /* what drift has earned since the last correction */
  uint8_t known;
} eg_clock_t;

typedef struct {
  eg_link_config_t config;
  uint8_t session[2 * EG_NONCE_BYTES]; /* host's nonce, then the microcontroller's; 0 before */
  uint8_t in_session;
  uint16_t counter[EG_MESSAGES];       /* of the next frame of each kind that goes out */
  eg_e2e_receiver_t receiver[EG_MESSAGES];
  eg_e2e_machine_t machine;            /* of the frames that must come every period */
  eg_clock_t clock;
  uint32_t quiet_us;                   /* since the last good expected frame, saturating */
  uint32_t window;                     /* error-rate rule: one bit an expected frame, 1 is bad */
  uint8_t due_good, due_bad;           /* expected frames since the last eg_link_tick */
  uint16_t credit[EG_MESSAGES];        /* rate cap */
  uint8_t held[EG_WIRE_MAX];           /* serial: bytes since the last zero */
  uint16_t holds;
  uint8_t overflowed;
  eg_link_counts_t counts;
} eg_link_t;

void eg_link_init(eg_link_t *l, const eg_link_config_t *config);

/* Both nonces are known: from now on frames are of this session, counters start anew. */
void eg_link_open(eg_link_t *l, const uint8_t host_nonce[EG_NONCE_BYTES],
                  const uint8_t mcu_nonce[EG_NONCE_BYTES]);
/* The session ends; only what arms is heard. */
void eg_link_close(eg_link_t *l);

/* From an echo: the other end's stamp, taken between our `sent_us` and `got_us`. False (and nothing
 * is set) when the round trip is above EG_ROUND_TRIP_MAX_US. */
bool eg_clock_measure(eg_clock_t *c, uint32_t sent_us, uint32_t got_us, uint32_t their_stamp_us);
/* Age of something that the other end stamped; false when it lies in the future beyond the error. */
bool eg_clock_age(eg_clock_t *c, uint32_t now_us, uint32_t their_stamp_us, uint32_t *age_us);
void eg_clock_tick(eg_clock_t *c, uint32_t elapsed_us);

/* Frame a message: E2E, tag. Returns the length, <= EG_FRAME_MAX. For CAN FD as it is. */
uint16_t eg_link_frame(eg_link_t *l, const eg_message_t *m, uint8_t frame[EG_FRAME_MAX]);
/* The same in COBS with a zero before and after, <= EG_WIRE_MAX. */
uint16_t eg_link_wire(eg_link_t *l, const eg_message_t *m, uint8_t wire[EG_WIRE_MAX]);

/* A frame came in; true when it is accepted, and *m is what it says. `length` may be longer than the
 * frame (CAN FD pads with zeros). */
bool eg_link_accept(eg_link_t *l, const uint8_t *frame, uint16_t length, uint32_t now_us,
                    eg_message_t *m);
/* A byte came in on serial; true when it completes a frame that is accepted. */
bool eg_link_byte(eg_link_t *l, uint8_t byte, uint32_t now_us, eg_message_t *m);

/* Once a link period: the causes LINK_LOST, LINK_FAULTY that are present, before debounce. */
uint32_t eg_link_tick(eg_link_t *l, uint32_t elapsed_us);

#endif
