/* SPDX-License-Identifier: Apache-2.0 */
/* A page that may only be read: a write traps, is let through alone, and the page is closed again.
 */
#define _GNU_SOURCE
#include "watched_ram.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "check.h"

#define PAGE 4096u
#define TRAP_FLAG 0x100 /* x86: SIGTRAP after the next instruction */

static uint8_t *page;
static uint32_t written;
static void (*seen)(volatile uint32_t *ram, uint32_t word);

static void allow(int how) {
  if (mprotect(page, PAGE, how) != 0) abort();
}

static void before(int signal, siginfo_t *info, void *context) {
  uint8_t *at = info->si_addr;
  (void)signal;
  if (at < page || at >= page + PAGE) abort();
  written = (uint32_t)(at - page) / 4u;
  allow(PROT_READ | PROT_WRITE);
  ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
}

static void after(int signal, siginfo_t *info, void *context) {
  (void)signal;
  (void)info;
  ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
  seen((volatile uint32_t *)(void *)page, written);
  allow(PROT_READ);
}

static void handle(int signal, void (*handler)(int, siginfo_t *, void *)) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO;
  CHECK(sigaction(signal, &action, NULL) == 0, "signal %d", signal);
}

volatile uint32_t *watched_ram(void (*wrote)(volatile uint32_t *ram, uint32_t word)) {
  if (!page) page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(page != MAP_FAILED, "mmap");
  allow(PROT_READ | PROT_WRITE);
  memset(page, 0, PAGE);
  seen = wrote;
  handle(SIGSEGV, before);
  handle(SIGTRAP, after);
  allow(PROT_READ);
  return (volatile uint32_t *)(void *)page;
}

void watched_ram_end(void) {
  allow(PROT_READ | PROT_WRITE);
}
