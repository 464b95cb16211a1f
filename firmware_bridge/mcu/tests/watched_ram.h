/* SPDX-License-Identifier: Apache-2.0 */
/* Words of RAM that see each write to them: how a test counts them, or gives them a fault. */
#ifndef EDGEGUARD_WATCHED_RAM_H
#define EDGEGUARD_WATCHED_RAM_H

#include <stdint.h>

#define WATCHED_WORDS 1024u

/* All zero. From now on `wrote` is called after each write, and may change any word. */
volatile uint32_t *watched_ram(void (*wrote)(volatile uint32_t *ram, uint32_t word));
/* No more calls; the words can be written like any. */
void watched_ram_end(void);

#endif
