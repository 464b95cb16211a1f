/* SPDX-License-Identifier: Apache-2.0 */
/* What goes into a decision, what rules it, and what comes out: integers only.
 *
 * Units: Q16.16 and Q0.16 are int32_t with 65536 for 1.0; times are microseconds, saturating at
 * EG_AGE_MAX. Fixed tables, no heap: what a policy can hold is written here. */
#ifndef EDGEGUARD_TYPES_H
#define EDGEGUARD_TYPES_H

#include <stdbool.h>
#include <stdint.h>

#include "edgeguard/evidence.h"

#ifdef EG_SMALL /* a microcontroller: its only member is the host, and it has no camera */
#define EG_MAX_MEMBERS 4
#define EG_MAX_CAMERAS 1
#define EG_MAX_SIGNALS 4
#define EG_MAX_DETECTORS 1
#define EG_FRAMES_KEPT 1
#else
#define EG_MAX_MEMBERS 8
#define EG_MAX_CAMERAS 4
#define EG_MAX_SIGNALS 16
#define EG_MAX_DETECTORS 16
#define EG_FRAMES_KEPT 4 /* a camera may be stuck on a ring of as many buffers */
#endif
#define EG_MAX_CHANNELS 4
#define EG_MAX_ROWS 8 /* points of a speed-dependent limit table */
#define EG_MAX_RUN 4  /* frames in a row that an operation may ask for */

#define EG_ONE 65536          /* 1.0 in Q0.16 and Q16.16 */
#define EG_AGE_MAX UINT32_MAX /* an age that nothing lowers again: "unknown, treat as oldest" */
#define EG_NONE 255u          /* no signal */
#define EG_HOLD (-1)          /* a label that commands nothing */
#define EG_UNSAID (-1)        /* a certainty below any that is asked for */

/* Modes are a severity lattice: the mode is the worst active cause. */
typedef enum { EG_NOMINAL, EG_DEGRADED, EG_FALLBACK, EG_SAFE_STOP } eg_mode_t;

/* Causes, one bit each. The order is part of the log format: append only. */
typedef enum {
  EG_NOT_ARMED,
  EG_TIME_FAULT,
  EG_CONTROLLER_LOST,
  EG_STALE_MODEL,
  EG_LATE,
  EG_MEMBER_LOST,
  EG_SCORE_INSANE,
  EG_LOW_CERTAINTY,
  EG_DISAGREEMENT,
  EG_OPERATION_DENIED,
  EG_UNAUTHORIZED_SUGGESTION,
  EG_OUT_OF_DISTRIBUTION,
  EG_FROZEN_INPUT,
  EG_FRAME_LOST,
  EG_IMAGE_UNHEALTHY,
  EG_INPUT_INVALID,
  EG_ENVELOPE_CONFLICT,
  EG_OVERRUN,
  EG_LINK_LOST,          /* nothing good from the other end for the link's time limit */
  EG_LINK_FAULTY,        /* too many bad frames, or too many frames */
  EG_ANSWER_WRONG,       /* the watchdog's question was answered wrongly, too early or too late */
  EG_PEER_STOPPED,       /* the other end is in SAFE_STOP */
  EG_SELF_TEST,          /* stack, memory, image, table or actuator are not what they should be */
  EG_ASSOCIATION_BROKEN, /* two things that belong together do not: signals, decisions, members */
  EG_BUS_INTRUSION,      /* frames on the vehicle's bus that its own units do not send */
  EG_RISK_RAISED,        /* several detectors and events together are unlikely to be chance */
  EG_RISK_HIGH,          /* so unlikely that a person is asked, too */
  EG_RECORDER_LOST,      /* decisions are no longer remembered */
  EG_UNSIGNED_BUNDLE,    /* models, thresholds or policy that nobody trusted vouches for */
  EG_CAUSES
} eg_cause_t;

/* The checks of a control step, in their order; each signs what it found (flow.c). */
typedef enum {
  EG_CHECK_TIME,
  EG_CHECK_CAMERAS,
  EG_CHECK_MEMBERS,
  EG_CHECK_NUMBERS,
  EG_CHECK_VOTES,
  EG_CHECK_CAUSES,
  EG_CHECK_COMMANDS,
  EG_CHECKS
} eg_check_t;

#define EG_BIT(cause) ((uint32_t)1u << (uint32_t)(cause))

typedef enum { EG_CLEARS_ITSELF, EG_CLEARS_BY_REARM, EG_CLEARS_NEVER } eg_clears_t;

/* What a command can mean on a channel; each asks for its own evidence. */
typedef enum { EG_RAISE, EG_LOWER, EG_OPERATIONS } eg_operation_t;

typedef enum { EG_BY_LABEL, EG_BY_VALUE } eg_channel_kind_t;

/* ---------------------------------------------------------------- policy */

