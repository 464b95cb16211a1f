/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: e2e.c
 * Unwind: 12
 * Mutants: 433b02f6cd
 * Why: any mark that is neither good nor ERROR says that no result stands there. */
void harness(void) {
  eg_e2e_machine_t a, b;
  A(eg_e2e_machine_init)(&a);
  B(eg_e2e_machine_init)(&b);
  for (int i = 0; i < 10; i++) {
    eg_e2e_result_t result;
    GIVEN(result <= EG_E2E_ERROR);
    SAME(A(eg_e2e_machine_step)(&a, result) == B(eg_e2e_machine_step)(&b, result));
  }
}

uint32_t eg_crc(uint32_t crc, const uint8_t *data, uint32_t n) {
  (void)data;
  return crc ^ n;
}

uint32_t eg_crc_end(uint32_t crc) {
  return crc;
}
