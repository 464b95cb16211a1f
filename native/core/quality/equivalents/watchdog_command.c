/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: watchdog.c
 * Unwind: 6
 * Mutants: 8e0fc821a3
 * Why: the counter meets the number of channels, which is no more than EG_MAX_CHANNELS. */
uint32_t __CPROVER_uninterpreted_crc(uint32_t crc, uint32_t word);

uint32_t eg_crc_u32(uint32_t crc, uint32_t word) {
  return __CPROVER_uninterpreted_crc(crc, word);
}

uint32_t eg_crc_end(uint32_t crc) {
  return ~crc;
}

uint32_t eg_flow_answer(uint32_t question, uint32_t tick, const uint32_t check[EG_CHECKS]) {
  return question ^ tick ^ check[0];
}

void harness(void) {
  eg_watchdog_t a, b;
  eg_command_msg_t said;
  GIVEN(said.channels <= EG_MAX_CHANNELS);
  b = a;
  A(eg_watchdog_command)(&a, &said);
  B(eg_watchdog_command)(&b, &said);
  SAME(a.command.tick == b.command.tick && a.command.crc == b.command.crc);
  SAME(a.command.known == b.command.known);
}
