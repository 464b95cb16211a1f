// SPDX-License-Identifier: Apache-2.0
// edgeguard._core: the decision core as Python sees it. Nothing here decides; decide() never
// raises.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <climits>
#include <cmath>
#include <cstring>
#include <limits>

#include "bind_decision.hpp"
#include "bind_record.hpp"
#include "build_policy.hpp"
#include "direct.hpp"
#include "embedding_arrays.hpp"
#include "health_record.hpp"
#include "tape.hpp"

namespace py = pybind11;

namespace edgeguard {
namespace {

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
  int overflow = 0;
  if (o && PyLong_CheckExact(o.ptr())) { // as on every step
    *out = PyLong_AsLongLongAndOverflow(o.ptr(), &overflow);
    return !overflow;
  }
  if (!o || !PyIndex_Check(o.ptr())) return false;
  auto index = py::reinterpret_steal<py::object>(PyNumber_Index(o.ptr()));
  long long value = index ? PyLong_AsLongLongAndOverflow(index.ptr(), &overflow) : 0;
  if (PyErr_Occurred()) PyErr_Clear();
  *out = value;
  return index && !overflow;
}

// An int that a caller in this package gives: an index or a few bits.
int small(PyObject *o) {
  long value = PyLong_AsLong(o);
  if (value == -1 && PyErr_Occurred()) throw py::error_already_set();
  return static_cast<int>(std::clamp<long>(value, INT_MIN, INT_MAX));
}

// The core with Python's views of its names.
class Core {
public:
  explicit Core(std::shared_ptr<HostPolicy> policy) : policy_(policy), border_(*policy) {
    for (const std::string &name : policy->signals) signal_names_.append(interned(name));
    for (const std::string &name : policy->channels) channel_names_.append(interned(name));
    engaged_name_.append(interned("engaged"));
  }

  py::array scores(int member, const py::object &self) {
    const ScoreSpec &s = policy_->scores[index(member)];
    const py::dtype type = s.dtype == 0   ? py::dtype::of<float>()
                           : s.dtype == 1 ? py::dtype::of<int8_t>()
                                          : py::dtype::of<uint8_t>();
    return py::array(type, {s.n}, {}, border_.scores(member), self);
  }

  void handed(int member, const py::object &t_ns) { border_.handed(checked(member), stamp(t_ns)); }

