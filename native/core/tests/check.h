/* SPDX-License-Identifier: Apache-2.0 */
#ifndef EDGEGUARD_CHECK_H
#define EDGEGUARD_CHECK_H

#include <stdio.h>
#include <stdlib.h>

/* Stops at the first broken promise and says which, with the numbers. */
#define CHECK(condition, ...)                                                                      \
  do {                                                                                             \
    if (!(condition)) {                                                                            \
      fprintf(stderr, "%s:%d: broken: %s: ", __FILE__, __LINE__, #condition);                      \
      fprintf(stderr, __VA_ARGS__);                                                                \
      fputc('\n', stderr);                                                                         \
      exit(1);                                                                                     \
    }                                                                                              \
  } while (0)

#endif
