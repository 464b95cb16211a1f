/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: vote.c
 * Unwind: 10
 * Mutants: b07081f4e5
 * Why: the counter meets the number of frames, which is at least 1 and no more than EG_MAX_RUN. */
void harness(void) {
  int32_t before[EG_MAX_RUN - 1], certainty;
  uint8_t frames;
  GIVEN(frames >= 1 && frames <= EG_MAX_RUN);
  SAME(A(steady)(before, certainty, frames) == B(steady)(before, certainty, frames));
}
