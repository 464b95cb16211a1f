// SPDX-License-Identifier: Apache-2.0
#include "build_policy.hpp"

#include <cmath>
#include <limits>
#include <string>

namespace py = pybind11;

namespace edgeguard {
namespace {

// A dictionary and where it stands, so that errors name the whole key path.
struct Table {
  py::dict d;
  std::string path;

  std::string name(const char *key) const { return path.empty() ? key : path + "." + key; }

  py::object get(const char *key) const {
    if (!d.contains(key)) throw py::value_error("policy: " + name(key) + ": missing");
    return d[key];
  }

  template <typename T> T integer(const char *key) const {
    py::object value = get(key);
    if (!py::isinstance<py::int_>(value))
      throw py::value_error("policy: " + name(key) + ": want an integer");
    int overflow = 0;
    long long x = PyLong_AsLongLongAndOverflow(value.ptr(), &overflow);
    if (overflow || x < static_cast<long long>(std::numeric_limits<T>::min()) ||
        x > static_cast<long long>(std::numeric_limits<T>::max()))
      throw py::value_error("policy: " + name(key) + ": does not fit");
    return static_cast<T>(x);
  }

  float real(const char *key) const {
    try {
      return get(key).cast<float>();
    } catch (const py::cast_error &) {
      throw py::value_error("policy: " + name(key) + ": want a number");
    }
  }

  std::string text(const char *key) const {
    py::object value = get(key);
    if (!py::isinstance<py::str>(value))
      throw py::value_error("policy: " + name(key) + ": want a string");
    return value.cast<std::string>();
  }

  Table table(const char *key) const { return as_table(get(key), name(key)); }

  template <typename Each> size_t each(const char *key, size_t most, Each &&visit) const {
    py::object value = get(key);
    if (!py::isinstance<py::sequence>(value))
      throw py::value_error("policy: " + name(key) + ": want a list");
    auto list = value.cast<py::sequence>();
    if (list.size() > most)
      throw py::value_error("policy: " + name(key) + ": more than " + std::to_string(most));
    for (size_t i = 0; i < list.size(); i++)
      visit(i, as_table(list[i], name(key) + "[" + std::to_string(i) + "]"));
    return list.size();
  }

