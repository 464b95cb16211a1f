/* SPDX-License-Identifier: Apache-2.0 */
/* The decision core. One control step, in order:
 *
 *   eg_time_advance      ages grow                                   time.c
 *   eg_cameras_update    new frames: frozen, lost                    perceive.c
 *   eg_members_update    new suggestions: late, insane, lost         perceive.c
 *   eg_numbers_check     signals and detectors against their ranges  perceive.c
 *   eg_votes_update      what the members want, and how many         vote.c
 *   eg_causes_update     debounce, latches, worst severity           causes.c
 *   eg_commands_update   what the mode asks for, within the limits   command.c, envelope.c
 *
 * Each of them signs what it found, with the question of the other end's watchdog (flow.c).
 * No heap, no recursion, no floats, no clock: time is passed in. */
#ifndef EDGEGUARD_CORE_H
#define EDGEGUARD_CORE_H

#include "edgeguard/types.h"

/* NULL when the policy is one that eg_decide can be trusted with; else what is wrong, in words. */
const char *eg_policy_check(const eg_policy_t *p);

/* Not armed, no command given yet. */
void eg_init(const eg_policy_t *p, eg_state_t *s);

/* From SAFE_STOP to FALLBACK; NOMINAL follows once suggestions have been valid for their off time.
 * Once: what happens later is left by eg_rearm. */
void eg_arm(const eg_policy_t *p, eg_state_t *s);

typedef enum { EG_REARMED, EG_REARM_UNARMED, EG_REARM_MOVING, EG_REARM_CAUSE_PRESENT } eg_rearm_t;

/* Clears the causes that wait for it, if none of them was present for its off time and the vehicle
 * stood at the last decision. Clears all of them or none, and ends a takeover. */
eg_rearm_t eg_rearm(const eg_policy_t *p, eg_state_t *s);

/* A person drives: outputs follow the measured values until the next eg_rearm. */
void eg_takeover(eg_state_t *s);

/* One control step: always leaves a command in *out. */
void eg_decide(const eg_policy_t *p, eg_state_t *s, const eg_input_t *in, eg_decision_t *out);

/* ------------------------------------------------------------- the steps */

uint32_t eg_time_advance(const eg_policy_t *p, eg_state_t *s, uint32_t elapsed_us);
uint32_t eg_cameras_update(const eg_policy_t *p, eg_state_t *s, const eg_input_t *in);
uint32_t eg_members_update(const eg_policy_t *p, eg_state_t *s, const eg_input_t *in);
uint32_t eg_numbers_check(const eg_policy_t *p, eg_state_t *s, const eg_input_t *in);

/* What one inference stands for, on its own, in this mode: the causes that it makes present. */
uint32_t eg_inference_faults(const eg_policy_t *p, uint8_t member, eg_mode_t mode,
                             const eg_suggestion_t *in);
/* Whether b shows what a did: the same scene, and the same content or another part of it. */
bool eg_same_picture(const eg_frame_t *a, const eg_frame_t *b);
bool eg_number_ok(const eg_number_t *n, int32_t min, int32_t max);
/* A signal that may be used, or NULL: there is none, it is not a number, or out of its range. */
const eg_number_t *eg_signal(const eg_policy_t *p, const eg_input_t *in, uint8_t index);

/* The members' verdict on one channel; sets the target when the operation is granted. Nothing is
 * granted while `trusted` is false: what would act once debounced must not be acted on before. */
uint32_t eg_vote(const eg_policy_t *p, eg_state_t *s, uint8_t channel, bool trusted,
                 eg_command_t *out);
uint32_t eg_votes_update(const eg_policy_t *p, eg_state_t *s, bool trusted, eg_decision_t *out);

/* Fires within every window of 10 * on_us in which the cause is present more than 20 % of the time:
 * presence fills by 1 a microsecond, absence drains by 1/8. Returns whether it acts from now on. */
bool eg_debounce_step(const eg_cause_row_t *row, eg_debounce_t *d, bool active, bool present,
                      uint32_t elapsed_us);
void eg_causes_update(const eg_policy_t *p, eg_state_t *s, uint32_t present, uint32_t elapsed_us);
/* Whether any of these causes asks for a person. */
bool eg_asks_operator(const eg_policy_t *p, uint32_t causes);
eg_mode_t eg_worst(const eg_policy_t *p, uint32_t causes);
/* The worst of the active causes; before arming SAFE_STOP. */
eg_mode_t eg_mode(const eg_policy_t *p, const eg_state_t *s);

/* Where every channel starts from, before the first vote. */
void eg_channels_start(const eg_policy_t *p, eg_state_t *s, const eg_input_t *in);
/* The commands of all channels, for the mode and activity in *out. */
void eg_commands_update(const eg_policy_t *p, eg_state_t *s, const eg_input_t *in,
                        eg_decision_t *out);

/* Limits at a value of the table's signal: linear between rows, the strictest of all rows when the
 * signal is not valid. */
eg_limits_t eg_limits_at(const eg_limit_table_t *t, const eg_number_t *signal);

/* The part of a per-second rate that one step may use: at most one period's worth, however late. */
int32_t eg_rate_step(int32_t per_second, uint32_t elapsed_us, uint32_t period_us);

/* Next command of a channel: towards `want`, in range, never faster than `l`'s rates, which are per
 * step here. From outside the range (a limit tightened) it comes back at the full rate: rate
 * outranks range, since a jump is what throws a vehicle off its path. */
int32_t eg_envelope_step(const eg_limits_t *l, int32_t last, int32_t want);

#endif
