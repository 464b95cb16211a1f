// SPDX-License-Identifier: Apache-2.0
#include "bind_record.hpp"

#include <cmath>
#include <algorithm>
#include <memory>
#include <string_view>
#include <vector>

#include "bind_decision.hpp"
#include "tape.hpp"

namespace py = pybind11;

namespace edgeguard {
namespace {

// Keeps the memory that both processes map.
std::unique_ptr<Tape> make_tape(const py::buffer &memory) {
  py::buffer_info info = memory.request(true);
  size_t bytes = static_cast<size_t>(info.size) * static_cast<size_t>(info.itemsize);
  if (bytes < Tape::kLeast) throw py::value_error("tape: needs at least 64 KiB");
  return std::make_unique<Tape>(info.ptr, bytes);
}

// The next records, until they are `most` bytes together; at least one if there is any.
py::list take(Tape &tape, size_t most) {
  py::list records;
  size_t bytes = 0;
  Tape::Piece a{}, b{};
  while (bytes < most && tape.next(a, b)) {
    size_t n = a.bytes + b.bytes;
    py::bytes record(nullptr, n);
    auto *out = reinterpret_cast<uint8_t *>(PyBytes_AS_STRING(record.ptr()));
    std::copy_n(a.at, a.bytes, out);
    std::copy_n(b.at, b.bytes, out + a.bytes);
    tape.taken(n);
    bytes += n;
    records.append(std::move(record));
  }
  return records;
}

py::object of_number(const eg_number_t &n) {
  if (n.validity != EG_VALID) return py::none();
  return py::float_(from_q16(n.value));
}

py::dict of_member(const eg_suggestion_t &m) {
  const eg_evidence_t &e = m.evidence;
  py::dict d;
  d["serial"] = m.serial;
  d["age_us"] = m.age_us;
  d["latency_us"] = m.latency_us;
  d["pending_us"] = m.pending_us;
  d["present"] = m.present != 0;
  d["label"] = e.label;
  d["value"] = from_q16(e.value);
  d["certainty"] = from_q16(e.certainty);
  d["margin"] = from_q16(e.margin);
  d["entropy"] = from_q16(e.entropy);
  d["energy"] = from_q16(e.energy);
  d["sum"] = from_q16(e.sum);
  d["bad"] = e.bad;
  d["out_of_range"] = e.out_of_range;
  d["rail"] = e.rail;
  d["distinct"] = e.distinct;
  return d;
}

class Replayer {
public:
  explicit Replayer(std::shared_ptr<HostPolicy> policy)
      : policy_(std::move(policy)), replay_(std::make_unique<eg_replay_t>()) {
    eg_replay_begin(replay_.get());
  }

  const char *feed(std::string_view record) {
    switch (eg_replay(replay_.get(), bytes(record), record.size())) {
    case EG_REPLAY_SAME: return "same";
    case EG_REPLAY_NOTHING: return "nothing";
    case EG_REPLAY_DIFFERS: return "differs";
    default: return "malformed";
    }
  }

  // What the last record should have been.
  py::bytes made() const { return {reinterpret_cast<const char *>(replay_->bytes), replay_->size}; }

  // (t_ns, decision) of a DECISION.
  py::tuple decision(std::string_view record) {
    int64_t t_ns = read(record);
    py::object made = py::reinterpret_steal<py::object>(new_decision(said_, 0, policy_));
    return py::make_tuple(t_ns, std::move(made));
  }

