// SPDX-License-Identifier: Apache-2.0
// edgeguard._core: the decision core as Python sees it. Nothing here decides; decide() never
// raises.
#include <pybind11/native_enum.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "build_policy.hpp"

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
                                            "SELF_TEST"};

double from_q16(int32_t q) {
  return static_cast<double>(q) / EG_ONE;
}

// A float of any Python number; false (and no pending error) for everything else.
bool number_of(PyObject *o, double *out) {
  if (!o) return false;
  *out = PyFloat_AsDouble(o);
  if (*out == -1.0 && PyErr_Occurred()) {
    PyErr_Clear();
    return false;
  }
  return true;
}

bool stamp_of(const py::handle &o, int64_t *out) {
  if (!o || !PyIndex_Check(o.ptr())) return false;
  auto index = py::reinterpret_steal<py::object>(PyNumber_Index(o.ptr()));
  int overflow = 0;
  long long value = index ? PyLong_AsLongLongAndOverflow(index.ptr(), &overflow) : 0;
  if (PyErr_Occurred()) PyErr_Clear();
  *out = value;
  return index && !overflow;
}

// One decision: a copy of the core's output with the names that make it readable.
struct Decision {
  eg_decision_t raw;
  std::shared_ptr<const HostPolicy> policy;

  py::tuple causes(uint32_t mask) const {
    py::list names;
    for (size_t c = 0; c < EG_CAUSES; c++)
      if (mask & EG_BIT(c)) names.append(kCauses[c]);
    return py::tuple(names);
  }

  py::dict command() const {
    py::dict d;
    for (size_t i = 0; i < policy->channels.size(); i++)
      d[policy->channels[i].c_str()] = from_q16(raw.channel[i].command);
    return d;
  }

  py::dict evidence() const {
    py::dict d;
    for (size_t i = 0; i < policy->channels.size(); i++) {
      const eg_command_t &c = raw.channel[i];
      py::dict one;
      one["want"] = from_q16(c.want);
      one["label"] = c.label;
      one["certainty"] = from_q16(c.certainty);
      one["votes"] = c.votes;
      one["voters"] = c.voters;
      one["granted"] = c.granted != 0;
      d[policy->channels[i].c_str()] = one;
    }
    return d;
  }

  py::dict ages() const {
    py::dict d;
    for (size_t i = 0; i < policy->members.size(); i++)
      d[policy->members[i].c_str()] = raw.member_age_us[i] / 1000.0;
    for (size_t i = 0; i < policy->cameras.size(); i++)
      d[policy->cameras[i].c_str()] = raw.camera_age_us[i] / 1000.0;
    return d;
  }
};

// The core with Python's views of its names.
class Core {
public:
  explicit Core(std::shared_ptr<HostPolicy> policy) : policy_(policy), border_(*policy) {
    for (const std::string &name : policy->signals) signal_names_.append(py::str(name));
    for (const std::string &name : policy->channels) channel_names_.append(py::str(name));
  }

  py::array scores(int member, const py::object &self) {
    const ScoreSpec &s = policy_->scores[index(member)];
    const py::dtype type = s.dtype == 0   ? py::dtype::of<float>()
                           : s.dtype == 1 ? py::dtype::of<int8_t>()
                                          : py::dtype::of<uint8_t>();
    return py::array(type, {s.n}, {}, border_.scores(member), self);
  }

  void handed(int member, const py::object &t_ns) { border_.handed(checked(member), stamp(t_ns)); }

  void evaluate(uint32_t members, const py::object &capture_ns, const py::list &ready_ns) {
    for (size_t i = 0; i < policy_->members.size() && i < ready_ns.size(); i++)
      if (members >> i & 1u)
        border_.scored(static_cast<int>(i), stamp(capture_ns), stamp(ready_ns[i]));
  }

  // Scores from outside, of any shape and type: what cannot be read as this member's is not sane.
  void suggest(int member, const py::object &scores, const py::object &capture_ns,
               const py::object &ready_ns) {
    const ScoreSpec &s = policy_->scores[index(member)];
    int64_t capture = stamp(capture_ns), ready = stamp(ready_ns);
    py::array given = readable(scores);
    bool empty = scores.is_none() || (given && given.size() == 0);
    if (empty || !given || given.size() != s.n || !copy_scores(given, s, border_.scores(member)))
      border_.unreadable(member, capture, ready, empty);
    else
      border_.scored(member, capture, ready);
  }

