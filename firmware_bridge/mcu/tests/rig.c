/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include <string.h>

static eg_limit_table_t flat(int32_t min, int32_t max, int32_t rise, int32_t fall) {
  eg_limit_table_t t = {.rows = 1, .row = {{0, {min, max, rise, fall}}}};
  return t;
}

static void causes(eg_policy_t *p) {
  static const uint8_t stops[] = {EG_NOT_ARMED,    EG_TIME_FAULT,    EG_CONTROLLER_LOST,
                                  EG_LINK_LOST,    EG_LINK_FAULTY,   EG_ANSWER_WRONG,
                                  EG_PEER_STOPPED, EG_INPUT_INVALID, EG_SELF_TEST};
  for (uint32_t c = 0; c < EG_CAUSES; c++) {
    eg_cause_row_t row = {EG_FALLBACK, EG_CLEARS_ITSELF, 0, 0, 0};
    p->cause[c] = row;
  }
  for (uint32_t i = 0; i < sizeof stops; i++) {
    p->cause[stops[i]].severity = EG_SAFE_STOP;
    p->cause[stops[i]].clears = EG_CLEARS_BY_REARM;
  }
  p->cause[EG_INPUT_INVALID].on_us = p->cause[EG_INPUT_INVALID].off_us = 50000;
  p->cause[EG_CONTROLLER_LOST].on_us = p->cause[EG_CONTROLLER_LOST].off_us = 30000;
  p->cause[EG_SELF_TEST].clears = EG_CLEARS_NEVER;
  p->cause[EG_OVERRUN].severity = p->cause[EG_LATE].severity = EG_DEGRADED;
  p->cause[EG_OPERATION_DENIED].severity = EG_NOMINAL;
}

/* The lateral limit as a table over speed: what 2 m/s2 allow with a wheelbase of 2.7 m. */
static void steering_limits(eg_limit_table_t *t) {
  static const int32_t at[] = {0, 5, 10, 20, 33};
  static const double angle[] = {0.5, 0.21, 0.054, 0.0135, 0.005};
  t->rows = 5;
  for (uint32_t i = 0; i < 5; i++) {
    eg_limits_t l = {Q(-angle[i]), Q(angle[i]), Q(0.4), Q(0.4)};
    t->row[i].at = at[i] * EG_ONE;
    t->row[i].limits = l;
  }
}

static void channel(eg_policy_t *p, uint8_t i) {
  eg_channel_t *c = &p->channel[i];
  c->kind = EG_BY_VALUE;
  c->measured = i;
  c->table_signal = EG_NONE;
  c->manoeuvre = 1;
  c->dispersion = INT32_MAX;
  c->demand[EG_RAISE].quorum = c->demand[EG_LOWER].quorum = 1;
  c->demand[EG_RAISE].frames = c->demand[EG_LOWER].frames = 1;
  p->member[i].kind = EG_BY_VALUE;
  p->member[i].modes = 0xF;
  p->member[i].may = (uint16_t)(3u << 2 * i);
  p->member[i].deadline_us = 20000;
  p->member[i].max_age_us = 40000;
  p->member[i].sum_max = 2 * EG_ONE;
}

eg_mcu_config_t rig_config(void) {
  eg_mcu_config_t c;
  memset(&c, 0, sizeof c);
  eg_policy_t *p = &c.policy;
  p->period_us = TURN_US;
  p->max_gap_us = 100000;
  p->controller_budget_us = 2000;
  p->standstill_below = Q(0.1);
  p->members = p->channels = p->signals = 2;
  causes(p);
  p->signal[EG_SPEED].max = Q(70);
  p->signal[EG_STEERING].min = Q(-0.6);
  p->signal[EG_STEERING].max = Q(0.6);
  channel(p, EG_SPEED);
  channel(p, EG_STEERING);
  p->channel[EG_SPEED].nominal = flat(0, Q(33.4), Q(1.5), Q(4));
  p->channel[EG_SPEED].degraded = flat(0, Q(22.3), Q(0.7), Q(4));
  p->channel[EG_STEERING].table_signal = EG_SPEED;
  steering_limits(&p->channel[EG_STEERING].nominal);
  steering_limits(&p->channel[EG_STEERING].degraded);
  c.link.mcu = 1;
  c.link.authenticated = 1;
  c.link.period_us = TURN_US;
  c.link.max_age_us = 2 * TURN_US;
  memset(c.link.key, 0x11, sizeof c.link.key);
  memset(c.operator_key, 0x22, sizeof c.operator_key);
  memset(c.policy_hash, 0x33, sizeof c.policy_hash);
  c.host_channel[EG_STEERING] = 1;
  return c;
}

static uint32_t host_now(const rig_t *r) {
  return r->twin.now_us + r->host_ahead_us;
}

