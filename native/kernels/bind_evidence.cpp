// SPDX-License-Identifier: Apache-2.0
#include "evidence.hpp"

#include "embedding_arrays.hpp"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstddef>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace py = pybind11;

namespace edgeguard {
namespace {

const std::pair<const char *, size_t> kFields[] = {
    {"label", offsetof(eg_evidence_t, label)},
    {"value", offsetof(eg_evidence_t, value)},
    {"certainty", offsetof(eg_evidence_t, certainty)},
    {"margin", offsetof(eg_evidence_t, margin)},
    {"entropy", offsetof(eg_evidence_t, entropy)},
    {"energy", offsetof(eg_evidence_t, energy)},
    {"sum", offsetof(eg_evidence_t, sum)},
    {"bad", offsetof(eg_evidence_t, bad)},
    {"out_of_range", offsetof(eg_evidence_t, out_of_range)},
    {"rail", offsetof(eg_evidence_t, rail)},
    {"distinct", offsetof(eg_evidence_t, distinct)},
};

ScoreKind kind_of(const std::string &name) {
  if (name == "logits") return kLogits;
  if (name == "probabilities") return kProbabilities;
  if (name == "value") return kValue;
  throw py::value_error("kind: want logits, probabilities or value, got " + name);
}

ScoreType type_of(const py::array &scores) {
  if (py::isinstance<py::array_t<float>>(scores)) return kF32;
  if (py::isinstance<py::array_t<int8_t>>(scores)) return kI8;
  if (py::isinstance<py::array_t<uint8_t>>(scores)) return kU8;
  throw py::type_error("scores: want float32, int8 or uint8");
}

// Not PYBIND11_NUMPY_DTYPE: its registry is shared with other modules of the process, and a second
// registration of one C struct is an error.
py::dtype evidence_dtype() {
  py::list names, formats, offsets;
  for (const auto &[name, offset] : kFields) {
    names.append(name);
    formats.append("i4");
    offsets.append(offset);
  }
  return py::dtype(names, formats, offsets, static_cast<py::ssize_t>(sizeof(eg_evidence_t)));
}

py::array evidence_batch(const py::array &scores, const std::string &kind, float scale,
                         int zero_point, float temperature, float value_min, float value_max) {
  if (scores.ndim() != 2 || scores.shape(1) < 1 || scores.shape(1) > kMaxScores)
    throw py::value_error("scores: want [N, n] with n from 1 to 2^20");
  ScoreSpec spec;
  spec.n = static_cast<int>(scores.shape(1));
  spec.dtype = type_of(scores);
  spec.scale = scale;
  spec.zero_point = zero_point;
  spec.kind = kind_of(kind);
  spec.temperature = temperature;
  spec.value_min = value_min;
  spec.value_max = value_max;
  const py::array rows = py::array::ensure(scores, py::array::c_style);
  if (!rows) throw py::error_already_set();
  py::array out(evidence_dtype(), std::vector<py::ssize_t>{scores.shape(0)});
  const auto *in = static_cast<const unsigned char *>(rows.data());
  auto *const first = static_cast<eg_evidence_t *>(out.mutable_data());
  const py::ssize_t count = rows.shape(0), step = rows.shape(1) * rows.itemsize();
  {
    const py::gil_scoped_release release;
    for (py::ssize_t i = 0; i < count; ++i) evidence(spec, in + i * step, first + i);
  }
  return out;
}

py::array embedding_batch(const py::array &embeddings, const py::dict &fit,
                          const py::array_t<double, py::array::c_style> &energy) {
  EmbeddingFit read = embedding_fit(fit);
  const py::ssize_t size = read.dtype == kF32 ? 4 : 1;
  if (embeddings.ndim() != 2 || embeddings.shape(1) != read.n || embeddings.itemsize() != size ||
      energy.size() != embeddings.shape(0))
    throw py::value_error("embeddings: want [N, n] of the fitted type, and energy [N]");
  const py::array rows = py::array::ensure(embeddings, py::array::c_style);
  if (!rows) throw py::error_already_set();
  EmbeddingDistance distance(std::move(read));
  py::array_t<double> out(rows.shape(0));
  const auto *in = static_cast<const unsigned char *>(rows.data());
  for (py::ssize_t i = 0; i < rows.shape(0); ++i)
    out.mutable_data()[i] = distance.of(in + i * rows.shape(1) * size, energy.data()[i]);
  return out;
}

} // namespace
} // namespace edgeguard

void bind_evidence(py::module_ &m) {
  const float endless = std::numeric_limits<float>::infinity();
  m.attr("MIN_TEMPERATURE") = edgeguard::kMinTemperature;
  m.attr("MAX_TEMPERATURE") = edgeguard::kMaxTemperature;
  m.def("evidence_batch", &edgeguard::evidence_batch, py::arg("scores"), py::kw_only(),
        py::arg("kind") = "logits", py::arg("scale") = 1.0f, py::arg("zero_point") = 0,
        py::arg("temperature") = 1.0f, py::arg("value_min") = -endless,
        py::arg("value_max") = endless,
        R"(Evidence of N inferences: scores [N, n] float32, int8 or uint8, as the model wrote them.

real = scale * (raw - zero_point) for int8 and uint8; kind is logits, probabilities or value.
Returns a structured array [N] of int32 fields: label, value (Q16.16), certainty and margin
(65536 is 1.0), entropy (Q16.16 nats), energy (Q16.16, Liu et al. 2020), sum (Q16.16), bad,
out_of_range, rail, distinct. Scores that are NaN or Inf: bad > 0, label -1, all else 0.)");
  m.def("embedding_batch", &edgeguard::embedding_batch, py::arg("embeddings"), py::arg("fit"),
        py::arg("energy"),
        R"(How far N embeddings [N, n] lie from what was fitted: float64 [N], larger is further.

fit: feature (mahalanobis, relative_mahalanobis, nearest, vim), n, dtype (f32, i8, u8), scale,
zero_point, and the arrays centre [n], projection [k, n], points [m, k], background [b, n], weight
that the feature needs. energy [N] is read by vim alone. Raises KeyError or ValueError.)");
}
