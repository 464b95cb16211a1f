/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>

#include "mcu.h"

#define PATTERN 0x55555555u

/* Two words at once, each with the other's complement, so that one that answers for the other, or a
 * bit that hangs on its neighbour, shows. Kept to registers: the stack is RAM too. */
bool eg_ram_holds(volatile uint32_t *a, volatile uint32_t *b) {
  const uint32_t was_a = *a, was_b = *b;
  *a = PATTERN;
  *b = ~PATTERN;
  uint32_t differs = (*a ^ PATTERN) | (*b ^ ~PATTERN);
  *a = ~PATTERN;
  *b = PATTERN;
  differs |= (*a ^ ~PATTERN) | (*b ^ PATTERN);
  *a = was_a;
  *b = was_b;
  differs |= (*a ^ was_a) | (*b ^ was_b);
  return differs == 0;
}

/* The next words from *at on, of the lower half, each with its partner in the upper one. */
static bool ram_holds(const eg_memory_t *memory, uint32_t *at, uint32_t words) {
  uint32_t half = memory->ram_words / 2u;
  bool holds = true;
  for (uint32_t i = 0; i < words; i++) {
    if (!eg_ram_holds(&memory->ram[*at], &memory->ram[*at + half])) holds = false;
    *at = *at + 1u < half ? *at + 1u : 0;
  }
  return holds;
}

/* The next slice; true until a whole round is through and its CRC is another than the seal's. */
static bool flash_holds(const eg_memory_t *memory, eg_kept_t *k, uint32_t slice) {
  uint32_t left = memory->image_bytes - k->image_at;
  uint32_t n = left < slice ? left : slice;
  k->image_crc = eg_crc(k->image_crc, memory->image + k->image_at, n);
  k->image_at += n;
  if (k->image_at < memory->image_bytes) return true;
  uint32_t crc = eg_crc_end(k->image_crc);
  k->image_at = 0;
  k->image_crc = EG_CRC_START;
  return crc == memory->seal->image_crc;
}

static uint32_t word_at(const uint8_t *b) {
  return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

/* A word that changes changes the sum; two that cancel out there change the one that rolls. The
 * CRC, which sees more, would take ten times as long. */
uint16_t eg_image_check(void) {
  const eg_memory_t *memory = board_memory();
  uint32_t sum = 0, rolling = 0;
  for (uint32_t i = 0; i < memory->image_bytes; i += 4u) {
    sum += word_at(memory->image + i);
    rolling = (rolling << 1 | rolling >> 31) + sum;
  }
  bool holds = sum == memory->seal->image_sum[0] && rolling == memory->seal->image_sum[1];
  return holds ? 0 : EG_FAIL_FLASH;
}

static bool table_holds(const eg_memory_t *memory) {
  return eg_crc_of(memory->config, sizeof *memory->config) == memory->seal->table_crc;
}

static bool stack_holds(const eg_memory_t *memory) {
  uint32_t differs = 0;
  for (uint32_t i = 0; i < memory->canary_words; i++) differs |= memory->canary[i] ^ EG_CANARY;
  return differs == 0;
}

/* Members, channels and signals are what this firmware has, and there is nothing else. */
static bool table_fits(const eg_policy_t *p) {
  return eg_policy_check(p) == NULL && p->members <= EG_OUTPUTS && p->channels <= EG_OUTPUTS &&
         p->signals <= EG_OUTPUTS && p->cameras + p->detectors == 0;
}

uint16_t eg_self_test(eg_mcu_t *m) {
  const eg_memory_t *memory = board_memory();
  uint32_t failed = 0, at = 0;
  if (!ram_holds(memory, &at, memory->ram_words / 2u)) failed |= EG_FAIL_RAM;
  m->kept.image_at = 0;
  m->kept.image_crc = EG_CRC_START;
  if (!flash_holds(memory, &m->kept, memory->image_bytes)) failed |= EG_FAIL_FLASH;
  if (!table_holds(memory) || !table_fits(&memory->config->policy))
    failed |= EG_FAIL_POLICY;
  else if (eg_known_answers(m, &memory->config->policy) != memory->seal->known_answers)
    failed |= EG_FAIL_CORE;
  return (uint16_t)failed;
}

bool eg_sealed(const eg_mcu_t *m) {
  bool kept = m->kept_crc == eg_crc_of(&m->kept, sizeof m->kept);
  return kept && eg_heard_sealed(m) && eg_record_sealed(board_memory()->record);
}

uint16_t eg_self_check(eg_mcu_t *m) {
  const eg_memory_t *memory = board_memory();
  uint32_t failed = eg_image_check();
  if (!stack_holds(memory)) failed |= EG_FAIL_STACK;
  if (!ram_holds(memory, &m->kept.ram_at, EG_RAM_SLICE)) failed |= EG_FAIL_RAM;
  if (!flash_holds(memory, &m->kept, EG_IMAGE_SLICE)) failed |= EG_FAIL_FLASH;
  if (!table_holds(memory)) failed |= EG_FAIL_POLICY;
  return (uint16_t)failed;
}