typedef struct {
  uint8_t severity;      /* eg_mode_t */
  uint8_t clears;        /* eg_clears_t */
  uint8_t asks_operator; /* also asks a person to take over */
  uint32_t on_us;        /* time present until it acts */
  uint32_t off_us;       /* time absent until it lets go, >= on_us */
} eg_cause_row_t;

/* Limits of one channel: Q16.16 channel units, rates per second. */
typedef struct {
  int32_t min, max;   /* range */
  int32_t rise, fall; /* > 0 */
} eg_limits_t;

typedef struct {
  int32_t at; /* Q16.16 value of the table's signal from which the row holds */
  eg_limits_t limits;
} eg_limit_row_t;

typedef struct {
  uint8_t rows;
  eg_limit_row_t row[EG_MAX_ROWS]; /* sorted by `at` */
} eg_limit_table_t;

typedef struct {
  int32_t certainty; /* Q0.16: a supporting vote needs at least this much */
  uint8_t quorum;    /* that many supporting votes */
  uint8_t frames;    /* each on so many frames in a row, as decisions saw them; 1 to EG_MAX_RUN */
} eg_demand_t;

typedef struct {
  uint8_t kind;                       /* eg_channel_kind_t */
  uint8_t measured;                   /* signal followed while inactive, or EG_NONE */
  uint8_t table_signal;               /* signal that the limit tables depend on, or EG_NONE */
  uint8_t manoeuvre;                  /* SAFE_STOP: 1 follows the controller while it runs */
  int32_t stop;                       /* Q16.16 command of SAFE_STOP, else or without it */
  int32_t dispersion;                 /* Q16.16 how far from the mid value a supporter may be */
  eg_demand_t demand[EG_OPERATIONS];  /* evidence that each operation asks for */
  eg_limit_table_t nominal, degraded; /* DEGRADED tightens the envelope */
} eg_channel_t;

typedef struct {
  uint8_t kind;             /* eg_channel_kind_t: what it says, labels or values */
  uint8_t modes;            /* bit eg_mode_t: the modes in which it may suggest anything */
  uint16_t may;             /* bit (EG_OPERATIONS * channel + operation): granted */
  uint32_t deadline_us;     /* capture to result */
  uint32_t max_age_us;      /* a held suggestion older than this abstains */
  int32_t max_rail;         /* scores at the upper rail that are still sane */
  int32_t min_distinct;     /* different score values that are at least needed, <= 3 */
  int32_t sum_min, sum_max; /* Q16.16 sum of given probabilities */
} eg_member_t;

typedef struct {
  uint32_t max_age_us;
} eg_camera_t;

typedef struct {
  int32_t min, max; /* Q16.16 declared range; outside is refused at the border */
} eg_signal_t;

typedef struct {
  int8_t channel; /* EG_HOLD: commands nothing */
  int32_t value;  /* Q16.16 channel units */
} eg_label_t;

/* A detector's number is sane in [min, max]; outside, its cause is present. One that reads a
 * member's scores says nothing while that member abstains (MEMBER_LOST or another cause does). */
typedef struct {
  uint8_t cause;
  uint8_t member; /* EG_NONE: reads a camera */
  int32_t min, max;
} eg_detector_t;

typedef struct {
  uint32_t period_us;            /* control period: the envelope's rates are scaled by it */
  uint32_t max_gap_us;           /* a longer pause between decisions is TIME_FAULT */
  uint32_t controller_budget_us; /* a rule-based controller that takes longer is lost */
  uint8_t standstill_signal;     /* EG_NONE: no re-arm */
  int32_t standstill_below;      /* Q16.16 */
  uint8_t members, cameras, signals, channels, detectors;
  uint16_t labels;
  eg_cause_row_t cause[EG_CAUSES];
  eg_member_t member[EG_MAX_MEMBERS];
  eg_camera_t camera[EG_MAX_CAMERAS];
  eg_signal_t signal[EG_MAX_SIGNALS];
  eg_channel_t channel[EG_MAX_CHANNELS];
  eg_detector_t detector[EG_MAX_DETECTORS];
  const eg_label_t *label; /* labels entries */
} eg_policy_t;

/* ----------------------------------------------------------------- input */

typedef struct {
  uint32_t serial;     /* counts completed inferences; unchanged: nothing new */
  uint32_t age_us;     /* capture to now, of that inference */
  uint32_t latency_us; /* capture to result, of that inference */
  uint32_t pending_us; /* how long the oldest unanswered frame waits; 0: none */
  uint8_t present;     /* the member's process lives */
  eg_evidence_t evidence;
} eg_suggestion_t;

typedef struct {
  uint32_t serial; /* counts frames */
  uint32_t age_us; /* capture to now, of the newest frame */
  uint64_t hash;   /* of what was read of it */
  uint32_t scene;  /* hash of a sample of the whole frame */
  uint32_t view;   /* which part was read */
} eg_frame_t;

