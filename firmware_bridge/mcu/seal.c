/* SPDX-License-Identifier: Apache-2.0 */
#include "mcu.h"

/* At the end of the image; seal.py writes the CRCs once the rest is linked. */
__attribute__((section(".seal"), used))
const eg_seal_t eg_seal = {0xFFFFFFFFu, {0}, 0xFFFFFFFFu, EG_KNOWN_ANSWERS};
