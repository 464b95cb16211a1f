/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever changes in code or table is found before it decides anything. */
#include <string.h>

#include "rig.h"

/* Any bit of the code, and before the code can decide anything. */
static void flash(void) {
  rig_t good, r;
  rig_steady(&good);
  for (uint32_t i = 0; i < 8u * EG_TWIN_CODE; i += 3) {
    rig_copy(&r, &good);
    r.twin.flash.code[i / 8u] ^= (uint8_t)(1u << i % 8u);
    int32_t before = rig_out(&r, EG_SPEED);
    uint32_t strokes = r.twin.strokes;
    rig_turn(&r);
    CHECK(r.twin.mcu.kept.failed == EG_FAIL_FLASH, "bit %u: %x", i, r.twin.mcu.kept.failed);
    CHECK(rig_out(&r, EG_SPEED) < before && r.twin.strokes == strokes, "bit %u", i);
    CHECK(r.twin.mcu.kept.state.sequence == good.twin.mcu.kept.state.sequence, "it decided");
  }
  rig_copy(&r, &good);
  r.twin.flash.code[5] ^= 1u;
  r.twin.canary[0] ^= 1u;
  rig_turn(&r);
  CHECK(r.twin.mcu.kept.failed == (EG_FAIL_FLASH | EG_FAIL_STACK), "%x", r.twin.mcu.kept.failed);
  rig_steady(&r);
  r.twin.flash.code[5] ^= 0x40u;
  rig_goes_safe(&r, 1, EG_FAIL_FLASH, "flash");
  CHECK(r.twin.mcu.kept.failed & EG_FAIL_FLASH, "found at boot as well");
}

/* Which call of the board is that of acting. */
static uint32_t acts_at(const rig_t *good) {
  rig_t r;
  uint32_t call = 0;
  do {
    rig_copy(&r, good);
    r.twin.reset_in = ++call;
    rig_step(&r);
  } while (r.twin.actuations == good->twin.actuations && call < 100);
  return call - 1;
}

/* In the middle of a turn: what was decided by then goes nowhere. */
static void flash_while_it_decides(void) {
  rig_t good, r;
  rig_steady(&good);
  const int32_t before = rig_out(&good, EG_SPEED);
  const uint32_t acts = acts_at(&good);
  CHECK(acts > 4 && acts < 99, "acts at call %u", acts);
  for (uint32_t call = 1; call < acts; call++) {
    rig_copy(&r, &good);
    r.twin.flip_in = call;
    rig_step(&r);
    CHECK(r.twin.mcu.kept.failed == EG_FAIL_FLASH, "call %u: %x", call, r.twin.mcu.kept.failed);
    CHECK(r.twin.mcu.out.mode == EG_SAFE_STOP && rig_out(&r, EG_SPEED) < before, "call %u", call);
    CHECK(r.twin.strokes == good.twin.strokes, "call %u: stroked", call);
  }
}

static void change_words(rig_t *r, uint32_t first, uint32_t first_by, uint32_t second,
                         uint32_t second_by) {
  uint32_t word[EG_TWIN_CODE / 4u];
  memcpy(word, r->twin.flash.code, sizeof word);
  word[first] += first_by;
  word[second] += second_by;
  memcpy(r->twin.flash.code, word, sizeof word);
}

/* Two changes that cancel out in the sum are found by the one that rolls; what both miss is found
 * by the CRC, when it has come round. */
static void flash_sums(void) {
  rig_t r;
  const uint32_t round = sizeof(eg_twin_flash_t) / EG_IMAGE_SLICE + 1;
  for (uint32_t apart = 1; apart < 64; apart++) {
    rig_steady(&r);
    change_words(&r, 7, 1u << 31, 7 + apart, 1u << 31);
    rig_turn(&r);
    CHECK(r.twin.mcu.kept.failed == EG_FAIL_FLASH, "two top bits, %u words apart", apart);
  }
  for (uint32_t i = 0; i < 4; i++) {
    rig_steady(&r);
    r.twin.seal.image_sum[i / 2u] += i % 2u ? 1u : 0u - 1u;
    rig_turn(&r);
    CHECK(r.twin.mcu.kept.failed == EG_FAIL_FLASH, "another sum %u", i);
  }
  rig_steady(&r);
  change_words(&r, 7, 1, 8, 0u - 1u);
  rig_goes_safe(&r, 1, EG_FAIL_FLASH, "the sum is the same");
  rig_steady(&r);
  uint32_t crc = r.twin.seal.image_crc;
  change_words(&r, 7, 1, 8, 1);
  eg_twin_seal(&r.twin);
  r.twin.seal.image_crc = crc;
  rig_goes_safe(&r, 2 * round, EG_FAIL_FLASH, "both are the same");
}

/* Any bit of the table, and before it is read: some of them would send the core astray. */
static void policy(void) {
  rig_t r;
  rig_t good;
  rig_steady(&good);
  for (uint32_t i = 0; i < sizeof(eg_mcu_config_t); i += 3) {
    rig_copy(&r, &good);
    ((uint8_t *)&r.twin.flash.config)[i] ^= (uint8_t)(1u << i % 8u);
    int32_t before = rig_out(&r, EG_SPEED);
    uint32_t strokes = r.twin.strokes;
    rig_turn(&r);
    CHECK(r.twin.mcu.kept.failed & EG_FAIL_POLICY, "byte %u of the table", i);
    CHECK(rig_out(&r, EG_SPEED) < before && r.twin.strokes == strokes, "byte %u", i);
  }
  rig_steady(&r);
  r.twin.flash.config.policy.members = 200;
  rig_goes_safe(&r, 1, EG_FAIL_POLICY, "policy");
}

/* So much of it a turn, and what is left at the end: the next round begins anew. */
static void flash_by_slices(void) {
  rig_t r;
  uint32_t at = 0;
  rig_start(&r);
  const uint32_t bytes = r.twin.memory.image_bytes -= 98u;
  CHECK(bytes % EG_IMAGE_SLICE != 0, "%u bytes", bytes);
  eg_twin_seal(&r.twin);
  eg_twin_boot(&r.twin);
  for (int t = 0; t < 40; t++) {
    rig_step(&r);
    at = at + EG_IMAGE_SLICE < bytes ? at + EG_IMAGE_SLICE : 0;
    CHECK(r.twin.mcu.kept.image_at == at, "%u, not %u", r.twin.mcu.kept.image_at, at);
    uint32_t crc = eg_crc(EG_CRC_START, r.twin.memory.image, at);
    CHECK(r.twin.mcu.kept.image_crc == crc, "another CRC at %u", at);
  }
  CHECK(r.twin.mcu.kept.failed == 0, "%x", r.twin.mcu.kept.failed);
}

int main(void) {
  flash();
  flash_while_it_decides();
  flash_sums();
  flash_by_slices();
  policy();
  return 0;
}
