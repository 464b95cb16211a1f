/* SPDX-License-Identifier: Apache-2.0 */
#define OPAQUE_LABELS
#define OPAQUE_ROWS
#define OPAQUE_POLICY
#define OPAQUE_SIGNALS
#include "contracts_decide.h"
#include "uninterpreted_crc.h"
#include "uninterpreted_signal.h"

#include "decide.c"

static bool rule_runs_c(const eg_policy_t *p, const eg_input_t *in) REQUIRES(READS(p) && READS(in))
    ASSIGNS()
    /* MODE-3 */ ENSURES(RET == (in->rule_ok && in->rule_us <= p->controller_budget_us));

#define LATE_RULE (!in->rule_ok || in->rule_us > p->controller_budget_us)

static uint32_t perceive_c(const eg_policy_t *p, eg_state_t *s, const eg_input_t *in)
    REQUIRES(READS(p) && WRITES(s) && READS(in))
        REQUIRES(policy_ok(p) && said_ok(p, in) && all_held_ok(p, s) && cameras_ok(p, s))
            ASSIGNS(s->member, s->camera, s->repeated_us, s->flow, s->check[EG_CHECK_TIME],
                    s->check[EG_CHECK_CAMERAS], s->check[EG_CHECK_MEMBERS],
                    s->check[EG_CHECK_NUMBERS]) ENSURES(all_held_ok(p, s) && cameras_ok(p, s))
    /* MODE-2 */ ENSURES((in->missed & ~RET) == 0)
    /* MODE-2 */ ENSURES(IMPLIES(!s->armed, HAS(RET, EG_NOT_ARMED)))
    /* MODE-3 */ ENSURES(IMPLIES(LATE_RULE, HAS(RET, EG_CONTROLLER_LOST)))
    /* ENV-3 */ ENSURES(IMPLIES(s->conflict, HAS(RET, EG_ENVELOPE_CONFLICT)))
    /* TIME-2 */ ENSURES(IMPLIES(!WATCHED(p, in->elapsed_us), HAS(RET, EG_TIME_FAULT)))
    /* TIME-1 */ ENSURES(IMPLIES(ONE_MEMBER &&MEMBER.held,
                                 MEMBER.age_us <= p->member[a_member].max_age_us))
    /* TIME-1 */ ENSURES(IMPLIES(
        ONE_MEMBER, MEMBER.age_us == AGED(OLD(MEMBER.age_us), STEP_US(p, in->elapsed_us)) ||
                        (NEW_INFERENCE(s, in, a_member) && MEMBER.age_us == SAYS.age_us &&
                         LIVES(p, in, a_member) &&
                         SAYS.age_us <= AGED(OLD(MEMBER.newest_us), STEP_US(p, in->elapsed_us)))))
    /* TIME-1 */ ENSURES(IMPLIES(ONE_MEMBER &&MEMBER.held && !OLD(MEMBER.held),
                                 NEW_INFERENCE(s, in, a_member) && MEMBER.age_us == SAYS.age_us))
    /* FLOW-1 */ ENSURES(
        s->flow == CHAIN(CHAIN(CHAIN(CHAIN(OLD(s->flow), 0, s->check), 1, s->check), 2, s->check),
                         3, s->check));

#define SPEED SIGNAL_VALUE(in, p->standstill_signal)

static bool stands_c(const eg_policy_t *p, const eg_input_t *in) REQUIRES(READS(p) && READS(in))
    REQUIRES(p->standstill_signal == EG_NONE || p->standstill_signal < EG_MAX_SIGNALS)
        REQUIRES(p->standstill_below >= 0) ASSIGNS()
    /* STOP-3 */ ENSURES(RET == (p->standstill_signal != EG_NONE &&
                                 SIGNAL_OK(p, in, p->standstill_signal) &&
                                 SPEED < p->standstill_below && SPEED > -p->standstill_below));