typedef enum { EG_ABSENT, EG_VALID, EG_INVALID } eg_validity_t;

typedef struct {
  uint8_t validity; /* eg_validity_t; EG_INVALID: NaN, Inf, missing or outside its range */
  int32_t value;    /* Q16.16 */
} eg_number_t;

typedef struct {
  uint32_t elapsed_us; /* since the last decision; 0 or EG_AGE_MAX: the clock stood or ran back */
  uint32_t question;   /* of the other end's watchdog; 0 where nobody asks */
  uint32_t missed;     /* causes of inputs that newer ones replaced before this decision */
  uint8_t engaged;     /* the vehicle asks for commands; else the output follows what is measured */
  uint8_t
      engaged_unknown; /* it said something about that which cannot be read: counts as engaged */
  uint8_t rule_ok;     /* the controllers ran and returned finite numbers */
  uint32_t rule_us;    /* and took this long */
  int32_t rule[EG_MAX_CHANNELS]; /* Q16.16 rule-based command */
  eg_number_t signal[EG_MAX_SIGNALS];
  eg_number_t detector[EG_MAX_DETECTORS];
  eg_frame_t frame[EG_MAX_CAMERAS];
  eg_suggestion_t member[EG_MAX_MEMBERS];
} eg_input_t;

/* ----------------------------------------------------------------- state */

typedef struct {
  uint32_t level_us; /* leaky integral of presence, acts at on_us */
  uint32_t quiet_us; /* uninterrupted absence, lets go at off_us */
} eg_debounce_t;

typedef struct {
  uint32_t serial;    /* last inference seen */
  uint32_t age_us;    /* of the held suggestion; never falls but by a newer sane one */
  uint32_t newest_us; /* age of the newest inference seen, whatever it was worth */
  uint8_t held;       /* there is a suggestion to vote with */
  uint32_t faults;    /* causes that the last inference stands for */
  eg_evidence_t evidence;
  /* How certain it was on the frames before, newest first, as far back as it named the same label
   * on each of them; else EG_UNSAID. */
  int32_t before[EG_MAX_RUN - 1];
} eg_member_state_t;

typedef struct {
  uint32_t age_us;
  uint32_t seen;                   /* frames, saturating at EG_FRAMES_KEPT */
  uint8_t repeats;                 /* the newest frame shows what one of the kept ones did */
  eg_frame_t kept[EG_FRAMES_KEPT]; /* newest first */
} eg_camera_state_t;

typedef struct {
  int32_t last;   /* Q16.16 last command */
  int32_t target; /* Q16.16 last accepted suggestion */
  uint8_t started;
} eg_channel_state_t;

typedef struct {
  uint8_t armed;
  uint8_t taken_over; /* a person drives */
  uint8_t conflict;   /* the envelope had no value that satisfies all limits */
  uint8_t standstill;
  uint32_t active;  /* causes that act */
  uint32_t present; /* causes seen at the last decision, before debounce */
  uint32_t sequence;
  uint32_t flow;             /* signature of the checks that ran in this step, see flow.c */
  uint32_t repeated_us;      /* age of the newest frame that showed what one before it did */
  uint32_t check[EG_CHECKS]; /* CRC of what each of them found */
  eg_debounce_t debounce[EG_CAUSES];
  eg_member_state_t member[EG_MAX_MEMBERS];
  eg_camera_state_t camera[EG_MAX_CAMERAS];
  eg_channel_state_t channel[EG_MAX_CHANNELS];
} eg_state_t;

/* -------------------------------------------------------------- decision */

typedef struct {
  int32_t command;   /* Q16.16 */
  int32_t want;      /* Q16.16 what the mode asked for, before the envelope */
  int32_t label;     /* winner of the vote, or EG_HOLD */
  int32_t certainty; /* Q0.16: of the weakest vote in the quorum that the winner had */
  uint8_t votes;     /* for the winner */
  uint8_t voters;    /* members that did not abstain */
  uint8_t granted;   /* 1: the suggestion became the target on this tick */
} eg_command_t;

typedef struct {
  uint32_t sequence;
  uint8_t mode;   /* eg_mode_t */
  uint8_t active; /* 0: commands follow the measured values, nobody should act on them */
  uint8_t operator_request;
  uint32_t causes;  /* active, after debounce */
  uint32_t present; /* before debounce */
  uint32_t member_age_us[EG_MAX_MEMBERS];
  uint32_t camera_age_us[EG_MAX_CAMERAS];
  eg_command_t channel[EG_MAX_CHANNELS];
  uint32_t question;
  uint32_t answer; /* to the question: made by the checks themselves, out of what they found */
  uint32_t check[EG_CHECKS];
} eg_decision_t;

#endif
