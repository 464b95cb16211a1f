// SPDX-License-Identifier: Apache-2.0
#include <pybind11/pybind11.h>

#include "bind_preprocess.hpp"

void bind_evidence(pybind11::module_ &m);

PYBIND11_MODULE(_kernels, m) {
  m.doc() = "edgeguard's kernels: camera frame to tensor, scores to evidence";
  edgeguard::bind_preprocess(m);
  bind_evidence(m);
}