  // evaluate(members, capture_ns, ready_ns): those without a time (None) have not run.
  PyObject *evaluate(Arguments given) {
    PyObject *members = given[0], *ready = given[2];
    if (!PyTuple_Check(members) || !PyList_Check(ready))
      throw py::type_error("evaluate: want a tuple of members and a list of times");
    int64_t capture_ns = stamp(given[1]);
    Py_ssize_t n = std::min(PyTuple_GET_SIZE(members), PyList_GET_SIZE(ready));
    for (Py_ssize_t i = 0; i < n; i++) {
      PyObject *ready_ns = PyList_GET_ITEM(ready, i);
      if (ready_ns == Py_None) continue;
      border_.scored(checked(small(PyTuple_GET_ITEM(members, i))), capture_ns, stamp(ready_ns));
    }
    Py_RETURN_NONE;
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

  // frame(camera, health, scene, view, capture_ns); health is None where nobody looks.
  PyObject *frame(Arguments given) {
    int camera = small(given[0]);
    if (camera < 0 || static_cast<size_t>(camera) >= policy_->cameras.size())
      throw py::index_error("no such camera");
    const Health *health = given[1] == Py_None ? nullptr : inside<Health>(given[1]);
    eg_frame_t seen{};
    seen.hash = health ? health->content_hash : 0;
    seen.scene = static_cast<uint32_t>(PyLong_AsUnsignedLongMask(given[2]));
    seen.view = static_cast<uint32_t>(PyLong_AsUnsignedLongMask(given[3]));
    if (PyErr_Occurred()) throw py::error_already_set();
    if (health) {
      const ImageFeatures row = health->features();
      border_.frame(camera, seen, row.data(), stamp(given[4]));
    } else {
      border_.frame(camera, seen, nullptr, stamp(given[4]));
    }
    Py_RETURN_NONE;
  }

  // What a detector of an embedding was fitted to, and the array where its member leaves each one.
  void embedding(int detector, const py::array &memory, const py::dict &fit) {
    EmbeddingFit read = embedding_fit(fit);
    const py::ssize_t bytes = read.n * (read.dtype == kF32 ? 4 : 1);
    if (!(memory.flags() & py::array::c_style) || memory.nbytes() != bytes)
      throw py::value_error("the member's embedding is not what was fitted");
    border_.embedding(of(Source::kEmbedding, detector), std::move(read), memory.data());
    embeddings_.append(memory); // keeps it
  }

  void measure(int detector, double value, const py::object &t_ns) {
    border_.measure(of(Source::kGiven, detector), value, stamp(t_ns));
  }

  // For each detector, since the last call: (least, most) of its numbers in Q16.16, None where it
  // said nothing, False where it was unreadable at least once.
  py::list extremes() {
    py::list found;
    for (size_t d = 0; d < policy_->detectors.size(); d++) {
      const Border::Extremes &seen = border_.extremes(d);
      if (seen.unreadable)
        found.append(false);
      else if (!seen.spoke)
        found.append(py::none());
      else
        found.append(py::make_tuple(seen.least, seen.most));
    }
    border_.forget();
    return found;
  }

  // decide(signals, rule, rule_ns, t_ns); what is no dict has no entries.
  PyObject *decide(Arguments given) {
    read_signals(given[0]);
    bool rule_ok = PyDict_Check(given[1]);
    for (size_t i = 0; i < policy_->channels.size(); i++) {
      double x;
      bool said = rule_ok && number_of(lookup(given[1], channel_names_, i), &x);
      rule_ok = said && border_.rule(static_cast<int>(i), x) && rule_ok;
    }
    int64_t rule_ns = 0, now = 0;
    if (!stamp_of(given[2], &rule_ns)) rule_ns = INT64_MAX;
    bool time_known = stamp_of(given[3], &now);
    const eg_decision_t made = border_.decide(time_known, now, rule_ok, rule_ns);
    remember(made);
    return new_decision(made, border_.tripped(), policy_);
  }

  // Whether the member's last result is one that the next decision may hold.
  bool took(int member) { return border_.took(checked(member)); }

  // The signals as rules may see them: of the declared ones those that the core will believe, as
  // plain numbers. Raises what a name raises that is compared.
  py::dict valid(const py::dict &given) const {
    auto seen = py::reinterpret_steal<py::dict>(PyDict_Copy(given.ptr()));
    if (!seen) throw py::error_already_set();
    for (size_t i = 0; i < policy_->signals.size(); i++) {
      PyObject *name = PyList_GET_ITEM(signal_names_.ptr(), static_cast<Py_ssize_t>(i));
      PyObject *said = PyDict_GetItemWithError(seen.ptr(), name);
      if (!said && PyErr_Occurred()) throw py::error_already_set();
      double x = 0.0;
      if (!said) continue;
      bool is = number_of(said, &x);
      double taken = x;
      is = is && border_.believes(static_cast<int>(i), &taken);
      if (is && PyFloat_CheckExact(said) && !std::memcmp(&x, &taken, sizeof x)) continue;
      bool failed = is ? PyDict_SetItem(seen.ptr(), name, py::float_(taken).ptr())
                       : PyDict_DelItem(seen.ptr(), name);
      if (failed) throw py::error_already_set();
    }
    return seen;
  }

  // The commands of the last decision by channel, the same dict each time; empty before there was
  // one.
  py::dict last() const { return last_; }
  // Is called with the signals when some are not declared.
  void on_strangers(py::object call) { on_strangers_ = std::move(call); }

  void arm() { border_.arm(); }
  eg_rearm_t rearm() { return border_.rearm(); }
  void takeover() { border_.takeover(); }
  void ask(uint32_t question) { border_.ask(question); }
  void note(uint32_t causes) { border_.note(causes & (EG_BIT(EG_CAUSES) - 1u)); }
  void lost(int member, bool is) { border_.lost(checked(member), is); }

  bool record(Tape *tape) { return border_.record(tape); }

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
  // The names in a caller's source are interned too: found by address, without a comparison.
  static py::object interned(const std::string &name) {
    return py::reinterpret_steal<py::object>(PyUnicode_InternFromString(name.c_str()));
  }

  int checked(int member) {
    if (member < 0 || static_cast<size_t>(member) >= policy_->members.size())
      throw py::index_error("no such member");
    return member;
  }
  int of(Source source, int detector) {
    if (detector < 0 || static_cast<size_t>(detector) >= policy_->detectors.size() ||
        policy_->detectors[static_cast<size_t>(detector)].source != source)
      throw py::index_error("no such detector of this kind");
    return detector;
  }
  size_t index(int member) { return static_cast<size_t>(checked(member)); }

  static PyObject *lookup(PyObject *dict, const py::list &names, size_t i) {
    PyObject *found =
        PyDict_GetItemWithError(dict, PyList_GET_ITEM(names.ptr(), static_cast<Py_ssize_t>(i)));
    if (!found && PyErr_Occurred()) PyErr_Clear();
    return found;
  }

  void read_signals(PyObject *given) {
    bool dict = PyDict_Check(given);
    Py_ssize_t known = 0;
    for (size_t i = 0; i < policy_->signals.size(); i++) {
      double x;
      PyObject *said = dict ? lookup(given, signal_names_, i) : nullptr;
      known += said != nullptr;
      if (number_of(said, &x))
        border_.signal(static_cast<int>(i), x);
      else
        border_.no_signal(static_cast<int>(i));
    }
    PyObject *engaged = dict ? lookup(given, engaged_name_, 0) : nullptr;
    known += engaged != nullptr;
    read_engaged(engaged);
    if (dict && PyDict_GET_SIZE(given) > known && on_strangers_) {
      py::object told =
          py::reinterpret_steal<py::object>(PyObject_CallOneArg(on_strangers_.ptr(), given));
      if (!told) PyErr_Clear();
    }
  }

  // Not said: engaged. Said and neither 0 nor 1: unknown, and no reason to let go.
  void read_engaged(PyObject *said) {
    double x = 1.0;
    bool known = !said || (number_of(said, &x) && (x == 0.0 || x == 1.0));
    border_.engaged(x == 1.0, !known);
  }

  void remember(const eg_decision_t &made) {
    for (size_t i = 0; i < policy_->channels.size(); i++) {
      py::float_ command(from_q16(made.channel[i].command));
      PyObject *name = PyList_GET_ITEM(channel_names_.ptr(), static_cast<Py_ssize_t>(i));
      if (PyDict_SetItem(last_.ptr(), name, command.ptr())) throw py::error_already_set();
    }
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
  py::list signal_names_, channel_names_, engaged_name_, embeddings_;
  py::dict last_;
  py::object on_strangers_;
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

// The residuals of one association on a record: a and b [N] float64, one each step; NaN: absent,
// infinite or beyond Q16.16: invalid. What it says in return is NaN and infinite in the same way.
py::array association_batch(const py::dict &d,
                            const py::array_t<double, py::array::c_style | py::array::forcecast> &a,
                            const py::array_t<double, py::array::c_style | py::array::forcecast> &b,
                            uint32_t period_us) {
  if (a.ndim() != 1 || b.ndim() != 1 || a.size() != b.size())
    throw py::value_error("a and b: want two arrays [N]");
  Association association(association_spec(d));
  py::array_t<double> out(a.size());
  auto number = [](double x) { return std::isnan(x) ? eg_number_t{EG_ABSENT, 0} : to_number(x); };
  for (py::ssize_t i = 0; i < a.size(); i++) {
    const eg_number_t n = association.step(number(a.data()[i]), number(b.data()[i]), period_us);
    out.mutable_data()[i] = n.validity == EG_VALID    ? from_q16(n.value)
                            : n.validity == EG_ABSENT ? std::nan("")
                                                      : std::numeric_limits<double>::infinity();
  }
  return out;
}

void bind_core(py::module_ &m) {
  py::class_<HostPolicy, std::shared_ptr<HostPolicy>>(m, "Policy").def(py::init(&build_policy));
  py::class_<Core> core(m, "Core");
  def_direct<Core, &Core::frame, 5>(core, "frame");
  def_direct<Core, &Core::evaluate, 3>(core, "evaluate");
  def_direct<Core, &Core::decide, 4>(core, "decide");
  core.def(py::init<std::shared_ptr<HostPolicy>>())
      .def("scores", [](py::object self, int i) { return self.cast<Core &>().scores(i, self); })
      .def("handed", &Core::handed)
      .def("suggest", &Core::suggest)
      .def("lost", &Core::lost)
      .def("ask", &Core::ask)
      .def("note", &Core::note)
      .def("evidence", &Core::evidence)
      .def("embedding", &Core::embedding)
      .def("measure", &Core::measure)
      .def("extremes", &Core::extremes)
      .def("valid", &Core::valid)
      .def("took", &Core::took)
      .def_property_readonly("last", &Core::last)
      .def("on_strangers", &Core::on_strangers)
      .def("arm", &Core::arm)
      .def("takeover", &Core::takeover)
      .def("record", &Core::record, py::keep_alive<1, 2>())
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
  bind_record(m);
  bind_core(m);
  m.def("association_batch", &association_batch, py::arg("spec"), py::arg("a"), py::arg("b"),
        py::arg("period_us"));
  m.def("debounce_trips", &debounce_trips, py::arg("present"), py::arg("dt_us"), py::arg("on_us"),
        py::arg("off_us"));
}
