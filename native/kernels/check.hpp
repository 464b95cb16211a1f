// SPDX-License-Identifier: Apache-2.0
// What a caller can ask for and must not; each throws std::invalid_argument with the way out.
#pragma once

#include "preprocess.hpp"

namespace edgeguard {

void check_sizes(const Spec &spec, int height, int width, Format format);
void check_range(const Spec &spec);
void check_box(const Box &box, int height, int width);

} // namespace edgeguard