  static Table as_table(const py::object &value, const std::string &path) {
    if (!py::isinstance<py::dict>(value))
      throw py::value_error("policy: " + path + ": want a table");
    return Table{value.cast<py::dict>(), path};
  }
};

eg_cause_row_t cause(const Table &t) {
  return {t.integer<uint8_t>("severity"), t.integer<uint8_t>("clears"),
          t.integer<uint8_t>("asks_operator"), t.integer<uint32_t>("on_us"),
          t.integer<uint32_t>("off_us")};
}

eg_limit_row_t limit_row(const Table &t) {
  return {t.integer<int32_t>("at"),
          {t.integer<int32_t>("min"), t.integer<int32_t>("max"), t.integer<int32_t>("rise"),
           t.integer<int32_t>("fall")}};
}

eg_limit_table_t limit_table(const Table &t, const char *key) {
  eg_limit_table_t out{};
  size_t n = t.each(key, EG_MAX_ROWS, [&](size_t i, const Table &r) { out.row[i] = limit_row(r); });
  out.rows = static_cast<uint8_t>(n);
  return out;
}

eg_demand_t demand(const Table &t) {
  return {t.integer<int32_t>("certainty"), t.integer<uint8_t>("quorum"),
          t.integer<uint8_t>("frames")};
}

eg_channel_t channel(const Table &t) {
  eg_channel_t c{};
  c.kind = t.integer<uint8_t>("kind");
  c.measured = t.integer<uint8_t>("measured");
  c.table_signal = t.integer<uint8_t>("table_signal");
  c.manoeuvre = t.integer<uint8_t>("manoeuvre");
  c.stop = t.integer<int32_t>("stop");
  c.dispersion = t.integer<int32_t>("dispersion");
  c.demand[EG_RAISE] = demand(t.table("raise"));
  c.demand[EG_LOWER] = demand(t.table("lower"));
  c.nominal = limit_table(t, "rows");
  c.degraded = limit_table(t, "degraded_rows");
  return c;
}

eg_member_t member(const Table &t) {
  eg_member_t m{};
  m.kind = t.integer<uint8_t>("kind");
  m.modes = t.integer<uint8_t>("modes");
  m.may = t.integer<uint16_t>("may");
  m.deadline_us = t.integer<uint32_t>("deadline_us");
  m.max_age_us = t.integer<uint32_t>("max_age_us");
  m.max_rail = t.integer<int32_t>("max_rail");
  m.min_distinct = t.integer<int32_t>("min_distinct");
  m.sum_min = t.integer<int32_t>("sum_min");
  m.sum_max = t.integer<int32_t>("sum_max");
  return m;
}

int code(const Table &t, const char *key, std::initializer_list<const char *> names) {
  std::string text = t.text(key);
  int i = 0;
  for (const char *name : names) {
    if (text == name) return i;
    i++;
  }
  throw py::value_error("policy: " + t.name(key) + ": unknown value " + text);
}

ScoreSpec score_spec(const Table &t) {
  ScoreSpec s;
  s.n = t.integer<int>("n");
  s.dtype = code(t, "dtype", {"f32", "i8", "u8"});
  s.scale = t.real("scale");
  s.zero_point = t.integer<int>("zero_point");
  s.kind = code(t, "kind", {"logits", "probabilities", "value"});
  s.temperature = t.real("temperature");
  s.value_min = t.real("value_min");
  s.value_max = t.real("value_max");
  if (!usable(s)) throw py::value_error("policy: " + t.path + ": the scores cannot be read so");
  return s;
}

AssociationSpec association(const Table &t) {
  AssociationSpec s;
  s.relation =
      static_cast<Relation>(code(t, "relation", {"difference", "sum", "product", "ratio", "rate"}));
  for (size_t i = 0; i < 2; i++) {
    s.kind[i] =
        static_cast<Operand>(code(t, i ? "b_kind" : "a_kind", {"signal", "channel", "member"}));
    s.index[i] = t.integer<uint8_t>(i ? "b" : "a");
  }
  s.scale = static_cast<double>(t.real("scale"));
  s.offset = t.integer<int32_t>("offset");
  s.least = t.integer<int32_t>("least");
  s.delay_us = t.integer<uint32_t>("delay_us");
  if (!std::isfinite(s.scale)) throw py::value_error("policy: " + t.path + ": scale: not finite");
  return s;
}

void check_operands(const Table &t, const AssociationSpec &s, const HostPolicy &p) {
  const size_t count[] = {p.signals.size(), p.channels.size(), p.members.size()};
  for (size_t i = 0; i < 2; i++)
    if (s.index[i] >= count[static_cast<size_t>(s.kind[i])])
      throw py::value_error("policy: " + t.path + ": no such operand");
  if (s.delay_us >= uint64_t{Association::kKept} * p.table.period_us)
    throw py::value_error("policy: " + t.path + ": delay_us: longer than what is kept");
}

size_t sources(Source source, const HostPolicy &p) {
  switch (source) {
  case Source::kCamera: return p.cameras.size();
  case Source::kMember:
  case Source::kEmbedding: return p.members.size();
  default: return 1;
  }
}

size_t features(Source source) {
  if (source == Source::kCamera) return kImageFeatures;
  return source == Source::kMember ? size_t{kScoreFeatures} : 1;
}

void detector(const Table &t, HostPolicy &p, size_t i) {
  auto source = t.integer<uint8_t>("source");
  if (source >= static_cast<uint8_t>(Source::kSources))
    throw py::value_error("policy: " + t.path + ": no such source");
  DetectorSource s{static_cast<Source>(source), t.integer<uint8_t>("index"),
                   t.integer<uint8_t>("feature"), t.integer<uint32_t>("max_age_us")};
  if (s.index >= sources(s.source, p) || s.feature >= features(s.source))
    throw py::value_error("policy: " + t.path + ": no such source or feature");
  if (s.source == Source::kAssociation) {
    AssociationSpec spec = association(t.table("association"));
    check_operands(t, spec, p);
    s.index = static_cast<uint8_t>(p.associations.size());
    p.associations.push_back(spec);
  }
  bool of_member = s.source == Source::kMember || s.source == Source::kEmbedding;
  p.table.detector[i] = {t.integer<uint8_t>("cause"), of_member ? s.index : uint8_t{EG_NONE},
                         t.integer<int32_t>("min"), t.integer<int32_t>("max")};
  p.detectors.push_back(s);
  p.detector_names.push_back(t.text("name"));
}

void read_head(const Table &t, eg_policy_t &p) {
  p.period_us = t.integer<uint32_t>("period_us");
  p.max_gap_us = t.integer<uint32_t>("max_gap_us");
  p.controller_budget_us = t.integer<uint32_t>("controller_budget_us");
  p.standstill_signal = t.integer<uint8_t>("standstill_signal");
  p.standstill_below = t.integer<int32_t>("standstill_below");
  size_t causes =
      t.each("causes", EG_CAUSES, [&](size_t i, const Table &c) { p.cause[i] = cause(c); });
  if (causes != EG_CAUSES) throw py::value_error("policy: causes: a row for every cause is needed");
}

void read_inputs(const Table &t, HostPolicy &p) {
  t.each("cameras", EG_MAX_CAMERAS, [&](size_t i, const Table &c) {
    p.cameras.push_back(c.text("name"));
    p.table.camera[i] = {c.integer<uint32_t>("max_age_us")};
  });
  t.each("signals", EG_MAX_SIGNALS, [&](size_t i, const Table &s) {
    p.signals.push_back(s.text("name"));
    p.table.signal[i] = {s.integer<int32_t>("min"), s.integer<int32_t>("max")};
  });
  t.each("members", EG_MAX_MEMBERS, [&](size_t i, const Table &m) {
    p.members.push_back(m.text("name"));
    p.table.member[i] = member(m);
    p.scores.push_back(score_spec(m.table("scores")));
    p.looks_through.push_back(m.integer<uint8_t>("camera"));
    if (p.looks_through[i] != EG_NONE && p.looks_through[i] >= p.cameras.size())
      throw py::value_error("policy: " + m.name("camera") + ": no such camera");
  });
}

void read_outputs(const Table &t, HostPolicy &p) {
  t.each("channels", EG_MAX_CHANNELS, [&](size_t i, const Table &c) {
    p.channels.push_back(c.text("name"));
    p.table.channel[i] = channel(c);
  });
  t.each("labels", UINT16_MAX, [&](size_t, const Table &l) {
    p.labels.push_back({l.integer<int8_t>("channel"), l.integer<int32_t>("value")});
  });
  t.each("detectors", EG_MAX_DETECTORS, [&](size_t i, const Table &d) { detector(d, p, i); });
}

} // namespace

AssociationSpec association_spec(const py::dict &d) {
  return association(Table{d, "association"});
}

std::shared_ptr<HostPolicy> build_policy(const py::dict &d) {
  auto p = std::make_shared<HostPolicy>();
  Table t{d, ""};
  read_head(t, p->table);
  read_inputs(t, *p);
  read_outputs(t, *p);
  eg_policy_t &table = p->table;
  table.cameras = static_cast<uint8_t>(p->cameras.size());
  table.signals = static_cast<uint8_t>(p->signals.size());
  table.members = static_cast<uint8_t>(p->members.size());
  table.channels = static_cast<uint8_t>(p->channels.size());
  table.detectors = static_cast<uint8_t>(p->detectors.size());
  table.labels = static_cast<uint16_t>(p->labels.size());
  table.label = p->labels.data();
  if (const char *wrong = eg_policy_check(&table))
    throw py::value_error(std::string("policy: ") + wrong);
  return p;
}

} // namespace edgeguard
