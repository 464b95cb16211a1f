/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <string.h>

#include "edgeguard/message.h"
#include "mcu.h"

static uint32_t crc_of(const eg_record_t *r) {
  return eg_crc_of(r, offsetof(eg_record_t, crc));
}

/* A word that reads as zeros is what RAM may hold when power comes, so it must not be right. */
bool eg_record_sealed(const eg_record_t *r) {
  return r->crc == crc_of(r) && r->next != EG_RESET_POWER;
}

void eg_record_save(eg_record_t *r, eg_record_t saved[EG_SAVES]) {
  r->version++;
  r->crc = crc_of(r);
  saved[r->version % EG_SAVES] = *r;
}

/* NULL: none is whole, so power just came. */
static const eg_record_t *newest(const eg_record_t saved[EG_SAVES]) {
  const eg_record_t *last = NULL;
  for (uint32_t i = 0; i < EG_SAVES; i++) {
    if (!eg_record_sealed(&saved[i])) continue;
    if (last == NULL || (int16_t)(saved[i].version - last->version) > 0) last = &saved[i];
  }
  return last;
}

static uint32_t magnitude(int32_t x) {
  return x < 0 ? 0u - (uint32_t)x : (uint32_t)x;
}

/* A reset between deciding and acting leaves open which of the two speeds the actuators have: going
 * on from the slower one never speeds up. */
static int32_t slower_speed(const eg_record_t saved[EG_SAVES], int32_t speed) {
  for (uint32_t i = 0; i < EG_SAVES; i++)
    if (eg_record_sealed(&saved[i]) && saved[i].commanded &&
        magnitude(saved[i].output[EG_SPEED]) < magnitude(speed))
      speed = saved[i].output[EG_SPEED];
  return speed;
}

static void power_came(eg_record_t *r) {
  memset(r, 0, sizeof *r);
  r->reason = r->first = EG_RESET_POWER;
  for (uint32_t i = 0; i < EG_ARMS_PER_MINUTE; i++) r->arm_us[i] = EG_AGE_MAX;
}

/* Not every board has a register that tells one reset from another, so each reset is announced. One
 * that nobody announced is the watchdog's (or the reset pin's). A port that can tell that power
 * came wipes what was saved. */
void eg_record_boot(eg_record_t *r, eg_record_t saved[EG_SAVES]) {
  const eg_record_t *last = newest(saved);
  if (last) {
    *r = *last;
    r->output[EG_SPEED] = slower_speed(saved, r->output[EG_SPEED]);
    r->first = r->reason;
    r->reason = r->next;
    r->failed_before = r->failed;
    if (r->resets < UINT16_MAX) r->resets++;
  } else {
    power_came(r);
  }
  r->failed = 0;
  r->next = EG_RESET_WATCHDOG;
  eg_record_save(r, saved);
}
