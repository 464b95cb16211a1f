// SPDX-License-Identifier: Apache-2.0
// An EmbeddingFit from the dictionary of arrays that Python gives; both modules read it so.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>
#include <vector>

#include "embedding.hpp"

namespace edgeguard {

inline std::vector<float> floats(const pybind11::dict &d, const char *key) {
  namespace py = pybind11;
  if (!d.contains(key)) return {};
  auto a = py::array_t<float, py::array::c_style | py::array::forcecast>::ensure(d[key]);
  if (!a) throw py::error_already_set();
  return {a.data(), a.data() + a.size()};
}

// dtype: "f32", "i8" or "u8", as in policies. Raises KeyError, ValueError.
inline EmbeddingFit embedding_fit(const pybind11::dict &d) {
  EmbeddingFit fit;
  const auto feature = d["feature"].cast<std::string>();
  const auto dtype = d["dtype"].cast<std::string>();
  const char *const features[] = {"mahalanobis", "relative_mahalanobis", "nearest", "vim"};
  const char *const dtypes[] = {"f32", "i8", "u8"};
  int f = 0, t = 0;
  while (f < 4 && feature != features[f]) ++f;
  while (t < 3 && dtype != dtypes[t]) ++t;
  if (f == 4 || t == 3)
    throw pybind11::value_error("unknown feature or dtype: " + feature + ", " + dtype);
  fit.feature = static_cast<EmbeddingFeature>(f);
  fit.dtype = t;
  fit.n = d["n"].cast<int>();
  fit.scale = d["scale"].cast<float>();
  fit.zero_point = d["zero_point"].cast<int>();
  fit.centre = floats(d, "centre");
  fit.projection = floats(d, "projection");
  fit.points = floats(d, "points");
  fit.background = floats(d, "background");
  if (d.contains("weight")) fit.weight = d["weight"].cast<float>();
  return fit;
}

} // namespace edgeguard