void rig_start_with(rig_t *r, const eg_mcu_config_t *config) {
  memset(r, 0, sizeof *r);
  eg_twin_init(&r->twin, config);
  r->twin.now_us = 1000000;
  r->host_ahead_us = 123456789;
  eg_link_config_t link = config->link;
  link.mcu = 0;
  eg_link_init(&r->host, &link);
  memcpy(r->link_key, config->link.key, sizeof r->link_key);
  memcpy(r->operator_key, config->operator_key, sizeof r->operator_key);
  memcpy(r->hash, config->policy_hash, sizeof r->hash);
  r->engaged = 1;
  r->channels = 2;
  r->answer_after_us = 2000;
  r->follows = 1;
  r->arm_delay_us = 4000;
  r->twin.sensed.speed.validity = r->twin.sensed.steering.validity = EG_VALID;
  eg_twin_boot(&r->twin);
}

void rig_start(rig_t *r) {
  eg_mcu_config_t config = rig_config();
  rig_start_with(r, &config);
}

static bool lost(rig_t *r, uint8_t type) {
  bool is = (r->lose >> type & 1u) != 0;
  r->lose &= ~(1u << type);
  return is;
}

void rig_say(rig_t *r, const eg_message_t *m) {
  uint8_t wire[EG_WIRE_MAX];
  uint16_t n = eg_link_wire(&r->host, m, wire);
  if (lost(r, m->type)) return;
  eg_twin_receive(&r->twin, wire, n);
  if (r->twice && m->type == EG_MSG_COMMAND) eg_twin_receive(&r->twin, wire, n);
  eg_twin_listen(&r->twin);
}

void rig_hello(rig_t *r) {
  eg_message_t m = {.type = EG_MSG_HELLO};
  for (uint32_t i = 0; i < EG_NONCE_BYTES; i++) r->nonce[i] = (uint8_t)(r->nonce[i] + i + 1u);
  memcpy(m.as.hello.nonce, r->nonce, sizeof r->nonce);
  memcpy(m.as.hello.policy, r->hash, sizeof r->hash);
  rig_say(r, &m);
}

void rig_ask_arm(rig_t *r) {
  eg_message_t m = {.type = EG_MSG_ARM};
  memcpy(m.as.arm.nonce, r->challenge.nonce, EG_NONCE_BYTES);
  eg_cmac(r->operator_key, r->challenge.nonce, EG_NONCE_BYTES, NULL, 0, m.as.arm.token);
  m.as.arm.stamp_us = host_now(r);
  rig_say(r, &m);
}

/* What the firmware sent, as the host hears it. */
static void hear(rig_t *r) {
  eg_message_t m;
  r->sent = r->twin.tx_used;
  for (uint32_t i = 0; i < r->twin.tx_used; i++) {
    if (!eg_link_byte(&r->host, r->twin.tx[i], host_now(r), &m) || lost(r, m.type)) continue;
    r->seen[m.type]++;
    if (m.type == EG_MSG_CHALLENGE) r->challenge = m.as.challenge;
    if (m.type == EG_MSG_ARMED) r->armed = m.as.armed;
    if (m.type == EG_MSG_STATE) r->state = m.as.state;
    if (m.type == EG_MSG_BOOT) r->boot = m.as.boot;
    if (m.type == EG_MSG_LOG_ACK) r->head = m.as.log_head;
    if (m.type == EG_MSG_QUESTION) r->asked = m.as.question, r->question = r->asked.question;
    if (m.type == EG_MSG_ARMED && r->armed.result == EG_ARM_OK) {
      eg_link_open(&r->host, r->nonce, r->challenge.nonce);
      r->question = 0; /* of the session before */
    }
  }
  r->twin.tx_used = 0;
}

static void command(rig_t *r) {
  eg_message_t m = {.type = EG_MSG_COMMAND};
  eg_command_msg_t *c = &m.as.command;
  c->tick = r->tick;
  c->stamp_us = host_now(r) - r->command_age_us;
  c->mode = r->mode;
  c->engaged = r->engaged;
  c->channels = r->channels;
  c->command[0] = r->want[0];
  c->command[1] = r->want[1];
  rig_say(r, &m);
}

static void answer(rig_t *r) {
  eg_message_t m = {.type = EG_MSG_ANSWER};
  eg_answer_t *a = &m.as.answer;
  uint32_t crc = EG_CRC_START;
  for (uint32_t i = 0; i < r->channels; i++) crc = eg_crc_u32(crc, (uint32_t)r->want[i]);
  a->tick = r->tick - r->answer_old;
  a->question = r->question;
  a->check[EG_CHECK_CAUSES] = eg_crc_end(eg_crc_u32(eg_crc_u32(EG_CRC_START, 0), 0));
  a->check[EG_CHECK_COMMANDS] = eg_crc_end(crc);
  a->answer = eg_flow_answer(a->question, a->tick, a->check) ^ r->flip;
  rig_say(r, &m);
  r->question = 0;
}

