/* SPDX-License-Identifier: Apache-2.0 */
/* AES-128-CMAC (NIST SP 800-38B, RFC 4493), as SecOC uses it; byte by byte, one table of 256. */
#ifndef EDGEGUARD_CMAC_H
#define EDGEGUARD_CMAC_H

#include <stdbool.h>
#include <stdint.h>

#define EG_KEY_BYTES 16u
#define EG_TAG_BYTES 8u /* the first 64 bits of the MAC, as SecOC profile 1 truncates */

/* Tag over the concatenation of a and b. */
void eg_cmac(const uint8_t key[EG_KEY_BYTES], const uint8_t *a, uint32_t na, const uint8_t *b,
             uint32_t nb, uint8_t tag[EG_TAG_BYTES]);

/* In constant time. */
bool eg_tag_equal(const uint8_t a[EG_TAG_BYTES], const uint8_t b[EG_TAG_BYTES]);

#endif
