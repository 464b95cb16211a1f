/* SPDX-License-Identifier: Apache-2.0 */
/* Instead of cmac.c: prove_cmac says that it writes a tag and nothing else, the vectors which one.
 */
#include "link_contracts_link.h"

void eg_cmac(const uint8_t key[EG_KEY_BYTES], const uint8_t *a, uint32_t na, const uint8_t *b,
             uint32_t nb, uint8_t tag[EG_TAG_BYTES]) {
  CHECK(na == EG_FRESH_BYTES && __CPROVER_r_ok(key, EG_KEY_BYTES) && __CPROVER_r_ok(a, na) &&
            __CPROVER_r_ok(b, nb),
        "LINK-3 a tag is over all of the session, the round and the frame");
  uint64_t t = __CPROVER_uninterpreted_tag(key, eight(a), eight(a + EG_NONCE_BYTES),
                                           BE16(a + EG_SESSION_BYTES), b, nb);
  for (uint32_t i = 0; i < EG_TAG_BYTES; i++) tag[i] = (uint8_t)(t >> (8u * i));
}
