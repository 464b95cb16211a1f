/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "mcu.h"

uint32_t eg_crc_of(const void *data, uint32_t n) {
  return eg_crc_end(eg_crc(EG_CRC_START, data, n));
}

static const eg_policy_t *policy(void) {
  return &board_memory()->config->policy;
}

/* The command goes on from what the actuators got last, so that a reset is no jump; after power
 * came it starts from what is measured, as the core does. */
static void resume(eg_kept_t *k, const eg_record_t *r) {
  for (uint32_t i = 0; r->commanded && i < EG_OUTPUTS; i++) {
    k->state.channel[i].last = k->state.channel[i].target = r->output[i];
    k->state.channel[i].started = 1;
  }
}

static void start(eg_mcu_t *m, uint16_t failed, const uint8_t entropy[EG_ENTROPY_BYTES]) {
  const eg_mcu_config_t *config = board_memory()->config;
  uint8_t seed[EG_ENTROPY_BYTES];
  memcpy(seed, entropy, sizeof seed); /* it may lie in what is cleared now */
  memset(m, 0, sizeof *m);
  eg_kept_t *k = &m->kept;
  bool table = (failed & EG_FAIL_POLICY) == 0; /* a table that is not right is not read */
  if (table) eg_init(&config->policy, &k->state);
  resume(k, board_memory()->record);
  k->failed = failed;
  k->engaged = m->heard.inbox.command.engaged = 1;
  k->period_us = table ? config->policy.period_us : EG_TURN_US;
  k->last_us = board_now_us();
  k->image_crc = EG_CRC_START;
  eg_link_init(&m->heard.link, &config->link);
  memcpy(m->heard.arming.entropy, seed, sizeof seed);
}

static void save(void) {
  eg_record_save(board_memory()->record, board_memory()->saved);
}

static void seal(eg_mcu_t *m) {
  save();
  eg_heard_seal(m);
  m->kept_crc = eg_crc_of(&m->kept, sizeof m->kept);
}

static void note_failed(eg_mcu_t *m, uint16_t failed) {
  eg_record_t *r = board_memory()->record;
  m->kept.failed |= failed;
  r->failed |= failed;
  if (r->failed) r->next = EG_RESET_SELF_TEST;
}

void eg_mcu_boot(eg_mcu_t *m) {
  const eg_memory_t *memory = board_memory();
  uint8_t entropy[EG_ENTROPY_BYTES];
  board_init(entropy);
  eg_record_boot(memory->record, memory->saved);
  for (uint32_t i = 0; i < memory->canary_words; i++) memory->canary[i] = EG_CANARY;
  uint16_t failed = eg_self_test(m);
  start(m, failed, entropy);
  note_failed(m, failed);
  seal(m);
}

/* What was kept in RAM cannot be trusted: begin anew, at the output that the actuators have. */
static uint16_t recover(eg_mcu_t *m) {
  eg_record_t *r = board_memory()->record;
  if (!eg_record_sealed(r)) {
    memset(r, 0, sizeof *r); /* arming ages of 0 with it: the strict side */
    board_readback(r->output);
    r->commanded = 1;
  }
  start(m, r->failed, m->heard.arming.entropy);
  m->kept.last_us -= m->kept.period_us; /* this turn is as long as any */
  return EG_FAIL_RAM;
}

static void age(eg_mcu_t *m, uint32_t elapsed_us) {
  eg_record_t *r = board_memory()->record;
  m->kept.turns++;
  for (uint32_t i = 0; i < EG_ARMS_PER_MINUTE; i++) {
    uint32_t room_us = EG_AGE_MAX - r->arm_us[i];
    r->arm_us[i] += elapsed_us < room_us ? elapsed_us : room_us;
  }
}

/* Without core and table: what the manoeuvre says, which is gentle by itself. */
static void stop(eg_mcu_t *m) {
  memset(&m->out, 0, sizeof m->out);
  m->out.mode = EG_SAFE_STOP;
  m->out.active = 1;
  m->out.operator_request = 1;
  m->out.causes = m->out.present = EG_BIT(EG_SELF_TEST);
  m->out.channel[EG_SPEED].command = m->in.rule[EG_SPEED];
  m->out.channel[EG_STEERING].command = board_memory()->record->output[EG_STEERING];
}

/* What was decided goes out when the code that decided it is still as it was. */
static void decide(eg_mcu_t *m, uint32_t elapsed_us) {
  if (m->kept.failed == 0) {
    eg_decide(policy(), &m->kept.state, &m->in, &m->out);
    eg_path_update(m, elapsed_us);
    note_failed(m, eg_image_check());
  }
  if (m->kept.failed) stop(m);
}

static void actuate(eg_mcu_t *m) {
  eg_record_t *r = board_memory()->record;
  int32_t held[EG_OUTPUTS];
  for (uint32_t i = 0; i < EG_OUTPUTS; i++) r->output[i] = m->out.channel[i].command;
  r->commanded = 1;
  save(); /* a reset finds what the actuators may have, the output before and this one */
  board_actuate(r->output);
  save(); /* and from here on this one alone */
  board_readback(held);
  if (memcmp(held, r->output, sizeof held) != 0) note_failed(m, EG_FAIL_OUTPUT);
}

/* Whether this turn came in time, took no longer than it may, and its controller ran. */
static bool in_time(const eg_mcu_t *m, uint32_t begun_us, uint32_t elapsed_us) {
  uint32_t period_us = m->kept.period_us;
  bool came = elapsed_us <= period_us + period_us / 2u;
  bool ends = board_now_us() - begun_us <= period_us;
  bool ran = m->in.rule_us <= policy()->controller_budget_us; /* EG_AGE_MAX until it did */
  return came && ends && ran;
}

void eg_mcu_step(eg_mcu_t *m) {
  uint32_t begun_us = board_now_us();
  m->drained = 0;
  if (!eg_sealed(m)) note_failed(m, recover(m));
  note_failed(m, eg_self_check(m));
  uint32_t now_us = board_now_us();
  uint32_t elapsed_us = now_us - m->kept.last_us;
  m->kept.last_us = now_us;
  age(m, elapsed_us);
  eg_sense(m, now_us, elapsed_us);
  eg_manoeuvre(m, elapsed_us);
  decide(m, elapsed_us);
  actuate(m);
  eg_arming(m);
  if (m->kept.failed == 0 && in_time(m, begun_us, elapsed_us)) board_stroke();
  eg_report(m, now_us);
  seal(m);
}
