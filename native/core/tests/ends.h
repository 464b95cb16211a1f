/* SPDX-License-Identifier: Apache-2.0 */
#ifndef EDGEGUARD_ENDS_H
#define EDGEGUARD_ENDS_H

#include "edgeguard/link.h"

#define PERIOD_US 10000u
#define TRIP_US 2000u /* round trip of the arming: half of it is the youngest age */

/* Both ends of a link, in a test's hands, and the host's clock; the microcontroller's is SKEW_US
 * ahead, and wraps on the way. */
#define SKEW_US 0xFFFFF000u

typedef struct {
  eg_link_t host, mcu;
  uint32_t now_us;
  uint32_t tick;
} ends_t;

/* Nobody has spoken. */
ends_t ends_apart(uint8_t authenticated);
/* Armed: the same session at both ends, clock measured. */
ends_t ends_together(uint8_t authenticated);

/* Fields that differ from one another and from 0. */
eg_message_t ends_message(uint8_t type);
bool ends_is_of_host(uint8_t type);
eg_link_t *ends_sender(ends_t *e, uint8_t type);
eg_link_t *ends_receiver(ends_t *e, uint8_t type);
/* The clock of the end that receives this type. */
uint32_t ends_clock(const ends_t *e, uint8_t type);

/* Stamped now. */
eg_message_t ends_command(const ends_t *e);
/* From its end to the other: whether it was accepted. */
bool ends_pass(ends_t *e, const eg_message_t *m);
/* The frame as it is on CAN, padded to nothing. */
uint16_t ends_frame(ends_t *e, const eg_message_t *m, uint8_t frame[EG_FRAME_MAX]);
bool ends_accept(ends_t *e, uint8_t type, const uint8_t *frame, uint16_t length);
/* A frame of the first round, made by hand: E2E and tag are right for whatever it says. */
void ends_seal(const eg_link_t *sender, uint8_t type, uint16_t counter, uint8_t *frame,
               uint16_t length);
/* Time passes, and then a tick. */
uint32_t ends_tick(eg_link_t *l, uint32_t elapsed_us);
/* A period at both ends; what the receiver of `type` finds present. */
uint32_t ends_period(ends_t *e, uint8_t type);

uint32_t ends_counted(const eg_link_counts_t *c); /* frames, without `lost` */

#endif