static void report_c(const eg_policy_t *p, eg_state_t *s, const eg_input_t *in, eg_decision_t *out)
    REQUIRES(READS(p) && READS(s) && READS(in) && WRITES(out) && sizes_ok(p) && causes_ok(p))
        ASSIGNS(out->sequence, out->mode, out->active, out->operator_request, out->causes,
                out->present, out->member_age_us, out->camera_age_us)
            ENSURES(out->sequence == s->sequence && out->causes == s->active &&
                    out->present == s->present)
                ENSURES(out->active == ((in->engaged || in->engaged_unknown) && !s->taken_over))
    /* MODE-1 */ ENSURES(out->mode <= EG_SAFE_STOP &&
                         IMPLIES(HAS(s->active, a_cause), out->mode >= p->cause[a_cause].severity))
    /* MODE-1 */ ENSURES(out->mode == mode_of(p, s))
    /* STOP-2 */ ENSURES(IMPLIES(!s->armed, out->mode == EG_SAFE_STOP));

static void answer_c(const eg_state_t *s, const eg_input_t *in, eg_decision_t *out)
    REQUIRES(READS(s) && READS(in) && WRITES(out)) ASSIGNS(out->question, out->answer, out->check)
    /* FLOW-1 */ ENSURES(out->question == in->question && out->answer == CRC_END(s->flow))
    /* FLOW-1 */ ENSURES(out->check[0] == s->check[0] && out->check[1] == s->check[1] &&
                         out->check[2] == s->check[2] && out->check[3] == s->check[3] &&
                         out->check[4] == s->check[4] && out->check[5] == s->check[5] &&
                         out->check[6] == s->check[6]);

/*! enforce rule_runs */
void prove_rule_runs(void) {
  eg_policy_t p;
  eg_input_t in;
  rule_runs(&p, &in);
  REACHED;
}

/*! enforce perceive; replace eg_time_advance eg_cameras_update eg_members_update eg_numbers_check
 * rule_runs; unwind 10; fields 4; solver kissat; seconds 60 */
void prove_perceive(void) {
  free_choice();
  eg_policy_t p;
  eg_state_t s;
  eg_input_t in;
  perceive(&p, &s, &in);
  REACHED;
}

/*! enforce stands; unwind 10; fields 4 */
void prove_stands(void) {
  eg_policy_t p;
  eg_input_t in;
  stands(&p, &in);
  REACHED;
}

/*! enforce report; replace eg_mode eg_asks_operator; unwind 10; fields 4; seconds 6 */
void prove_report(void) {
  free_choice();
  eg_policy_t p;
  eg_state_t s;
  eg_input_t in;
  eg_decision_t out;
  report(&p, &s, &in, &out);
  REACHED;
}

/*! enforce answer; replace eg_crc_end; unwind 10 */
void prove_answer(void) {
  eg_state_t s;
  eg_input_t in;
  eg_decision_t out;
  answer(&s, &in, &out);
  REACHED;
}

/*! enforce eg_init; unwind 10; fields 4 */
void prove_init(void) {
  free_choice();
  eg_policy_t p;
  eg_state_t s;
  eg_init(&p, &s);
  REACHED;
}

/*! enforce eg_arm; fields 4 */
void prove_arm(void) {
  free_choice();
  eg_policy_t p;
  eg_state_t s;
  eg_arm(&p, &s);
  REACHED;
}

/*! enforce eg_takeover */
void prove_takeover(void) {
  eg_state_t s;
  eg_takeover(&s);
  REACHED;
}

/*! enforce eg_decide; replace perceive eg_flow_begin eg_worst eg_channels_start eg_votes_update
 * eg_causes_update stands report eg_commands_update answer; unwind 10; fields 4; solver kissat;
 * seconds 60 */
void prove_decide(void) {
  free_choice();
  eg_policy_t p;
  eg_state_t s;
  eg_input_t in;
  eg_decision_t out;
  eg_decide(&p, &s, &in, &out);
  REACHED;
}
