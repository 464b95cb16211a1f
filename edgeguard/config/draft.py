# SPDX-License-Identifier: Apache-2.0
"""A guard.toml on its way to a GuardConfig: the tables that are well formed so far.

Tables that are not are left out, but their names stay known, so that one mistake is not reported
again by everything that refers to it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from attrs import Factory, define

from edgeguard.config import schema, toml
from edgeguard.config.defaults import default_causes
from edgeguard.config.lines import KeyPath
from edgeguard.config.report import Report
from edgeguard.config.structure import ShapeError, meant, name_problem, one_of, structure
from edgeguard.config.vocabulary import CAUSES, MOST

T = TypeVar("T")

_ONE = ("guard", "rearm", "controller", "mcu", "telemetry")
_MANY = (*MOST, "cause")


@define
class Draft:
    """Structured tables by name; `names` holds all names that the file gives, `raw` its tables,
    `content` its bytes."""

    source: Path
    content: bytes
    raw: dict[str, Any]
    report: Report
    guard: schema.Guard | None = None
    rearm: schema.Rearm | None = None
    controller: schema.Controller | None = None
    mcu: schema.Mcu | None = None
    telemetry: schema.Telemetry | None = None
    cameras: dict[str, schema.Camera] = Factory(dict)
    signals: dict[str, schema.Signal] = Factory(dict)
    members: dict[str, schema.Member] = Factory(dict)
    channels: dict[str, schema.Channel] = Factory(dict)
    detectors: dict[str, schema.Detector] = Factory(dict)
    causes: dict[str, schema.CauseRow] = Factory(dict)
    names: dict[str, tuple[str, ...]] = Factory(dict)

    def known(self, section: str, name: str | None, path: KeyPath) -> bool:
        """Whether a reference leads to a table of the file; reports it when not."""
        if name is None or name in self.names[section]:
            return name is not None
        names = self.names[section]
        hint = meant(name, names) or (one_of(names) if names else f"add [{section}.{name}]")
        self.report.add(path, f"there is no [{section}.{name}]; {hint}")
        return False


def draft(path: Path) -> Draft:
    """Read and structure a guard.toml; raises ConfigError only when it is not TOML at all."""
    content = toml.content(path)
    raw, lines = toml.decoded(content, path)
    made = Draft(path, content, raw, Report(str(path), lines))
    for section in raw:
        if section not in _ONE + _MANY:
            hint = meant(section, _ONE + _MANY) or one_of(_ONE + _MANY)
            made.report.add((section,), f"unknown table; {hint}")
    made.guard = _one(made, "guard", schema.Guard)
    made.rearm = _one(made, "rearm", schema.Rearm)
    made.controller = _one(made, "controller", schema.Controller)
    made.mcu = _one(made, "mcu", schema.Mcu)
    made.telemetry = _one(made, "telemetry", schema.Telemetry)
    made.cameras = _many(made, "camera", schema.Camera)
    made.signals = _many(made, "signal", schema.Signal)
    made.members = _many(made, "member", schema.Member)
    made.channels = _many(made, "channel", schema.Channel)
    made.detectors = _many(made, "detector", schema.Detector)
    made.causes = _causes(made)
    _demand_tables(made)
    return made


def _one(made: Draft, section: str, cls: type[T]) -> T | None:
    if section not in made.raw:
        if section == "guard":
            made.report.add((section,), "missing; the table holds name and period_ms")
        return structure({}, cls) if cls in (schema.Controller, schema.Telemetry) else None
    try:
        return structure(made.raw[section], cls)
    except ShapeError as wrong:
        made.report.add_all((section,), wrong)
        return None


def _tables(made: Draft, section: str) -> dict[str, dict[str, Any]]:
    """The named tables of a section; what else stands there is a problem."""
    raw = made.raw.get(section, {})
    if not isinstance(raw, dict):
        made.report.add((section,), f"is no table; write [{section}.NAME]")
        return {}
    found = {}
    for name, table in raw.items():
        if not isinstance(table, dict):
            made.report.add((section, name), f"stands outside a table; write [{section}.NAME]")
            continue
        found[name] = table
        problem = name_problem(name)
        if problem:
            made.report.add((section, name), problem)
    return found


def _many(made: Draft, section: str, cls: type[T]) -> dict[str, T]:
    tables = _tables(made, section)
    made.names[section] = tuple(tables)
    for name in list(tables)[MOST[section] :]:
        made.report.add((section, name), f"is one too many; the core holds {MOST[section]}")
    done = {}
    for name, table in tables.items():
        try:
            done[name] = structure(_gathered(table) if section == "channel" else table, cls)
        except ShapeError as wrong:
            made.report.add_all((section, name), _as_written(wrong, table))
    return done


def _as_written(wrong: ShapeError, table: dict[str, Any]) -> ShapeError:
    """Undo `_gathered` in the paths of problems."""
    problems = []
    for path, text in wrong.problems:
        loose = f"fallback_{path[1]}" if path[:1] == ("fallback",) and len(path) == 2 else ""
        problems.append(((loose,) if loose in table else path, text))
    return ShapeError(*problems)


def _gathered(table: dict[str, Any]) -> dict[str, Any]:
    """`fallback_floor = 5.5` beside `fallback = "x"` is `{ controller = "x", floor = 5.5 }`."""
    loose = {k: v for k, v in table.items() if k.startswith("fallback_")}
    if not loose or not isinstance(table.get("fallback"), str):
        return table
    kept = {k: v for k, v in table.items() if k not in loose}
    named = {k.removeprefix("fallback_"): v for k, v in loose.items()}
    named["controller"] = table["fallback"]
    return {**kept, "fallback": named}


def _causes(made: Draft) -> dict[str, schema.CauseRow]:
    """Every cause: the default row with the keys of [cause.NAME] on top."""
    rows = dict(default_causes())
    for name, table in _tables(made, "cause").items():
        if name not in CAUSES:
            hint = meant(name, CAUSES) or one_of(CAUSES)
            made.report.add(("cause", name), f"unknown cause; {hint}")
            continue
        base = rows.pop(name)
        defaults = {f: getattr(base, f) for f in schema.CauseRow.__annotations__}
        try:
            rows[name] = structure({**defaults, **table}, schema.CauseRow)
        except ShapeError as wrong:
            made.report.add_all(("cause", name), wrong)
    return {name: rows[name] for name in CAUSES if name in rows}


def _demand_tables(made: Draft) -> None:
    for section, why in (
        ("member", "without a model there is nothing to guard"),
        ("channel", "there is nothing to command"),
    ):
        if not made.raw.get(section):
            made.report.add((section,), f"missing; {why}; add [{section}.NAME]")