  // What the core got for it, by the names of the policy.
  py::dict input(std::string_view record) {
    read(record);
    py::dict d, rule, signals, frames, members;
    const HostPolicy &p = *policy_;
    for (size_t i = 0; i < p.channels.size(); i++)
      rule[p.channels[i].c_str()] = from_q16(in_.rule[i]);
    for (size_t i = 0; i < p.signals.size(); i++)
      signals[p.signals[i].c_str()] = of_number(in_.signal[i]);
    for (size_t i = 0; i < p.cameras.size(); i++) {
      const eg_frame_t &f = in_.frame[i];
      py::dict one;
      one["serial"] = f.serial;
      one["age_us"] = f.age_us;
      one["hash"] = f.hash;
      frames[p.cameras[i].c_str()] = one;
    }
    for (size_t i = 0; i < p.members.size(); i++)
      members[p.members[i].c_str()] = of_member(in_.member[i]);
    py::list detectors;
    for (size_t i = 0; i < p.detectors.size(); i++) {
      const eg_number_t &n = in_.detector[i]; // NaN: it says nothing; None: it cannot be read
      bool silent = n.validity == EG_ABSENT;
      detectors.append(silent ? py::object(py::float_(std::nan(""))) : of_number(n));
    }
    d["elapsed_us"] = in_.elapsed_us;
    d["missed"] = in_.missed;
    d["engaged"] = in_.engaged != 0;
    d["engaged_unknown"] = in_.engaged_unknown != 0;
    d["rule_ok"] = in_.rule_ok != 0;
    d["rule_us"] = in_.rule_us;
    d["rule"] = rule;
    d["signals"] = signals;
    d["detectors"] = detectors;
    d["frames"] = frames;
    d["members"] = members;
    return d;
  }

  // By member, as the core holds it after the last record that it was fed: whether it goes by what
  // the member said last, the label of what it goes by, and what was wrong with the newest answer,
  // one bit a cause. Empty where the state is not known.
  py::dict members() const {
    py::dict d;
    const HostPolicy &p = *policy_;
    for (size_t i = 0; replay_->knows_state && i < p.members.size(); i++) {
      const eg_member_state_t &m = replay_->state.member[i];
      d[p.members[i].c_str()] = py::make_tuple(m.held != 0, m.evidence.label, m.faults);
    }
    return d;
  }

private:
  static const uint8_t *bytes(std::string_view record) {
    return reinterpret_cast<const uint8_t *>(record.data());
  }

  int64_t read(std::string_view record) {
    int64_t t_ns = 0;
    if (!eg_read_decision(&policy_->table, bytes(record), record.size(), &t_ns, &in_, &said_))
      throw py::value_error("not a decision's record under this policy");
    return t_ns;
  }

  std::shared_ptr<HostPolicy> policy_;
  std::unique_ptr<eg_replay_t> replay_;
  eg_input_t in_{};
  eg_decision_t said_{};
};

py::bytes record_of(const HostPolicy &policy) {
  std::vector<uint8_t> out(EG_RECORD_POLICY_MAX);
  size_t n = eg_record_policy(&policy.table, out.data(), out.size());
  return {reinterpret_cast<const char *>(out.data()), n};
}

} // namespace

void bind_record(py::module_ &m) {
  py::class_<Tape>(m, "Tape")
      .def_property_readonly_static("STATE_EVERY",
                                    [](const py::object &) { return Tape::kStateEvery; })
      .def(py::init(&make_tape), py::keep_alive<1, 2>(), py::arg("memory"))
      .def("take", &take, py::arg("most"))
      .def("beat", [](Tape &t) { t.head().beats.fetch_add(1); })
      .def_property_readonly("beats", [](Tape &t) { return t.head().beats.load(); })
      .def_property(
          "failing", [](Tape &t) { return t.head().failing.load() != 0; },
          [](Tape &t, bool is) { t.head().failing.store(is); })
      .def("sealed",
           [](Tape &t, uint32_t number, std::string_view hash) {
             Tape::Hash copy{};
             if (hash.size() != copy.size()) throw py::value_error("hash: want 32 bytes");
             std::copy(hash.begin(), hash.end(), copy.begin());
             t.sealed(number, copy);
           })
      .def_property_readonly(
          "last_seal",
          [](Tape &t) -> py::object {
            uint32_t number = 0;
            Tape::Hash hash{};
            if (!t.last_seal(number, hash)) return py::none();
            return py::make_tuple(
                number, py::bytes(reinterpret_cast<const char *>(hash.data()), hash.size()));
          })
      .def_property_readonly("waiting", &Tape::waiting)
      .def_property_readonly("room", &Tape::room);
  py::class_<Replayer>(m, "Replayer")
      .def(py::init<std::shared_ptr<HostPolicy>>(), py::arg("policy"))
      .def("feed", &Replayer::feed)
      .def("decision", &Replayer::decision)
      .def("input", &Replayer::input)
      .def("members", &Replayer::members)
      .def_property_readonly("made", &Replayer::made);
  m.def("policy_record", [](std::shared_ptr<HostPolicy> p) { return record_of(*p); });
}

} // namespace edgeguard
