# SPDX-License-Identifier: Apache-2.0
"""Detectors as rows of the core's table: a source, a cause, and the limits its number must keep."""

from __future__ import annotations

from typing import Any

from edgeguard.config import fixed, schema
from edgeguard.config import vocabulary as words
from edgeguard.config.schema import GuardConfig
from edgeguard.errors import ConfigError

SOURCES = ("image", "score", "embedding", "association", "given")  # as the border counts them
MAX_AGE_MS = 1000.0  # of a number that is given from outside, unless the detector says otherwise
RISK_CAUSES = {2: "RISK_RAISED", 3: "RISK_HIGH"}  # from which level on


def detector_rows(cfg: GuardConfig) -> list[dict[str, Any]]:
    """One row for each detector, two for a risk level. Raises ConfigError."""
    rows = []
    for name, detector in cfg.detectors.items():
        if detector.kind == "risk":
            rows += [_risk(cfg, name, level) for level in RISK_CAUSES]
        else:
            rows.append(_row(cfg, name, detector))
    return rows


def row_index(cfg: GuardConfig, name: str) -> int:
    """Where the rows of a detector begin."""
    rows = [row["name"] for row in detector_rows(cfg)]
    return rows.index(name)


def uncalibrated(cfg: GuardConfig, path: tuple[str, ...]) -> ConfigError:
    """The error of a number that nobody has calibrated."""
    return ConfigError(
        f'{cfg.source}: {".".join(path)}: still says "calibrated"; run `edgeguard calibrate`'
    )


def _each_tick_us(cfg: GuardConfig) -> int:
    """How old a number may be that is given anew before each decision."""
    return fixed.us_floor(10 * cfg.guard.period_ms)


def _risk(cfg: GuardConfig, name: str, level: int) -> dict[str, Any]:
    return {
        "name": name, "source": SOURCES.index("given"), "index": 0, "feature": 0,
        "max_age_us": _each_tick_us(cfg),
        "cause": words.CAUSES.index(RISK_CAUSES[level]),
        "min": 0, "max": fixed.q16(level) - 1,
    }  # fmt: skip


def _row(cfg: GuardConfig, name: str, detector: schema.Detector) -> dict[str, Any]:
    given = detector.kind == "bus" or detector.by_answer
    features = words.DETECTOR_FEATURES[detector.kind]
    picks = detector.kind in ("image", "score")
    max_age_us = fixed.us_floor(detector.max_age_ms or MAX_AGE_MS)
    row: dict[str, Any] = {
        "name": name,
        "source": SOURCES.index("given" if given else detector.kind),
        "index": 0 if given else _index(cfg, detector),
        "feature": features.index(detector.feature or "") if picks else 0,
        "max_age_us": _each_tick_us(cfg) if detector.by_answer else max_age_us,
        "cause": words.CAUSES.index(detector.raises),
        **_limits(cfg, name, detector),
    }
    if detector.kind == "association":
        row["association"] = association(cfg, name, detector)
    return row


def _index(cfg: GuardConfig, detector: schema.Detector) -> int:
    if detector.kind == "image":
        return list(cfg.cameras).index(detector.camera or "")
    return list(cfg.members).index(detector.member) if detector.member else 0


def _limits(cfg: GuardConfig, name: str, detector: schema.Detector) -> dict[str, int]:
    for key in ("below", "above"):
        if isinstance(getattr(detector, key), str):
            raise uncalibrated(cfg, ("detector", name, key))
    least, most = ends(detector)
    return {"min": least, "max": most}


def ends(detector: schema.Detector) -> tuple[int, int]:
    """Its limits in Q16.16, the least and the most; those that it has not are at the ends."""
    low, high = detector.below, detector.above
    assert not isinstance(low, str) and not isinstance(high, str)
    return (
        fixed.LEAST if low is None else fixed.q16_ceil(low),
        fixed.MOST if high is None else fixed.q16_floor(high),
    )


def association(cfg: GuardConfig, name: str, detector: schema.Detector) -> dict[str, Any]:
    """The relation with its operands counted, as the border and `association_batch` read it."""
    line = {"scale": 1.0, "offset": 0.0}
    for key, neutral in line.items():
        value = getattr(detector, key)
        if isinstance(value, str):
            raise uncalibrated(cfg, ("detector", name, key))
        line[key] = neutral if value is None else value
    first, *rest = operands(cfg, detector)
    (a_kind, a), (b_kind, b) = first, rest[0] if rest else first
    return {
        "relation": detector.relation,
        "a_kind": a_kind, "a": _position(cfg, a_kind, a),
        "b_kind": b_kind, "b": _position(cfg, b_kind, b),
        "scale": line["scale"],
        "offset": fixed.q16(line["offset"]),
        "least": fixed.q16_ceil(detector.least or 0.0),
        "delay_us": fixed.us_floor(detector.delay_ms or 0.0),
        "between": list(detector.between),  # for readers of a log
    }  # fmt: skip


def operands(cfg: GuardConfig, detector: schema.Detector) -> list[tuple[str, str]]:
    """Section and name of what belongs together: signal, channel (its last command) or member."""
    found = []
    for text in detector.between:
        section, _, name = text.partition(".")
        if section in words.OPERANDS and name in _names(cfg, section):
            found.append((section, name))
        else:
            found.append((next(s for s in words.OPERANDS if text in _names(cfg, s)), text))
    return found


def _names(cfg: GuardConfig, section: str) -> list[str]:
    if section == "signal":
        return list(cfg.signals)
    return list(cfg.channels if section == "channel" else cfg.members)


def _position(cfg: GuardConfig, section: str, name: str) -> int:
    return _names(cfg, section).index(name)
