/* SPDX-License-Identifier: Apache-2.0 */
/* What this processor makes of the core and the link, on inputs whose results are known. */
#include <string.h>

#include "mcu.h"

static uint32_t fold_frame(uint32_t crc) {
  static const uint8_t key[EG_KEY_BYTES] = {0x2B, 0x7E, 0x15, 0x16, 0x28, 0xAE, 0xD2, 0xA6,
                                            0xAB, 0xF7, 0x15, 0x88, 0x09, 0xCF, 0x4F, 0x3C};
  uint8_t frame[EG_E2E_HEADER + 4u] = {0}, stuffed[sizeof frame + 1u], tag[EG_TAG_BYTES];
  frame[EG_E2E_HEADER] = 0x5A;
  eg_e2e_protect(frame, sizeof frame, 0x1234u, 0x0A0B0C0Du);
  eg_cmac(key, frame, sizeof frame, key, sizeof key, tag);
  (void)eg_cobs_encode(frame, sizeof frame, stuffed);
  crc = eg_crc(crc, tag, sizeof tag);
  return eg_crc(crc, stuffed, sizeof stuffed);
}

static uint32_t fold_limits(uint32_t crc) {
  static const eg_limits_t limits = {-300, 500, 7, 9};
  static const int32_t pair[][2] = {{0, 900},     {0, -900}, {498, 900},
                                    {-295, -900}, {600, 0},  {3, 4}};
  for (uint32_t i = 0; i < sizeof pair / sizeof pair[0]; i++)
    crc = eg_crc_u32(crc, (uint32_t)eg_envelope_step(&limits, pair[i][0], pair[i][1]));
  return eg_crc_u32(crc, (uint32_t)eg_rate_step(EG_STOP_RATE, 10001u, 10000u));
}

static uint32_t fold_debounce(uint32_t crc) {
  static const eg_cause_row_t row = {EG_FALLBACK, EG_CLEARS_ITSELF, 0, 20000u, 30000u};
  eg_debounce_t d = {0, 0};
  bool active = false;
  for (uint32_t i = 0; i < 12u; i++) {
    active = eg_debounce_step(&row, &d, active, i < 4u, 10000u);
    crc = eg_crc_u32(crc, active);
  }
  return crc;
}

/* One whole step: unarmed it must say SAFE_STOP, and its answer must be the one that its checks
 * make. */
static uint32_t fold_step(uint32_t crc, eg_mcu_t *m, const eg_policy_t *p) {
  memset(&m->in, 0, sizeof m->in);
  m->in.elapsed_us = p->period_us;
  m->in.question = 0x13579BDFu;
  eg_init(p, &m->kept.state);
  eg_decide(p, &m->kept.state, &m->in, &m->out);
  uint32_t answer = eg_flow_answer(m->in.question, m->out.sequence, m->out.check);
  crc = eg_crc_u32(crc, m->out.mode);
  return eg_crc_u32(crc, answer ^ m->out.answer);
}

uint32_t eg_known_answers(eg_mcu_t *m, const eg_policy_t *p) {
  uint32_t crc = eg_crc(EG_CRC_START, (const uint8_t *)"123456789", 9u);
  crc = fold_frame(crc);
  crc = fold_limits(crc);
  crc = fold_debounce(crc);
  return eg_crc_end(fold_step(crc, m, p));
}
