// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

#include "border.hpp"

namespace edgeguard {

// From the dictionary of integers that edgeguard.config writes. ValueError names the key that is
// missing, of the wrong type or out of range, or what eg_policy_check refuses.
std::shared_ptr<HostPolicy> build_policy(const pybind11::dict &d);

// The association of a detector's row: operands already counted, scale a real number.
AssociationSpec association_spec(const pybind11::dict &d);

} // namespace edgeguard
