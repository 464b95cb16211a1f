// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <pybind11/pybind11.h>

namespace edgeguard {

// Tape and Replayer: what recorder and replay need of the core.
void bind_record(pybind11::module_ &m);

} // namespace edgeguard
