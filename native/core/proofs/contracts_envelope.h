/* SPDX-License-Identifier: Apache-2.0 */
/* What envelope.c promises. */
#ifndef EDGEGUARD_CONTRACTS_ENVELOPE_H
#define EDGEGUARD_CONTRACTS_ENVELOPE_H

#include "well_formed.h"

#define LOW_OF(l, last) ((int64_t)(last) - (l)->fall)
#define HIGH_OF(l, last) ((int64_t)(last) + (l)->rise)

int32_t eg_envelope_step(const eg_limits_t *l, int32_t last, int32_t want)
    REQUIRES(READS(l) && l->rise >= 0 && l->fall >= 0 && l->min <= l->max) ASSIGNS()
    /* ENV-5 */ ENSURES(RET >= LOW_OF(l, last) && RET <= HIGH_OF(l, last))
    /* ENV-1 */ ENSURES(IMPLIES(LOW_OF(l, last) <= l->max && HIGH_OF(l, last) >= l->min,
                                RET >= l->min && RET <= l->max))
    /* ENV-2 */ ENSURES(IMPLIES(LOW_OF(l, last) > l->max, RET == LOW_OF(l, last)))
    /* ENV-2 */ ENSURES(IMPLIES(HIGH_OF(l, last) < l->min, RET == HIGH_OF(l, last)))
    /* ENV-6 */ ENSURES(IMPLIES(want >= l->min && want <= l->max && want >= LOW_OF(l, last) &&
                                    want <= HIGH_OF(l, last),
                                RET == want));

int32_t eg_rate_step(int32_t per_second, uint32_t elapsed_us, uint32_t period_us)
    REQUIRES(period_us <= 1000000) ASSIGNS()
        ENSURES(per_second >= 0 ? RET >= 0 && RET <= per_second : RET <= 0 && RET >= per_second);

#define BETWEEN(x, a, b) ((a) <= (b) ? (a) <= (x) && (x) <= (b) : (b) <= (x) && (x) <= (a))
#define NEXT_ROW (a_row + 1 < EG_MAX_ROWS ? a_row + 1 : a_row)
#define ROW_A t->row[a_row].limits
#define ROW_B t->row[NEXT_ROW].limits
#define READABLE (t->rows > 1 && signal != NULL && signal->validity == EG_VALID)
#define IN_ROW                                                                                     \
  (READABLE && a_row + 1 < t->rows && signal->value >= t->row[a_row].at &&                         \
   signal->value <= t->row[NEXT_ROW].at)

eg_limits_t eg_limits_at(const eg_limit_table_t *t, const eg_number_t *signal)
    REQUIRES(READS(t) && (signal == NULL || READS(signal))) REQUIRES(rows_ok(t)) ASSIGNS()
    /* ENV-7 */ ENSURES(RET.rise >= 1 && RET.fall >= 1 && RET.min <= RET.max)
    /* ENV-7 */ ENSURES(IMPLIES(!READABLE && a_row < t->rows,
                                RET.rise <= ROW_A.rise && RET.fall <= ROW_A.fall &&
                                    RET.max <= ROW_A.max && RET.min >= ROW_A.min))
    /* ENV-7 */ ENSURES(IMPLIES(IN_ROW, BETWEEN(RET.min, ROW_A.min, ROW_B.min) &&
                                            BETWEEN(RET.max, ROW_A.max, ROW_B.max) &&
                                            BETWEEN(RET.rise, ROW_A.rise, ROW_B.rise) &&
                                            BETWEEN(RET.fall, ROW_A.fall, ROW_B.fall)));

#endif
