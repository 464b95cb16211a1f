/* SPDX-License-Identifier: Apache-2.0 */
/* The firmware's logic, without hardware: what a microcontroller does that does not trust its host.
 *
 * eg_mcu_boot once, then eg_mcu_step every control period, and between two of these eg_mcu_listen,
 * once at least and as often as there is time: frames are judged by when they arrive, and what a
 * host sends takes no time from a turn. One turn, in order:
 *
 *   eg_self_check     stack, RAM, flash, policy                         selftest.c
 *   eg_sense          link, watchdog and sensors become eg_input_t      sense.c
 *   eg_manoeuvre      the controller of its own, for the stop           manoeuvre.c
 *   eg_decide         the same core that the host runs                  native/core
 *   eg_image_check    it ran on code that is still whole                selftest.c
 *   actuate           write, read back                                  mcu.c
 *   eg_arming         judge an ARM that came in                         arming.c
 *   stroke            the hardware watchdog, if all of that held        mcu.c
 *   eg_report         STATE, QUESTION, BOOT ...                         report.c
 *
 * When one of its own checks fails it stops on the bare manoeuvre, without core and policy, and
 * strokes the hardware watchdog no more: the reset that follows boots safe and says why. */
#ifndef EDGEGUARD_MCU_H
#define EDGEGUARD_MCU_H

#include "board.h"
#include "edgeguard/core.h"
#include "edgeguard/link.h"
#include "edgeguard/watchdog.h"

#define EG_RX_PER_TURN 512u         /* bytes; more of them wait: a babbling host starves nothing */
#define EG_STAGED 64u               /* bytes taken in at once */
#define EG_PATH_AGE_MAX_US 2000000u /* how long a stop keeps to the last trusted path */
#define EG_STOP_RATE 262144         /* 4.0 m/s per second in Q16.16, UN R157: aim at no more */
#define EG_TURN_US 10000u           /* a turn, where no policy can say how long it is */
#define EG_ARM_SPAN_US 60000000u    /* of EG_ARMS_PER_MINUTE */
#define EG_BOOT_TURNS 10u           /* BOOT comes once in so many turns while there is no session */
#define EG_IMAGE_SLICE 512u         /* bytes of flash a turn under the CRC; all of it is summed */
#define EG_RAM_SLICE 16u            /* words of RAM a turn, and as many half of RAM away */
#define EG_CANARY 0x57A4C0DEu
#define EG_KNOWN_ANSWERS 0x4EB9868Du

/* Signals and channels of a microcontroller's policy. Member i carries channel i. */
enum { EG_SPEED, EG_STEERING };

/* What it checks of itself; bits of eg_boot_t.self_test: what failed since the last reset in the
 * low half, and what led to that reset in the high half. */
enum {
  EG_FAIL_STACK = 1,
  EG_FAIL_RAM = 2,
  EG_FAIL_FLASH = 4,
  EG_FAIL_POLICY = 8, /* its bytes, or what it says */
  EG_FAIL_CORE = 16,  /* other answers than known ones */
  EG_FAIL_OUTPUT = 32 /* the actuators hold something else than was written */
};

/* Constants of the build, in flash: `edgeguard mcu policy` writes one as eg_mcu_config. All of its
 * bytes are under eg_seal_t.table_crc, which every turn checks before it reads them. */
typedef struct eg_mcu_config {
  eg_policy_t policy;                 /* at most EG_OUTPUTS channels, members and signals */
  uint8_t policy_hash[EG_HASH_BYTES]; /* SHA-256 of the canonical table, compared at arming */
  eg_link_config_t link;              /* mcu = 1; tags or not, key, period, age limit */
  uint8_t operator_key[EG_KEY_BYTES]; /* of the token that agrees to arming */
  uint8_t host_channel[EG_OUTPUTS];   /* which value of COMMAND each channel takes */
} eg_mcu_config_t;

/* The last accepted COMMAND. */
typedef struct {
  eg_command_msg_t command;
  uint32_t serial;     /* counts them */
  uint32_t arrived_us; /* own clock */
  uint32_t age_us;     /* when it arrived */
  uint8_t stops;       /* its sender stops by itself */
} eg_inbox_t;

typedef struct {
  uint8_t greeted;    /* HELLO came: CHALLENGE is due */
  uint8_t challenged; /* and was sent: `nonce` is good for one ARM */
  uint8_t asked;      /* ARM came */
  uint8_t agrees;     /* the host expects this table */
  uint8_t host_nonce[EG_NONCE_BYTES], nonce[EG_NONCE_BYTES];
  uint8_t entropy[EG_ENTROPY_BYTES];
  uint32_t nonces;  /* made since boot */
  uint32_t sent_us; /* CHALLENGE */
  uint32_t came_us; /* ARM */
  eg_arm_t arm;
} eg_arming_t;

