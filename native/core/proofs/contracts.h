/* SPDX-License-Identifier: Apache-2.0 */
/* What the core's functions promise to each other. Each contract is proved in the harnesses of its
 * file (enforce) and used in those of its callers (replace). */
#ifndef EDGEGUARD_CONTRACTS_H
#define EDGEGUARD_CONTRACTS_H

#include "contracts_decide.h"
#include "contracts_policy.h"

#endif