static void speak(rig_t *r) {
  eg_message_t verdict = {.type = EG_MSG_VERDICT};
  r->tick++;
  command(r);
  verdict.as.verdict.tick = r->tick;
  verdict.as.verdict.mode = r->mode;
  rig_say(r, &verdict);
  if (r->question && !r->no_answer) answer(r);
}

/* First-order lag of 0.3 s for the speed, 0.1 s for the steering. */
static void move(rig_t *r) {
  if (r->follows) {
    r->speed += (r->twin.actuator[EG_SPEED] - r->speed) / 30;
    r->steering += (r->twin.actuator[EG_STEERING] - r->steering) / 10;
  }
  r->twin.sensed.speed.value = r->speed;
  r->twin.sensed.steering.value = r->steering;
}

static void step(rig_t *r, uint32_t elapsed_us) {
  r->twin.now_us += elapsed_us;
  move(r);
  eg_twin_step(&r->twin);
  hear(r);
  eg_link_pass(&r->host, elapsed_us);
  (void)eg_link_tick(&r->host);
}

void rig_step(rig_t *r) {
  step(r, TURN_US);
}

void rig_turn(rig_t *r) {
  bool speaks = !r->mute && r->host.in_session;
  uint32_t after_us = speaks ? r->answer_after_us : 0;
  r->twin.now_us += after_us;
  if (speaks) speak(r);
  step(r, TURN_US - after_us);
}

void rig_turns(rig_t *r, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) rig_turn(r);
}

uint32_t rig_arm(rig_t *r) {
  r->armed.result = EG_ARM_TOO_OFTEN + 1;
  rig_hello(r);
  rig_step(r);
  r->twin.now_us += r->arm_delay_us;
  rig_ask_arm(r);
  step(r, TURN_US - r->arm_delay_us % TURN_US);
  return r->armed.result;
}

void rig_drive(rig_t *r, int32_t speed, uint32_t turns) {
  rig_start(r);
  rig_turns(r, 3);
  CHECK(rig_arm(r) == EG_ARM_OK, "%u", r->armed.result);
  r->want[EG_SPEED] = speed;
  rig_turns(r, turns);
}

/* Its memories are its own. */
void rig_copy(rig_t *to, const rig_t *from) {
  *to = *from;
  eg_memory_t *m = &to->twin.memory;
  m->config = &to->twin.flash.config;
  m->image = (const uint8_t *)&to->twin.flash;
  m->seal = &to->twin.seal;
  m->ram = to->twin.ram;
  m->canary = to->twin.canary;
  m->record = &to->twin.record;
  m->saved = to->twin.saved;
}

void rig_steady(rig_t *r) {
  static rig_t made;
  static bool is_made;
  if (!is_made) rig_drive(&made, Q(10), 800);
  is_made = true;
  rig_copy(r, &made);
  CHECK(rig_out(r, EG_SPEED) == Q(10), "%d", rig_out(r, EG_SPEED));
}

int32_t rig_out(const rig_t *r, uint32_t channel) {
  return r->twin.actuator[channel];
}

void rig_goes_safe(rig_t *r, uint32_t turns, uint16_t failed, const char *what) {
  int32_t at = rig_out(r, EG_SPEED), angle = rig_out(r, EG_STEERING);
  uint32_t t = 0, resets = r->twin.resets;
  while (!r->twin.mcu.kept.failed && t < turns) rig_turn(r), t++;
  uint32_t strokes = r->twin.strokes;
  CHECK(r->twin.mcu.kept.failed & failed, "%s: %x", what, r->twin.mcu.kept.failed);
  for (t = 0; t < 30; t++) {
    int32_t before = rig_out(r, EG_SPEED);
    rig_turn(r);
    CHECK(r->twin.mcu.out.causes & EG_BIT(EG_SELF_TEST), "%s: %x", what, r->twin.mcu.out.causes);
    CHECK(r->twin.mcu.out.mode == EG_SAFE_STOP, "%s: mode %u", what, r->twin.mcu.out.mode);
    CHECK(rig_out(r, EG_SPEED) < before && before - rig_out(r, EG_SPEED) <= Q(0.04) + 1,
          "%s: from %d to %d", what, before, rig_out(r, EG_SPEED));
    CHECK(rig_out(r, EG_STEERING) == angle, "%s: steers", what);
  }
  CHECK(r->twin.strokes == strokes, "%s: stroked", what);
  CHECK(at == Q(10) && rig_out(r, EG_SPEED) < Q(9), "%s: %d", what, rig_out(r, EG_SPEED));
  while (r->twin.resets == resets && t < 60) rig_turn(r), t++;
  CHECK(r->twin.record.reason == EG_RESET_SELF_TEST, "%s: reason %u", what, r->twin.record.reason);
  CHECK(r->twin.record.failed_before & failed, "%s: %x", what, r->twin.record.failed_before);
  rig_turns(r, 21);
  CHECK(r->boot.self_test >> 16 & failed, "%s: BOOT says %x", what, r->boot.self_test);
}
