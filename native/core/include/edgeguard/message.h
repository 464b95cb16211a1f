/* SPDX-License-Identifier: Apache-2.0 */
/* What the host and the microcontroller say to each other. Payloads are little-endian, at most
 * EG_PAYLOAD_MAX bytes, one length a type; the version is part of every data id, so a frame of
 * another version is refused.
 *
 *   host -> MCU                                  MCU -> host
 *   HELLO      wants to arm, its table's hash    CHALLENGE  nonce, whether the tables agree
 *   ARM        echo of the nonce, operator       ARMED      result, clock offset's error
 *   COMMAND    every tick: one value a channel   STATE      every tick: measured, output, mode
 *   VERDICT    mode, causes, votes               QUESTION   of the watchdog
 *   ANSWER     to the watchdog's question        BOOT       reset reason, until armed
 *   LOG_HEAD   head of the recorder's chain      LOG_ACK    the last head that arrived */
#ifndef EDGEGUARD_MESSAGE_H
#define EDGEGUARD_MESSAGE_H

#include "edgeguard/types.h"

#define EG_LINK_VERSION 2u
#define EG_PAYLOAD_MAX 40u
#define EG_NONCE_BYTES 8u
#define EG_HASH_BYTES 32u

typedef enum {
  EG_MSG_HELLO,
  EG_MSG_ARM,
  EG_MSG_COMMAND,
  EG_MSG_VERDICT,
  EG_MSG_ANSWER,
  EG_MSG_LOG_HEAD,
  EG_MSG_CHALLENGE, /* the first of the microcontroller's */
  EG_MSG_ARMED,
  EG_MSG_STATE,
  EG_MSG_QUESTION,
  EG_MSG_BOOT,
  EG_MSG_LOG_ACK,
  EG_MESSAGES
} eg_message_type_t;

typedef struct {
  uint8_t nonce[EG_NONCE_BYTES]; /* the host's */
  uint8_t policy[EG_HASH_BYTES]; /* SHA-256 of the canonical table that the host expects */
} eg_hello_t;

typedef struct {
  uint8_t host_nonce[EG_NONCE_BYTES]; /* echo: an old challenge is not answered */
  uint8_t nonce[EG_NONCE_BYTES];      /* the microcontroller's */
  uint8_t policy_agrees;              /* its own table governs it either way */
  uint8_t authenticated;              /* the build asks for tags */
} eg_challenge_t;

typedef struct {
  uint8_t nonce[EG_NONCE_BYTES]; /* echo of the microcontroller's */
  uint8_t token[8];              /* CMAC of that nonce under the operator's key: a person agrees */
  uint32_t stamp_us;             /* the host's clock when it sent this */
} eg_arm_t;

typedef enum {
  EG_ARM_OK,
  EG_ARM_NONCE,     /* not the one that was asked with, or none was */
  EG_ARM_TOKEN,     /* not the operator's */
  EG_ARM_SLOW,      /* round trip above EG_ROUND_TRIP_MAX_US: the offset would be a guess */
  EG_ARM_POLICY,    /* tables differ */
  EG_ARM_CAUSE,     /* a cause is still present */
  EG_ARM_MOVING,    /* not at standstill, or nobody knows */
  EG_ARM_TOO_OFTEN, /* more than EG_ARMS_PER_MINUTE */
  EG_ARM_RESULTS
} eg_arm_result_t;

typedef struct {
  uint8_t result; /* eg_arm_result_t */
  uint32_t round_trip_us;
  uint32_t causes; /* what is still present */
} eg_armed_t;

typedef struct {
  uint32_t tick;
  uint32_t stamp_us; /* the host's clock when the evidence behind it was decided on */
  uint8_t mode;      /* the host's eg_mode_t */
  uint8_t engaged;
  uint8_t channels;
  int32_t command[EG_MAX_CHANNELS]; /* Q16.16 */
} eg_command_msg_t;

typedef struct {
  uint32_t tick;
  uint32_t causes, present;
  uint8_t mode, operator_request;
  uint8_t votes[EG_MAX_CHANNELS], voters[EG_MAX_CHANNELS];
} eg_verdict_t;

typedef struct {
  uint32_t tick; /* the decision's sequence */
  uint32_t question, answer;
  uint32_t check[EG_CHECKS];
} eg_answer_t;

typedef struct {
  uint32_t stamp_us; /* the microcontroller's clock */
  uint32_t causes;   /* its own, active */
  uint32_t command_age_us;
  uint8_t mode;            /* its own eg_mode_t */
  uint8_t measured_valid;  /* bit 0: speed, bit 1: steering; what is not is 0 */
  int32_t speed, steering; /* Q16.16 m/s and rad, as its own sensors say */
  int32_t output[2];       /* Q16.16 what it gave the actuators */
} eg_state_msg_t;

typedef struct {
  uint32_t question; /* never 0 */
  uint16_t open_us;  /* no answer before this */
  uint16_t close_us; /* and none after that */
} eg_question_t;

typedef enum {
  EG_RESET_POWER,
  EG_RESET_WATCHDOG,
  EG_RESET_SOFTWARE,
  EG_RESET_FAULT, /* a processor exception */
  EG_RESET_SELF_TEST,
  EG_RESETS
} eg_reset_t;

typedef struct {
  uint8_t reason; /* eg_reset_t of the last reset */
  uint8_t first;  /* and of the one before it that was not EG_RESET_POWER, kept over resets */
  uint16_t resets;
  uint32_t self_test; /* bits of what failed; 0: all held */
  uint8_t policy[EG_HASH_BYTES];
} eg_boot_t;

typedef struct {
  uint32_t sequence;
  uint8_t hash[EG_HASH_BYTES];
} eg_log_head_t;

typedef struct {
  uint8_t type; /* eg_message_type_t */
  union {
    eg_hello_t hello;
    eg_arm_t arm;
    eg_command_msg_t command;
    eg_verdict_t verdict;
    eg_answer_t answer;
    eg_log_head_t log_head; /* LOG_HEAD and LOG_ACK */
    eg_challenge_t challenge;
    eg_armed_t armed;
    eg_state_msg_t state;
    eg_question_t question;
    eg_boot_t boot;
  } as;
} eg_message_t;

/* Bytes of the payload; 0: no such type. */
uint16_t eg_message_size(uint8_t type);
/* Bytes written to payload; 0: no such type. */
uint16_t eg_message_pack(const eg_message_t *m, uint8_t payload[EG_PAYLOAD_MAX]);
/* m->type says what is expected; false when length or an enumeration does not fit it, and *m is
 * then not to be used. */
bool eg_message_unpack(const uint8_t *payload, uint16_t n, eg_message_t *m);
/* AUTOSAR data id: no two types differ in fewer than 4 bits, so that up to 3 wrong bits never make
 * one type of another. */
uint32_t eg_message_data_id(eg_message_type_t type);
/* The type that has this data id; EG_MESSAGES: none. */
uint8_t eg_message_type(uint32_t data_id);

#endif