/* What listening changes; sealed with a CRC whenever nobody works on it, so that a bit that flips
 * in RAM is found before it acts. */
typedef struct {
  eg_link_t link;
  eg_watchdog_t watchdog;
  uint32_t watched_us; /* until when the watchdog's time has passed */
  eg_inbox_t inbox;
  eg_arming_t arming;
  eg_log_head_t head; /* newest of the host's recorder */
  uint8_t head_came;
} eg_heard_t;

/* What a turn hands to the next one; sealed likewise. */
typedef struct {
  eg_state_t state;
  uint32_t last_us; /* start of the last turn */
  uint32_t period_us;
  uint32_t turns;
  int32_t path;       /* Q16.16 rad, last trusted steering angle */
  uint32_t path_us;   /* its age, saturating */
  uint8_t path_known; /* there is one */
  uint8_t engaged;    /* as the last trusted COMMAND said; after a reset: engaged */
  uint16_t failed;    /* EG_FAIL_*, kept until the reset */
  uint32_t image_at;  /* flash check: where the next slice starts, and the CRC so far */
  uint32_t image_crc;
  uint32_t ram_at; /* RAM check: next word */
} eg_kept_t;

typedef struct {
  eg_heard_t heard;
  uint32_t heard_crc;
  eg_kept_t kept;
  uint32_t kept_crc;
  /* Made anew in every turn. */
  eg_input_t in;
  eg_sensed_t sensed;
  eg_decision_t out;
  uint32_t drained; /* bytes in this turn */
  uint32_t staged_n;
  uint8_t staged[EG_STAGED];
} eg_mcu_t;

/* board_memory() says by which config. */
void eg_mcu_boot(eg_mcu_t *m);
/* One turn; call it every config->link.period_us. */
void eg_mcu_step(eg_mcu_t *m);
/* Take in what arrived meanwhile, not more than EG_RX_PER_TURN between two turns, until it is
 * until_us: a turn is not late for what comes at its end. One piece even then. */
void eg_mcu_listen(eg_mcu_t *m, uint32_t until_us);

/* ------------------------------------------------------------- the steps */

uint32_t eg_crc_of(const void *data, uint32_t n);

/* All of the image, all of RAM, the policy, the core on fixed inputs, at boot: EG_FAIL_*. */
uint16_t eg_self_test(eg_mcu_t *m);
/* CRC of what core and link make of fixed inputs: EG_KNOWN_ANSWERS, whatever the policy. Overwrites
 * in, out and kept.state. */
uint32_t eg_known_answers(eg_mcu_t *m, const eg_policy_t *p);
/* Whether all that lasts from turn to turn is as the last one left it. */
bool eg_sealed(const eg_mcu_t *m);
/* Sums over all of the image: EG_FAIL_FLASH when a word of it is another. */
uint16_t eg_image_check(void);
/* That, stack, policy, and the next slices of RAM and of the flash's CRC, once a turn: EG_FAIL_*
 * found now. */
uint16_t eg_self_check(eg_mcu_t *m);
/* Writes patterns to both words and restores them. */
bool eg_ram_holds(volatile uint32_t *a, volatile uint32_t *b);

/* A reset happened; which one? Takes over what was saved last. */
void eg_record_boot(eg_record_t *r, eg_record_t saved[EG_SAVES]);
void eg_record_save(eg_record_t *r, eg_record_t saved[EG_SAVES]);
bool eg_record_sealed(const eg_record_t *r);

bool eg_heard_sealed(const eg_mcu_t *m);
void eg_heard_seal(eg_mcu_t *m);
/* Time passes for the watchdog over the host; true while ANSWER_WRONG is present. */
bool eg_watch(eg_heard_t *h, uint32_t now_us);

void eg_sense(eg_mcu_t *m, uint32_t now_us, uint32_t elapsed_us);
void eg_manoeuvre(eg_mcu_t *m, uint32_t elapsed_us);
/* What was decided becomes the path to keep to. */
void eg_path_update(eg_mcu_t *m, uint32_t elapsed_us);
void eg_arming(eg_mcu_t *m);
void eg_report(eg_mcu_t *m, uint32_t now_us);
/* Frame and send; false when the transmitter is full. */
bool eg_send(eg_mcu_t *m, const eg_message_t *message);

#endif
