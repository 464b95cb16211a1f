/* SPDX-License-Identifier: Apache-2.0 */
#include "arith.h"
#include "edgeguard/link.h"

#define PER_DRIFT_US (1000000u / EG_CLOCK_DRIFT_PPM)             /* earns one microsecond */
#define UNCOUNTED_MAX_US (EG_CLOCK_EARNED_MAX_US * PER_DRIFT_US) /* ten seconds */

static uint32_t least(uint32_t a, uint32_t b) {
  return a < b ? a : b;
}

bool eg_clock_measure(eg_clock_t *c, uint32_t sent_us, uint32_t got_us, uint32_t their_stamp_us) {
  uint32_t trip_us = got_us - sent_us, half_us = trip_us / 2u;
  if (trip_us > EG_ROUND_TRIP_MAX_US) return false;
  *c = (eg_clock_t){.offset_us = sent_us + half_us - their_stamp_us,
                    .error_us = trip_us - half_us,
                    .known = true};
  return true;
}

void eg_clock_tick(eg_clock_t *c, uint32_t elapsed_us) {
  c->uncounted_us = least(eg_age_add(c->uncounted_us, elapsed_us), UNCOUNTED_MAX_US);
}

/* Their clock may be slow: the offset gains what drift earned, and may be taken back by twice that,
 * since their clock may as well be fast. */
static void gain(eg_clock_t *c) {
  uint32_t gained_us = c->uncounted_us / PER_DRIFT_US;
  c->uncounted_us %= PER_DRIFT_US;
  c->offset_us += gained_us;
  c->back_us = least(c->back_us + 2u * gained_us, EG_CLOCK_EARNED_MAX_US);
}

bool eg_clock_age(eg_clock_t *c, uint32_t now_us, uint32_t their_stamp_us, uint32_t *age_us) {
  if (!c->known) return false;
  gain(c);
  int32_t half_us = (int32_t)c->error_us;
  int32_t signed_us = (int32_t)(now_us - their_stamp_us - c->offset_us);
  if (signed_us < half_us) { /* nothing comes faster: take the offset back */
    uint32_t taken_us = least(c->error_us - (uint32_t)signed_us, c->back_us);
    c->offset_us -= taken_us;
    c->back_us -= taken_us;
    signed_us += (int32_t)taken_us;
  }
  if (signed_us < -half_us) return false;
  *age_us = signed_us < 0 ? 0 : (uint32_t)signed_us;
  return true;
}