  void frame(int camera, uint64_t hash, uint32_t scene, uint32_t view, const py::object &features,
             const py::object &capture_ns) {
    if (camera < 0 || static_cast<size_t>(camera) >= policy_->cameras.size())
      throw py::index_error("no such camera");
    const eg_frame_t seen{0, 0, hash, scene, view};
    if (features.is_none()) return border_.frame(camera, seen, nullptr, stamp(capture_ns));
    double row[kImageFeatures];
    bool five = PyTuple_Check(features.ptr()) && PyTuple_GET_SIZE(features.ptr()) == kImageFeatures;
    for (py::ssize_t i = 0; five && i < kImageFeatures; i++)
      five = number_of(PyTuple_GET_ITEM(features.ptr(), i), &row[i]);
    if (!five)
      throw py::value_error("features: want (mean, contrast, black, saturated, sharpness)");
    border_.frame(camera, seen, row, stamp(capture_ns));
  }

  Decision decide(const py::object &signals, const py::object &rule, int64_t rule_ns,
                  const py::object &t_ns) {
    bool dict = PyDict_Check(signals.ptr());
    for (size_t i = 0; i < policy_->signals.size(); i++) {
      double x;
      if (dict && number_of(lookup(signals, signal_names_, i), &x))
        border_.signal(static_cast<int>(i), x);
      else
        border_.no_signal(static_cast<int>(i));
    }
    bool rule_ok = PyDict_Check(rule.ptr());
    for (size_t i = 0; i < policy_->channels.size(); i++) {
      double x;
      bool given = rule_ok && number_of(lookup(rule, channel_names_, i), &x);
      rule_ok = given && border_.rule(static_cast<int>(i), x) && rule_ok;
    }
    read_engaged(signals, dict);
    int64_t now = 0;
    bool time_known = stamp_of(t_ns, &now);
    return {border_.decide(time_known, now, rule_ok, rule_ns), policy_};
  }

  void arm() { border_.arm(); }
  eg_rearm_t rearm() { return border_.rearm(); }
  void takeover() { border_.takeover(); }
  void lost(int member, bool is) { border_.lost(checked(member), is); }

  py::dict evidence(int member) {
    const eg_evidence_t &e = border_.evidence(checked(member));
    py::dict d;
    d["label"] = e.label;
    d["value"] = from_q16(e.value);
    d["certainty"] = from_q16(e.certainty);
    d["margin"] = from_q16(e.margin);
    d["entropy"] = from_q16(e.entropy);
    d["energy"] = from_q16(e.energy);
    d["bad"] = e.bad;
    return d;
  }

private:
  int checked(int member) {
    if (member < 0 || static_cast<size_t>(member) >= policy_->members.size())
      throw py::index_error("no such member");
    return member;
  }
  size_t index(int member) { return static_cast<size_t>(checked(member)); }

  static PyObject *lookup(const py::object &dict, const py::list &names, size_t i) {
    PyObject *found = PyDict_GetItemWithError(dict.ptr(), names[i].ptr());
    if (!found && PyErr_Occurred()) PyErr_Clear();
    return found;
  }

  // Not said: engaged. Said and neither 0 nor 1: unknown, and no reason to let go.
  void read_engaged(const py::object &signals, bool dict) {
    PyObject *said = dict ? PyDict_GetItemString(signals.ptr(), "engaged") : nullptr;
    double x = 1.0;
    bool known = !said || (number_of(said, &x) && (x == 0.0 || x == 1.0));
    border_.engaged(x == 1.0, !known);
  }

  // A stamp that is none lies in the future: what carries it is refused.
  static int64_t stamp(const py::handle &o) {
    int64_t t = 0;
    return stamp_of(o, &t) ? t : INT64_MAX;
  }

  static py::array readable(const py::object &scores) {
    py::array a;
    if (!scores.is_none()) a = py::array::ensure(scores, py::array::c_style);
    if (!a) PyErr_Clear();
    return a;
  }

  // What is too large for a float is as infinite as Inf.
  static float narrow(double x) {
    bool fits = !(std::fabs(x) > std::numeric_limits<float>::max());
    return fits ? static_cast<float>(x) : std::numeric_limits<float>::infinity();
  }

