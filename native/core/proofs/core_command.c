/* SPDX-License-Identifier: Apache-2.0 */
#define OPAQUE_ROWS
#define OPAQUE_SIGNALS
#include "contracts_command.h"
#include "uninterpreted_crc.h"
#include "uninterpreted_signal.h"

#include "command.c"

static void start_c(const eg_channel_t *c, eg_channel_state_t *s, const eg_number_t *measured,
                    bool armed)
    REQUIRES(READS(c) && WRITES(s) && (measured == NULL || READS(measured))) ASSIGNS(*s)
    /* ENV-4 */ ENSURES(IMPLIES(OLD(s->started), s->last == OLD(s->last) &&
                                                     s->target == OLD(s->target) && s->started))
    /* ENV-4 */ ENSURES(IMPLIES(!OLD(s->started),
                                s->target == s->last &&
                                    s->last == (measured ? measured->value : c->stop)));

static int32_t want_of_c(const eg_policy_t *p, const eg_input_t *in, uint8_t channel,
                         eg_mode_t mode, int32_t target)
    REQUIRES(READS(p) && READS(in) && channel < EG_MAX_CHANNELS && (uint32_t)mode <= EG_SAFE_STOP)
        ASSIGNS()
    /* CMD-2 */ ENSURES(IMPLIES(mode < EG_FALLBACK, RET == target))
    /* CMD-1 */ ENSURES(IMPLIES(mode == EG_FALLBACK,
                                RET ==
                                    (in->rule_ok ? in->rule[channel] : p->channel[channel].stop)))
    /* CMD-1 */ ENSURES(IMPLIES(mode == EG_SAFE_STOP,
                                RET == (in->rule_ok && p->channel[channel].manoeuvre
                                            ? in->rule[channel]
                                            : p->channel[channel].stop)));

static eg_limits_t limits_now_c(const eg_policy_t *p, const eg_input_t *in, const eg_channel_t *c,
                                eg_mode_t mode)
    REQUIRES(READS(p) && READS(in) && READS(c) && sizes_ok(p))
        REQUIRES(c->table_signal == EG_NONE || c->table_signal < EG_MAX_SIGNALS)
            REQUIRES(rows_ok(&c->nominal) && rows_ok(&c->degraded)) ASSIGNS()
                ENSURES(RET.min <= RET.max && RET.rise >= 0 && RET.fall >= 0);

/* The same, and the name that its results have. */
static eg_limits_t limits_named(const eg_policy_t *p, const eg_input_t *in, const eg_channel_t *c,
                                eg_mode_t mode)
    REQUIRES(READS(p) && READS(in) && READS(c) && sizes_ok(p))
        REQUIRES(c->table_signal == EG_NONE || c->table_signal < EG_MAX_SIGNALS)
            REQUIRES(rows_ok(&c->nominal) && rows_ok(&c->degraded)) ASSIGNS()
                ENSURES(RET.min <= RET.max && RET.rise >= 0 && RET.fall >= 0)
                    ENSURES(RET.min == LIMIT(0, c, mode) && RET.max == LIMIT(1, c, mode) &&
                            RET.fall == LIMIT(2, c, mode) && RET.rise == LIMIT(3, c, mode));

static int32_t idle_c(const eg_policy_t *p, const eg_input_t *in, uint8_t channel,
                      const eg_decision_t *out, int32_t last)
    REQUIRES(READS(p) && READS(in) && READS(out) && channel < EG_MAX_CHANNELS)
        REQUIRES(sizes_ok(p) && channel_ok(p, channel) && out->mode <= EG_SAFE_STOP) ASSIGNS()
    /* ENV-4 */ ENSURES(IDLES(channel, last, RET));

