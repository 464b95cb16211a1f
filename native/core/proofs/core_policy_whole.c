/* SPDX-License-Identifier: Apache-2.0 */
/* The check as a whole only passes on what its parts found: what that is, is not looked into. */
#define OPAQUE_LABELS
#define OPAQUE_TABLES
#include "policy_parts.h"

/*! enforce eg_policy_check; replace check_sizes check_causes check_labels check_parts
 * check_channel; unwind 18; fields 4; object-bits 10; seconds 20 */
void prove_policy_check(void) {
  free_choice();
  eg_policy_t p;
  some_policy(&p);
  eg_policy_check(&p);
  REACHED;
}
