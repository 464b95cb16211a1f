/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"
#include "edgeguard/e2e.h"

/* The results of a sequence, a letter each: Ok, Lost some, None, Repeated, Wrong sequence, Error.
 */
static eg_e2e_result_t result_of(char c) {
  switch (c) {
  case 'O': return EG_E2E_OK;
  case 'L': return EG_E2E_OKSOMELOST;
  case 'N': return EG_E2E_NONEWDATA;
  case 'R': return EG_E2E_REPEATED;
  case 'W': return EG_E2E_WRONGSEQUENCE;
  default: return EG_E2E_ERROR;
  }
}

/* The states after each of them: no Data, Init, Valid, Bad. */
static void run(const char *results, const char *states) {
  static const char name[] = "DIVB";
  eg_e2e_machine_t m;
  eg_e2e_machine_init(&m);
  for (int i = 0; results[i]; i++) {
    eg_e2e_state_t s = eg_e2e_machine_step(&m, result_of(results[i]));
    CHECK(name[s] == states[i], "%s: at %d: %c, not %c", results, i, name[s], states[i]);
    CHECK(m.state == s, "kept");
  }
}

/* The state as the standard's figure has it, from the last 8 results. */
static eg_e2e_state_t model(eg_e2e_state_t was, const eg_e2e_result_t *all, int n) {
  static const int min_ok[] = {0, 5, 4, 5}, max_error[] = {0, 1, 2, 1};
  eg_e2e_result_t now = all[n - 1];
  if (was == EG_E2E_NODATA)
    return now == EG_E2E_ERROR || now == EG_E2E_NONEWDATA ? EG_E2E_NODATA : EG_E2E_INIT;
  int ok = 0, error = 0;
  for (int i = n > 8 ? n - 8 : 0; i < n; i++) {
    ok += all[i] == EG_E2E_OK || all[i] == EG_E2E_OKSOMELOST;
    error += all[i] == EG_E2E_ERROR;
  }
  if (ok >= min_ok[was] && error <= max_error[was]) return EG_E2E_VALID;
  return was == EG_E2E_INIT && error <= max_error[was] ? EG_E2E_INIT : EG_E2E_INVALID;
}

static void against_the_model(void) {
  uint32_t random = 1;
  for (int round = 0; round < 2000; round++) {
    eg_e2e_result_t all[60];
    eg_e2e_machine_t m;
    eg_e2e_machine_init(&m);
    eg_e2e_state_t want = EG_E2E_NODATA;
    for (int i = 0; i < 60; i++) {
      random = random * 1664525u + 1013904223u;
      uint32_t r = random >> 16, good = (uint32_t)round % 10;
      all[i] = r % 10 < good ? EG_E2E_OK : (eg_e2e_result_t)(r / 16 % EG_E2E_RESULTS);
      want = model(want, all, i + 1);
      CHECK(eg_e2e_machine_step(&m, all[i]) == want, "round %d, step %d", round, i);
    }
  }
}

int main(void) {
  run("NNEEN", "DDDDD");
  run("O", "I");
  run("L", "I");
  run("R", "I");
  run("W", "I");
  run("OOOOO", "IIIIV");
  run("OLOLO", "IIIIV");
  run("OOOONO", "IIIIIV");
  run("OEOOOO", "IIIIIV");       /* one error is allowed before */
  run("OEEOOO", "IIBBBB");       /* two are not */
  run("EOEO", "DIBB");           /* one before the first frame counts */
  run("RRRRWWWW", "IIIIIIII");   /* neither good nor bad */
  run("OOOOOEE", "IIIIVVV");     /* two errors are allowed while valid */
  run("OOOOOEEE", "IIIIVVVB");   /* three are not */
  run("OOOOONNNN", "IIIIVVVVV"); /* 4 good of 8 */
  run("OOOOONNNNN", "IIIIVVVVVB");
  run("OOOOOEEEOOOOOOO", "IIIIVVVBBBBBBBV"); /* back with one error left in the window */
  run("OEEOOOOOOO", "IIBBBBBBBV");
  run("OEENNNOOOOO", "IIBBBBBBBBV"); /* five good: just enough */
  run("OEENNNNOOOO", "IIBBBBBBBBB"); /* four */
  against_the_model();
  return 0;
}
