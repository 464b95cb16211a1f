/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>

extern void _start(void);
extern uint32_t __stack;

__attribute__((section(".vectors"), used)) static void *const vectors[2] = {&__stack,
                                                                            (void *)_start};