static void command_c(const eg_policy_t *p, eg_state_t *s, const eg_input_t *in, uint8_t channel,
                      eg_decision_t *out)
    REQUIRES(READS(p) && WRITES(s) && READS(in) && WRITES(out) && channel < EG_MAX_CHANNELS)
        REQUIRES(sizes_ok(p) && channel_ok(p, channel) && out->mode <= EG_SAFE_STOP)
            ASSIGNS(s->channel[channel].last, s->channel[channel].target, s->conflict,
                    out->channel[channel].want, out->channel[channel].granted,
                    out->channel[channel].command)
                ENSURES(out->channel[channel].command == s->channel[channel].last)
                    ENSURES(out->channel[channel].granted == 0 ||
                            out->channel[channel].granted == OLD(out->channel[channel].granted))
    /* ENV-4 */ ENSURES(IMPLIES(!out->active,
                                out->channel[channel].want == s->channel[channel].last &&
                                    IDLES(channel, OLD(s->channel[channel].last),
                                          s->channel[channel].last)))
    /* ENV-3 */ ENSURES(IMPLIES(!out->active, s->conflict == OLD(s->conflict)))
    /* ENV-3 */ ENSURES(IMPLIES(OLD(s->conflict), s->conflict))
    /* ENV-5 */ ENSURES(IMPLIES(out->active, BOUNDED(channel, OLD(s->channel[channel].last),
                                                     s->channel[channel].last)))
    /* ENV-1 */ ENSURES(IMPLIES(out->active &&POSSIBLE(channel, OLD(s->channel[channel].last)),
                                WITHIN(channel, s->channel[channel].last)))
    /* ENV-2 */ ENSURES(IMPLIES(out->active, RETURNS(channel, OLD(s->channel[channel].last),
                                                     s->channel[channel].last)))
    /* ENV-3 */ ENSURES(IMPLIES(out->active && !WITHIN(channel, s->channel[channel].last),
                                s->conflict))
    /* ENV-6 */ ENSURES(IMPLIES(out->active &&TO_BE_HAD(channel, OLD(s->channel[channel].last),
                                                        out->channel[channel].want),
                                s->channel[channel].last == out->channel[channel].want))
    /* CMD-2 */ ENSURES(IMPLIES(!out->active || out->mode >= EG_FALLBACK,
                                s->channel[channel].target == s->channel[channel].last &&
                                    out->channel[channel].granted == 0))
    /* CMD-2 */ ENSURES(IMPLIES(out->active && out->mode < EG_FALLBACK,
                                out->channel[channel].want == OLD(s->channel[channel].target)))
    /* CMD-1 */ ENSURES(IMPLIES(out->active && out->mode == EG_FALLBACK,
                                out->channel[channel].want ==
                                    (in->rule_ok ? in->rule[channel] : p->channel[channel].stop)))
    /* CMD-1 */ ENSURES(IMPLIES(out->active && out->mode == EG_SAFE_STOP,
                                out->channel[channel].want ==
                                    (in->rule_ok && p->channel[channel].manoeuvre
                                         ? in->rule[channel]
                                         : p->channel[channel].stop)));

/*! enforce start */
void prove_start(void) {
  eg_channel_t c;
  eg_channel_state_t s;
  eg_number_t n;
  bool there, armed;
  start(&c, &s, there ? &n : NULL, armed);
  REACHED;
}

/*! enforce want_of; unwind 6 */
void prove_want_of(void) {
  eg_policy_t p;
  eg_input_t in;
  eg_mode_t mode;
  FOR_ANY(channel, EG_MAX_CHANNELS) want_of(&p, &in, channel, mode, nondet_i32());
  REACHED;
}

/*! enforce limits_now; proves limits_now/limits_named; replace eg_limits_at eg_rate_step; unwind
 * 10; seconds 4 */
void prove_limits_now(void) {
  free_choice();
  eg_policy_t p;
  eg_input_t in;
  eg_channel_t c;
  eg_mode_t mode;
  limits_now(&p, &in, &c, mode);
  REACHED;
}

/*! enforce idle; replace limits_now/limits_named eg_envelope_step; unwind 10; seconds 10 */
void prove_idle(void) {
  free_choice();
  eg_policy_t p;
  eg_input_t in;
  eg_decision_t out;
  FOR_ANY(channel, EG_MAX_CHANNELS) idle(&p, &in, channel, &out, nondet_i32());
  REACHED;
}

/*! enforce command; replace want_of idle limits_now/limits_named eg_envelope_step; unwind 10;
 * object-bits 9; fields 4; seconds 12 */
void prove_command(void) {
  free_choice();
  eg_policy_t p;
  eg_state_t s;
  eg_input_t in;
  eg_decision_t out;
  FOR_ANY(channel, EG_MAX_CHANNELS) command(&p, &s, &in, channel, &out);
  REACHED;
}

/*! enforce eg_channels_start; replace start; unwind 6; fields 4; seconds 3 */
void prove_channels_start(void) {
  free_choice();
  eg_policy_t p;
  eg_state_t s;
  eg_input_t in;
  eg_channels_start(&p, &s, &in);
  REACHED;
}

/*! enforce eg_commands_update; replace command eg_flow_fold; unwind 6; fields 4; seconds 9 */
void prove_commands_update(void) {
  free_choice();
  eg_policy_t p;
  eg_state_t s;
  eg_input_t in;
  eg_decision_t out;
  eg_commands_update(&p, &s, &in, &out);
  REACHED;
}
