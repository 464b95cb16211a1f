// SPDX-License-Identifier: Apache-2.0
// Decision, Mode and CAUSES: what comes out of the core, as Python reads it.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

#include "border.hpp"

namespace edgeguard {

double from_q16(int32_t q) noexcept;

// A new reference; throws error_already_set. Before the first call: bind_decision.
// tripped: a bit for each detector.
PyObject *new_decision(const eg_decision_t &raw, uint32_t tripped,
                       std::shared_ptr<const HostPolicy> policy);

void bind_decision(pybind11::module_ &m);

} // namespace edgeguard
