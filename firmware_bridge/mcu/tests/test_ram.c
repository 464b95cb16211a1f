/* SPDX-License-Identifier: Apache-2.0 */
/* The pattern test of RAM: which faults it finds, and that it gets to every word. */
#include <string.h>

#include "rig.h"
#include "watched_ram.h"

#define WORDS 80u /* two and a half turns' worth */
#define HALF (WORDS / 2u)

/* ---------------------------------------------------------------- two words */

static uint32_t writes, faulty_write, faulty_word, from_bit;

/* After one of the writes, one of the words holds another bit. */
static void flips(volatile uint32_t *ram, uint32_t word) {
  (void)word;
  if (++writes == faulty_write) ram[faulty_word] ^= 0x00010000u;
}

/* A bit hangs on its neighbour. */
static void hangs(volatile uint32_t *ram, uint32_t word) {
  (void)word;
  uint32_t bit = ram[faulty_word] >> from_bit & 1u;
  ram[faulty_word] = (ram[faulty_word] & ~(2u << from_bit)) | bit << (from_bit + 1u);
}

/* Each of the two, after both hold something new: first the pattern, its complement, what was. */
static void finds_a_bit_that_flips(void) {
  for (faulty_write = 2; faulty_write <= 6; faulty_write += 2) {
    for (faulty_word = 0; faulty_word < 2; faulty_word++) {
      volatile uint32_t *ram = watched_ram(flips);
      writes = 0;
      CHECK(!eg_ram_holds(&ram[0], &ram[1]), "word %u after write %u", faulty_word, faulty_write);
    }
  }
  watched_ram_end();
}

static void finds_a_bit_that_hangs_on_its_neighbour(void) {
  for (from_bit = 0; from_bit < 31; from_bit++) {
    for (faulty_word = 0; faulty_word < 2; faulty_word++) {
      volatile uint32_t *ram = watched_ram(hangs);
      CHECK(!eg_ram_holds(&ram[0], &ram[1]), "word %u, bit %u", faulty_word, from_bit);
    }
  }
  watched_ram_end();
}

static void leaves_what_was(void) {
  static const uint32_t held[][2] = {{0, 0}, {0x12345678u, 0x9ABCDEF0u}, {UINT32_MAX, 1u}};
  for (uint32_t i = 0; i < 3; i++) {
    volatile uint32_t words[2] = {held[i][0], held[i][1]};
    CHECK(eg_ram_holds(&words[0], &words[1]), "%u: a fault where there is none", i);
    CHECK(words[0] == held[i][0] && words[1] == held[i][1], "%u: %x %x", i, words[0], words[1]);
  }
}

/* ---------------------------------------------------------------- all of it */

static uint32_t count[WATCHED_WORDS];

static void counts(volatile uint32_t *ram, uint32_t word) {
  (void)ram;
  count[word]++;
}

static void last_pair(volatile uint32_t *ram, uint32_t word) {
  if (word == WORDS - 1u) ram[word] ^= 1u;
}

static void boot_on(rig_t *r, volatile uint32_t *ram, uint32_t words) {
  rig_start(r);
  r->twin.memory.ram = ram;
  r->twin.memory.ram_words = words;
  memset(count, 0, sizeof count);
  eg_twin_boot(&r->twin);
}

/* Pattern, complement and what was: three writes to those words, and to no other. */
static void tested(uint32_t first, uint32_t n, uint32_t half) {
  for (uint32_t i = 0; i < WATCHED_WORDS; i++) {
    uint32_t at = i % half;
    bool due = i < 2u * half && (at + half - first) % half < n;
    CHECK(count[i] == (due ? 3u : 0u), "word %u: %u writes", i, count[i]);
  }
}

static void every_word_at_boot(void) {
  rig_t r;
  for (uint32_t words = 2; words <= WORDS; words += 6) {
    boot_on(&r, watched_ram(counts), words);
    tested(0, words / 2u, words / 2u);
  }
  boot_on(&r, watched_ram(last_pair), WORDS);
  CHECK(r.twin.mcu.kept.failed == EG_FAIL_RAM, "the last word: %x", r.twin.mcu.kept.failed);
  watched_ram_end();
}

static void some_in_every_turn(void) {
  rig_t r;
  boot_on(&r, watched_ram(counts), WORDS);
  for (uint32_t t = 0; t < 8; t++) {
    memset(count, 0, sizeof count);
    rig_step(&r);
    tested(t * EG_RAM_SLICE % HALF, EG_RAM_SLICE, HALF);
  }
  CHECK(r.twin.mcu.kept.failed == 0, "%x", r.twin.mcu.kept.failed);
  watched_ram_end();
}

/* Neither hides what else failed. */
static void says_all_that_failed(void) {
  rig_t r;
  rig_start(&r);
  r.twin.memory.ram = watched_ram(last_pair);
  r.twin.memory.ram_words = WORDS;
  r.twin.flash.config.policy_hash[0] ^= 1u;
  eg_twin_boot(&r.twin);
  CHECK(r.twin.mcu.kept.failed == (EG_FAIL_RAM | EG_FAIL_FLASH | EG_FAIL_POLICY), "%x",
        r.twin.mcu.kept.failed);
  boot_on(&r, watched_ram(counts), WORDS);
  rig_turns(&r, 2);
  r.twin.memory.ram = watched_ram(last_pair);
  r.twin.canary[0] ^= 1u;
  rig_step(&r);
  CHECK(r.twin.mcu.kept.failed == (EG_FAIL_RAM | EG_FAIL_STACK), "%x", r.twin.mcu.kept.failed);
  watched_ram_end();
}

int main(void) {
  finds_a_bit_that_flips();
  finds_a_bit_that_hangs_on_its_neighbour();
  leaves_what_was();
  every_word_at_boot();
  some_in_every_turn();
  says_all_that_failed();
  return 0;
}
