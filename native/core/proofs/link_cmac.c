/* SPDX-License-Identifier: Apache-2.0 */
/* Memory safety alone: which tag it is, the standards' vectors say (test_cmac.c). */
#include "link_contracts.h"

#include "cmac.c"

void eg_cmac(const uint8_t key[EG_KEY_BYTES], const uint8_t *a, uint32_t na, const uint8_t *b,
             uint32_t nb, uint8_t tag[EG_TAG_BYTES]) REQUIRES(__CPROVER_r_ok(key, EG_KEY_BYTES) &&
                                                              na <= 65535 && nb <= 65535)
    REQUIRES(__CPROVER_r_ok(a, na) && __CPROVER_r_ok(b, nb) && __CPROVER_rw_ok(tag, EG_TAG_BYTES))
        ASSIGNS(__CPROVER_object_upto(tag, EG_TAG_BYTES)) ENSURES(true);

static void encrypt_c(const uint8_t key[EG_KEY_BYTES], uint8_t x[BLOCK])
    REQUIRES(__CPROVER_r_ok(key, EG_KEY_BYTES) && __CPROVER_rw_ok(x, BLOCK))
        ASSIGNS(__CPROVER_object_upto(x, BLOCK)) ENSURES(true);

static void finish_c(const uint8_t key[EG_KEY_BYTES], uint32_t n, uint8_t x[BLOCK])
    REQUIRES(__CPROVER_r_ok(key, EG_KEY_BYTES) && __CPROVER_rw_ok(x, BLOCK))
        ASSIGNS(__CPROVER_object_upto(x, BLOCK)) ENSURES(true);

/*! enforce eg_tag_equal; unwind 10 */
void prove_tag_equal(void) {
  uint8_t a[EG_TAG_BYTES], b[EG_TAG_BYTES];
  eg_tag_equal(a, b);
  REACHED;
}

/*! enforce encrypt; unwind 18; seconds 28 */
void prove_encrypt(void) {
  uint8_t key[EG_KEY_BYTES], x[BLOCK];
  encrypt(key, x);
  REACHED;
}

/*! enforce finish; replace encrypt; unwind 18 */
void prove_finish(void) {
  uint8_t key[EG_KEY_BYTES], x[BLOCK];
  finish(key, nondet_u32(), x);
  REACHED;
}

/* Any number of bytes, in two parts. */
/*! enforce eg_cmac; replace encrypt finish; loops link_cmac.loops.json */
void prove_cmac(void) {
  uint16_t na, nb;
  uint8_t key[EG_KEY_BYTES], *a = malloc(na), *b = malloc(nb), tag[EG_TAG_BYTES];
  ASSUME(a != NULL && b != NULL);
  eg_cmac(key, a, na, b, nb, tag);
  REACHED;
}
