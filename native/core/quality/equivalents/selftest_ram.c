/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: selftest.c
 * Stub: eg_ram_holds
 * Unwind: 10
 * Mutants: 94908583c0
 * Why: the next word is below the middle, or the middle itself. */
#define MOST 8u

static volatile uint32_t ram[2u * MOST];

bool STUB(eg_ram_holds)(volatile uint32_t *a, volatile uint32_t *b) {
  call((uint64_t)(a - ram) << 32 | (uint64_t)(b - ram));
  return *a == *b;
}

void harness(void) {
  eg_memory_t memory;
  uint32_t from, words;
  GIVEN(memory.ram_words >= 2u && memory.ram_words <= 2u * MOST);
  GIVEN(from < memory.ram_words / 2u && words <= MOST);
  memory.ram = ram;
  uint32_t a = from, b = from;
  bool holds = A(ram_holds)(&memory, &a, words);
  side = 1;
  SAME(holds == B(ram_holds)(&memory, &b, words));
  SAME(a == b);
  same_calls();
}