  static bool copy_scores(const py::array &given, const ScoreSpec &s, void *to) {
    char kind = given.dtype().kind();
    if (s.dtype == 0) {
      if (kind != 'f' && kind != 'i' && kind != 'u') return false;
      auto wide = py::array_t<double, py::array::c_style | py::array::forcecast>::ensure(given);
      if (!wide) return PyErr_Clear(), false;
      for (py::ssize_t i = 0; i < s.n; i++) static_cast<float *>(to)[i] = narrow(wide.data()[i]);
      return true;
    }
    if (kind != (s.dtype == 1 ? 'i' : 'u') || given.itemsize() != 1) return false;
    std::memcpy(to, given.data(), static_cast<size_t>(s.n));
    return true;
  }

  std::shared_ptr<HostPolicy> policy_;
  Border border_;
  py::list signal_names_, channel_names_;
};

// How often a cause with this debounce starts to act on a record of its presence.
int debounce_trips(const py::array_t<bool, py::array::c_style | py::array::forcecast> &present,
                   uint32_t dt_us, uint32_t on_us, uint32_t off_us) {
  eg_cause_row_t row{EG_FALLBACK, EG_CLEARS_ITSELF, 0, on_us, off_us};
  eg_debounce_t state{};
  bool active = false;
  int trips = 0;
  for (py::ssize_t i = 0; i < present.size(); i++) {
    bool acts = eg_debounce_step(&row, &state, active, present.data()[i], dt_us);
    trips += acts && !active;
    active = acts;
  }
  return trips;
}

void bind_decision(py::module_ &m) {
  py::native_enum<eg_mode_t>(m, "Mode", "enum.IntEnum")
      .value("NOMINAL", EG_NOMINAL)
      .value("DEGRADED", EG_DEGRADED)
      .value("FALLBACK", EG_FALLBACK)
      .value("SAFE_STOP", EG_SAFE_STOP)
      .finalize();
  py::class_<Decision>(m, "Decision")
      .def_property_readonly("command", &Decision::command)
      .def_property_readonly("mode", [](const Decision &d) { return eg_mode_t(d.raw.mode); })
      .def_property_readonly("causes", [](const Decision &d) { return d.causes(d.raw.causes); })
      .def_property_readonly("present", [](const Decision &d) { return d.causes(d.raw.present); })
      .def_property_readonly("evidence", &Decision::evidence)
      .def_property_readonly("ages_ms", &Decision::ages)
      .def_property_readonly("sequence", [](const Decision &d) { return d.raw.sequence; })
      .def_property_readonly("active", [](const Decision &d) { return d.raw.active != 0; })
      .def_property_readonly("operator_request",
                             [](const Decision &d) { return d.raw.operator_request != 0; });
}

void bind_core(py::module_ &m) {
  py::class_<HostPolicy, std::shared_ptr<HostPolicy>>(m, "Policy").def(py::init(&build_policy));
  py::class_<Core>(m, "Core")
      .def(py::init<std::shared_ptr<HostPolicy>>())
      .def("scores", [](py::object self, int i) { return self.cast<Core &>().scores(i, self); })
      .def("handed", &Core::handed)
      .def("evaluate", &Core::evaluate)
      .def("suggest", &Core::suggest)
      .def("lost", &Core::lost)
      .def("frame", &Core::frame)
      .def("decide", &Core::decide)
      .def("evidence", &Core::evidence)
      .def("arm", &Core::arm)
      .def("takeover", &Core::takeover)
      .def("rearm", [](Core &c) -> py::object {
        switch (c.rearm()) {
        case EG_REARMED: return py::none();
        case EG_REARM_UNARMED: return py::str("not armed");
        case EG_REARM_MOVING: return py::str("not at standstill");
        default: return py::str("a cause is still present");
        }
      });
}

} // namespace
} // namespace edgeguard

PYBIND11_MODULE(_core, m) {
  using namespace edgeguard;
  bind_decision(m);
  bind_core(m);
  m.def("debounce_trips", &debounce_trips, py::arg("present"), py::arg("dt_us"), py::arg("on_us"),
        py::arg("off_us"));
  py::tuple causes(static_cast<size_t>(EG_CAUSES));
  for (size_t i = 0; i < EG_CAUSES; i++) causes[i] = py::str(kCauses[i]);
  m.attr("CAUSES") = causes;
}
