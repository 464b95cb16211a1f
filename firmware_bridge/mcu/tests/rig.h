/* SPDX-License-Identifier: Apache-2.0 */
/* The firmware on the twin board, a host that does everything right unless it is told not to, and a
 * vehicle that follows the actuators. */
#ifndef EDGEGUARD_RIG_H
#define EDGEGUARD_RIG_H

#include "check.h"
#include "twin.h"

#define Q(x) ((int32_t)((x) * 65536.0 + ((x) < 0 ? -0.5 : 0.5)))
#define TURN_US 10000u

typedef struct {
  eg_twin_t twin;
  eg_link_t host;
  uint32_t host_ahead_us; /* the host's clock minus the microcontroller's */

  /* the host */
  uint32_t tick;
  int32_t want[EG_OUTPUTS];
  uint8_t mode, engaged, channels;
  uint8_t mute;      /* says nothing */
  uint8_t twice;     /* says every COMMAND twice */
  uint32_t lose;     /* bits: the next message of that type gets lost, from either end */
  uint8_t no_answer; /* loops without its checks */
  uint32_t flip;     /* XORed into the answer */
  uint32_t answer_after_us, command_age_us;
  uint32_t answer_old; /* answers with the tick of so many ticks ago */
  uint32_t question;   /* open */
  eg_question_t asked; /* last */
  eg_challenge_t challenge;
  eg_armed_t armed;
  eg_state_msg_t state;
  eg_boot_t boot;
  eg_log_head_t head;
  uint32_t seen[EG_MESSAGES]; /* messages that came, by kind */
  uint32_t sent;              /* bytes of the last turn */
  uint8_t link_key[EG_KEY_BYTES], operator_key[EG_KEY_BYTES], hash[EG_HASH_BYTES];
  uint8_t nonce[EG_NONCE_BYTES];
  uint32_t arm_delay_us; /* from CHALLENGE to ARM */

  /* the vehicle */
  int32_t speed, steering;
  uint8_t follows; /* the vehicle does what the actuators say */
} rig_t;

eg_mcu_config_t rig_config(void);
/* Power comes; not armed. */
void rig_start(rig_t *r);
void rig_start_with(rig_t *r, const eg_mcu_config_t *config);
/* One control period; what the host says arrives in its middle. */
void rig_turn(rig_t *r);
void rig_turns(rig_t *r, uint32_t n);
/* Only the microcontroller's half: time passes, nobody speaks. */
void rig_step(rig_t *r);
/* HELLO to ARMED; returns the result, or EG_ARM_TOO_OFTEN + 1 when there was none. */
uint32_t rig_arm(rig_t *r);
/* Boot, arm, and drive for `turns` at the speed target. */
void rig_drive(rig_t *r, int32_t speed, uint32_t turns);
/* The same, at 10 m/s; made once and copied after that. */
void rig_steady(rig_t *r);
void rig_copy(rig_t *to, const rig_t *from);
/* The host sends a message as it stands, or bytes. */
void rig_say(rig_t *r, const eg_message_t *m);
void rig_hello(rig_t *r);
void rig_ask_arm(rig_t *r);
int32_t rig_out(const rig_t *r, uint32_t channel);
/* What follows a failed check: within `turns` no more strokes, a ramp, the reset, its reason. */
void rig_goes_safe(rig_t *r, uint32_t turns, uint16_t failed, const char *what);

#endif
