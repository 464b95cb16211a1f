/* SPDX-License-Identifier: Apache-2.0 */
/* Plays a tape again, on any processor:  replay_tape TAPE
 *
 * TAPE is what `edgeguard replay LOG --tape TAPE` writes: records, each after its length as four
 * bytes, lowest first. Prints how many decisions there were and the CRC of all that was computed;
 * exit status 1 at the first one that comes out otherwise than recorded, 2 when it is no tape. */
#include <stdio.h>

#include "edgeguard/flow.h"
#include "record.h"

static eg_replay_t replay;
static uint8_t record[EG_RECORD_POLICY_MAX];

/* 1: a record; 0: the end; -1: no tape. Records that are too long for it need no replay. */
static int next(FILE *tape, size_t *n) {
  uint8_t head[4];
  size_t got = fread(head, 1, sizeof head, tape);
  if (got == 0) return 0;
  *n = (size_t)head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 | (size_t)head[3] << 24;
  if (got != sizeof head || *n > sizeof record) return -1;
  return fread(record, 1, *n, tape) == *n ? 1 : -1;
}

int main(int argc, char **argv) {
  FILE *tape = argc == 2 ? fopen(argv[1], "rb") : NULL;
  if (!tape) {
    fprintf(stderr, "usage: replay_tape TAPE\n");
    return 2;
  }
  uint32_t crc = EG_CRC_START;
  unsigned long decisions = 0;
  size_t n = 0;
  int more;
  eg_replay_begin(&replay);
  while ((more = next(tape, &n)) == 1) {
    eg_replay_result_t result = eg_replay(&replay, record, n);
    if (result == EG_REPLAY_SAME) crc = eg_crc(crc, replay.bytes, (uint32_t)replay.size);
    if (result == EG_REPLAY_SAME && record[0] == EG_RECORD_DECISION) decisions++;
    if (result == EG_REPLAY_MALFORMED) more = -1;
    if (result == EG_REPLAY_DIFFERS || more < 0) break;
  }
  (void)fclose(tape);
  if (more < 0) fprintf(stderr, "%s: is no tape of this version\n", argv[1]);
  if (more > 0)
    fprintf(stderr, "differs after %lu decisions, at sequence %lu\n", decisions,
            (unsigned long)replay.said.sequence);
  printf("%lu decisions %08lx\n", decisions, (unsigned long)eg_crc_end(crc));
  return more == 0 ? 0 : more < 0 ? 2 : 1;
}
