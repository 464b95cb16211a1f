/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of AES and of CMAC, each as its standard defines it: FIPS 197 in GF(2^8), and NIST
 * SP 800-38B. The order of the steps, and so the tag, is the vectors' (test_cmac.c). */
#include "link_contracts.h"

#include "cmac.c"

/* Product in GF(2^8), FIPS 197 section 4.2: of two polynomials, modulo x^8 + x^4 + x^3 + x + 1. */
static uint8_t times(uint8_t a, uint8_t b) {
  uint32_t product = 0;
  for (uint32_t i = 0; i < 8; i++)
    if ((b >> i) & 1u) product ^= (uint32_t)a << i;
  for (uint32_t i = 14; i >= 8; i--)
    if ((product >> i) & 1u) product ^= 0x11Bu << (i - 8u);
  return (uint8_t)product;
}

static uint8_t turned(uint8_t x, uint32_t by) {
  return (uint8_t)((((uint32_t)x << by) | ((uint32_t)x >> (8u - by))) & 0xFFu);
}

/* Section 5.1.1: the affine map of an inverse. So `to` is undone first, and must be inverse to
 * `from`; zero counts as inverse to itself. */
static bool substitutes(uint8_t from, uint8_t to) {
  uint8_t inverse = turned(to, 1) ^ turned(to, 3) ^ turned(to, 6) ^ 0x05;
  return from == 0 ? inverse == 0 : times(from, inverse) == 1;
}

static uint8_t twice_c(uint8_t x) ASSIGNS() ENSURES(RET == times(2, x));

#define SUMMED(i) (x[i] == (OLD(x[i]) ^ y[i]))

static void add_c(uint8_t x[BLOCK], const uint8_t y[BLOCK])
    REQUIRES(__CPROVER_rw_ok(x, BLOCK) && __CPROVER_r_ok(y, BLOCK) && !__CPROVER_same_object(x, y))
        ASSIGNS(__CPROVER_object_upto(x, BLOCK)) ENSURES(ALL16(SUMMED));

/* Byte i is row i % 4 of column i / 4; row r comes from r columns on. */
#define SHIFTED(i) ((i) % 4u + 4u * (((i) / 4u + (i) % 4u) % 4u))
#define SUBSTITUTED(i) (x[i] == sbox[OLD(x[SHIFTED(i)])])

static void substitute_c(uint8_t x[BLOCK]) REQUIRES(__CPROVER_rw_ok(x, BLOCK))
    ASSIGNS(__CPROVER_object_upto(x, BLOCK)) ENSURES(ALL16(SUBSTITUTED));

/* Section 5.1.3: the product of a column and a matrix whose row r is 2 3 1 1, turned by r. */
#define IN_COLUMN(i, r) OLD(x[(i) / 4u * 4u + ((i) + (r)) % 4u])
#define MIXED(i)                                                                                   \
  (x[i] ==                                                                                         \
   (times(2, IN_COLUMN(i, 0)) ^ times(3, IN_COLUMN(i, 1)) ^ IN_COLUMN(i, 2) ^ IN_COLUMN(i, 3)))

static void mix_c(uint8_t x[BLOCK]) REQUIRES(__CPROVER_rw_ok(x, BLOCK))
    ASSIGNS(__CPROVER_object_upto(x, BLOCK)) ENSURES(ALL16(MIXED));

/* Section 5.2: a word is the sum of the one four before and the one just before, which for the
 * first of four is turned by a byte, substituted, and has the round's constant added. */
#define GAINED(i) ((uint8_t)(k[i] ^ OLD(k[i])))
#define FOLLOWED(i) (GAINED(i) == k[(i) - 4])

static void next_key_c(uint8_t k[BLOCK], uint8_t round) REQUIRES(__CPROVER_rw_ok(k, BLOCK))
    ASSIGNS(__CPROVER_object_upto(k, BLOCK))
        ENSURES(GAINED(0) == (sbox[OLD(k[13])] ^ round) && GAINED(1) == sbox[OLD(k[14])] &&
                GAINED(2) == sbox[OLD(k[15])] && GAINED(3) == sbox[OLD(k[12])])
            ENSURES(FOLLOWED(4) && FOLLOWED(5) && FOLLOWED(6) && FOLLOWED(7) && FOLLOWED(8) &&
                    FOLLOWED(9) && FOLLOWED(10) && FOLLOWED(11) && FOLLOWED(12) && FOLLOWED(13) &&
                    FOLLOWED(14) && FOLLOWED(15));

/* SP 800-38B, section 6.1: shifted left as a number of 128 bits, highest byte first, with 0x87
 * added where a one is shifted out. */
#define NEXT_HIGHEST(i) ((i) == 15 ? (OLD(x[0]) >> 7) * 0x87u : OLD(x[((i) + 1) % 16]) >> 7)
#define DOUBLED(i) (x[i] == (((OLD(x[i]) << 1) & 0xFFu) ^ NEXT_HIGHEST(i)))

static void twice_block_c(uint8_t x[BLOCK]) REQUIRES(__CPROVER_rw_ok(x, BLOCK))
    ASSIGNS(__CPROVER_object_upto(x, BLOCK)) ENSURES(ALL16(DOUBLED));

/*! enforce twice; unwind 10 */
void prove_twice(void) {
  twice(nondet_u8());
  REACHED;
}

/*! enforce add; unwind 18 */
void prove_add(void) {
  uint8_t x[BLOCK], y[BLOCK];
  add(x, y);
  REACHED;
}

/*! unwind 10 */
void prove_sbox(void) {
  uint8_t x = nondet_u8();
  CHECK(substitutes(x, sbox[x]), "the table is the one of FIPS 197");
  REACHED;
}

/*! enforce substitute; unwind 18 */
void prove_substitute(void) {
  uint8_t x[BLOCK];
  substitute(x);
  REACHED;
}

/*! enforce mix; unwind 18 */
void prove_mix(void) {
  uint8_t x[BLOCK];
  mix(x);
  REACHED;
}

/*! enforce next_key; unwind 18 */
void prove_next_key(void) {
  uint8_t k[BLOCK];
  next_key(k, nondet_u8());
  REACHED;
}

/*! enforce twice_block; unwind 18 */
void prove_twice_block(void) {
  uint8_t x[BLOCK];
  twice_block(x);
  REACHED;
}
