/* SPDX-License-Identifier: Apache-2.0 */
/* Start-up of any Cortex-M4 here: vectors, .data and .bss, and what a processor exception does. */
#include <stdint.h>
#include <string.h>

#include "board.h"
#include "cortex_m.h"
#include "edgeguard/message.h"
#include "mcu.h"

extern uint8_t eg_stack_top[], eg_data_start[], eg_data_end[], eg_data_image[], eg_bss_start[],
    eg_bss_end[];

int main(void);
void eg_reset(void);
void eg_fault(void);

void eg_reset(void) {
  memcpy(eg_data_start, eg_data_image, (size_t)(eg_data_end - eg_data_start));
  memset(eg_bss_start, 0, (size_t)(eg_bss_end - eg_bss_start));
  main();
}

/* The stack may be what failed, so this starts at its top again. Names the reason, and resets. */
static void __attribute__((used)) fault(void) {
  eg_record_t *r = board_memory()->record;
  if (r->next != EG_RESET_POWER) { /* else it was not yet read, and what was saved is better */
    r->next = EG_RESET_FAULT;
    eg_record_save(r, board_memory()->saved);
  }
  EG_AIRCR = EG_AIRCR_RESET;
  for (;;) {
  }
}

void __attribute__((naked)) eg_fault(void) {
  __asm volatile("ldr r0, =eg_stack_top\n"
                 "mov sp, r0\n"
                 "b fault\n");
}

/* First notice of the hardware watchdog. Nothing may stroke it here: the reset comes. */
static void __attribute__((naked)) nmi(void) {
  __asm volatile("bx lr\n");
}

typedef void (*eg_vector_t)(void);

__attribute__((section(".vectors"), used)) static const eg_vector_t vectors[16] = {
    (eg_vector_t)(uintptr_t)eg_stack_top,
    eg_reset,
    nmi,
    eg_fault,
    eg_fault,
    eg_fault,
    eg_fault,
    0,
    0,
    0,
    0,
    eg_fault,
    eg_fault,
    0,
    eg_fault,
    eg_fault,
};
