// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <pybind11/pybind11.h>

namespace edgeguard {
void bind_preprocess(pybind11::module_ &m);
}
