// SPDX-License-Identifier: Apache-2.0
#include "bind_decision.hpp"

#include <pybind11/native_enum.h>

#include <new>
#include <utility>

namespace py = pybind11;

namespace edgeguard {
namespace {

constexpr const char *kCauses[EG_CAUSES] = {"NOT_ARMED",
                                            "TIME_FAULT",
                                            "CONTROLLER_LOST",
                                            "STALE_MODEL",
                                            "LATE",
                                            "MEMBER_LOST",
                                            "SCORE_INSANE",
                                            "LOW_CERTAINTY",
                                            "DISAGREEMENT",
                                            "OPERATION_DENIED",
                                            "UNAUTHORIZED_SUGGESTION",
                                            "OUT_OF_DISTRIBUTION",
                                            "FROZEN_INPUT",
                                            "FRAME_LOST",
                                            "IMAGE_UNHEALTHY",
                                            "INPUT_INVALID",
                                            "ENVELOPE_CONFLICT",
                                            "OVERRUN",
                                            "LINK_LOST",
                                            "LINK_FAULTY",
                                            "ANSWER_WRONG",
                                            "PEER_STOPPED",
                                            "SELF_TEST",
                                            "ASSOCIATION_BROKEN",
                                            "BUS_INTRUSION",
                                            "RISK_RAISED",
                                            "RISK_HIGH",
                                            "RECORDER_LOST",
                                            "UNSIGNED_BUNDLE"};

// A copy of the core's output with the policy that names it. A type of its own and not one of
// pybind11's: one is made on every step, and pybind11 would enter each into its tables.
struct Decision {
  PyObject_HEAD eg_decision_t raw;
  uint32_t tripped;
  std::shared_ptr<const HostPolicy> policy;
};

PyTypeObject *decision_type = nullptr;

py::tuple names_of(uint32_t mask) {
  py::list names;
  for (size_t c = 0; c < EG_CAUSES; c++)
    if (mask & EG_BIT(c)) names.append(kCauses[c]);
  return py::tuple(names);
}

py::object mode(const Decision &d) {
  return py::cast(eg_mode_t(d.raw.mode));
}

py::object causes(const Decision &d) {
  return names_of(d.raw.causes);
}

py::object present(const Decision &d) {
  return names_of(d.raw.present);
}

// Which detectors were outside their limits, by name: what a cause alone does not say.
py::object detectors(const Decision &d) {
  py::list names;
  for (size_t i = 0; i < d.policy->detector_names.size(); i++)
    if (d.tripped & EG_BIT(i)) names.append(d.policy->detector_names[i]);
  return py::tuple(names);
}

py::object command(const Decision &d) {
  py::dict found;
  for (size_t i = 0; i < d.policy->channels.size(); i++)
    found[d.policy->channels[i].c_str()] = from_q16(d.raw.channel[i].command);
  return found;
}

// As the core holds them: what a link sends has to match what the checks signed.
py::object command_q16(const Decision &d) {
  py::tuple t(d.policy->channels.size());
  for (size_t i = 0; i < d.policy->channels.size(); i++) t[i] = py::int_(d.raw.channel[i].command);
  return t;
}

py::object checks(const Decision &d) {
  py::tuple t(static_cast<size_t>(EG_CHECKS));
  for (size_t i = 0; i < EG_CHECKS; i++) t[i] = py::int_(d.raw.check[i]);
  return t;
}

py::object evidence(const Decision &d) {
  py::dict found;
  for (size_t i = 0; i < d.policy->channels.size(); i++) {
    const eg_command_t &c = d.raw.channel[i];
    py::dict one;
    one["want"] = from_q16(c.want);
    one["label"] = c.label;
    one["certainty"] = from_q16(c.certainty);
    one["votes"] = c.votes;
    one["voters"] = c.voters;
    one["granted"] = c.granted != 0;
    found[d.policy->channels[i].c_str()] = one;
  }
  return found;
}

py::object ages_ms(const Decision &d) {
  py::dict found;
  for (size_t i = 0; i < d.policy->members.size(); i++)
    found[d.policy->members[i].c_str()] = d.raw.member_age_us[i] / 1000.0;
  for (size_t i = 0; i < d.policy->cameras.size(); i++)
    found[d.policy->cameras[i].c_str()] = d.raw.camera_age_us[i] / 1000.0;
  return found;
}

template <auto Field> py::object number(const Decision &d) {
  return py::int_(d.raw.*Field);
}

template <auto Field> py::object truth(const Decision &d) {
  return py::bool_(d.raw.*Field != 0);
}

py::object text(const Decision &d) {
  return py::str("Decision({}, causes={}, command={}, active={}, sequence={})")
      .format(mode(d).attr("name"), causes(d), command(d), d.raw.active != 0, d.raw.sequence);
}

template <py::object (*Read)(const Decision &)> PyObject *read(PyObject *self) noexcept {
  try {
    return Read(*reinterpret_cast<const Decision *>(self)).release().ptr();
  } catch (py::error_already_set &e) {
    e.restore();
  } catch (const std::exception &e) {
    PyErr_SetString(PyExc_RuntimeError, e.what());
  }
  return nullptr;
}

template <py::object (*Read)(const Decision &)> PyGetSetDef field(const char *name) {
  return {name, [](PyObject *self, void *) { return read<Read>(self); }, nullptr, nullptr, nullptr};
}

void release(PyObject *self) {
  PyTypeObject *type = Py_TYPE(self);
  reinterpret_cast<Decision *>(self)->policy.~shared_ptr();
  type->tp_free(self);
  Py_DECREF(type);
}

py::object make_type() {
  using Raw = eg_decision_t;
  static PyGetSetDef fields[] = {field<mode>("mode"),
                                 field<command>("command"),
                                 field<causes>("causes"),
                                 field<present>("present"),
                                 field<detectors>("detectors"),
                                 field<evidence>("evidence"),
                                 field<ages_ms>("ages_ms"),
                                 field<number<&Raw::sequence>>("sequence"),
                                 field<truth<&Raw::active>>("active"),
                                 field<truth<&Raw::operator_request>>("operator_request"),
                                 field<command_q16>("command_q16"),
                                 field<number<&Raw::causes>>("causes_mask"),
                                 field<number<&Raw::present>>("present_mask"),
                                 field<number<&Raw::question>>("question"),
                                 field<number<&Raw::answer>>("answer"),
                                 field<checks>("checks"),
                                 {}};
  PyType_Slot slots[] = {{Py_tp_getset, fields},
                         {Py_tp_repr, reinterpret_cast<void *>(&read<text>)},
                         {Py_tp_dealloc, reinterpret_cast<void *>(&release)},
                         {0, nullptr}};
  PyType_Spec spec{"edgeguard._core.Decision", sizeof(Decision), 0,
                   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
  PyObject *made = PyType_FromSpec(&spec);
  if (!made) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(made);
}

} // namespace

double from_q16(int32_t q) noexcept {
  return static_cast<double>(q) / EG_ONE;
}

PyObject *new_decision(const eg_decision_t &raw, uint32_t tripped,
                       std::shared_ptr<const HostPolicy> policy) {
  PyObject *made = decision_type->tp_alloc(decision_type, 0);
  if (!made) throw py::error_already_set();
  auto *d = reinterpret_cast<Decision *>(made);
  d->raw = raw;
  d->tripped = tripped;
  new (&d->policy) std::shared_ptr<const HostPolicy>(std::move(policy));
  return made;
}

void bind_decision(py::module_ &m) {
  py::native_enum<eg_mode_t>(m, "Mode", "enum.IntEnum")
      .value("NOMINAL", EG_NOMINAL)
      .value("DEGRADED", EG_DEGRADED)
      .value("FALLBACK", EG_FALLBACK)
      .value("SAFE_STOP", EG_SAFE_STOP)
      .finalize();
  py::object modes = m.attr("Mode"); // an IntEnum prints as its number; a log wants the name
  modes.attr("__str__") = py::cpp_function([](const py::object &self) { return self.attr("name"); },
                                           py::is_method(modes));
  modes.attr("__format__") = py::module_::import("enum").attr("Enum").attr("__format__");
  m.attr("Decision") = make_type();
  decision_type = reinterpret_cast<PyTypeObject *>(m.attr("Decision").ptr()); // lives with m
  py::tuple names(static_cast<size_t>(EG_CAUSES));
  for (size_t i = 0; i < EG_CAUSES; i++) names[i] = py::str(kCauses[i]);
  m.attr("CAUSES") = names;
}

} // namespace edgeguard
