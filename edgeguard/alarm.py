# SPDX-License-Identifier: Apache-2.0
"""What a guard makes of security events, and of its detectors over time: a risk level."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from edgeguard.config import GuardConfig
from edgeguard.config.detector_rows import detector_rows, row_index
from edgeguard.config.fixed import ONE
from edgeguard.decision import Core

if TYPE_CHECKING:
    from edgeguard.evidence.risk import Watch

EVENT = "security event: "

_log = logging.getLogger("edgeguard")


Note = Callable[[str, int | None], object]  # a line for people, and its time, if it has one


class Alarm:
    """Takes security events from any thread: to the log of this process, to the risk level, and to
    the recording, if there is one."""

    def __init__(self, risk: Watch | None) -> None:
        self._risk = risk
        self._note: Note | None = None

    def __call__(self, name: str) -> None:
        """Raises ValueError for a name that is none."""
        from edgeguard.evidence.risk import points

        _log.warning("security event: %s (%d points)", name, points(name))
        if self._risk is not None:
            self._risk.events.happened(name)
        elif self._note is not None:
            self._note(EVENT + name, None)

    def record(self, note: Note | None) -> None:
        """From now on events are noted there: where there is a risk level, those that count, with
        the time of the tick from which on they do. None ends that; what no tick will count any more
        is then noted without a time: it may be what ended the run."""
        if self._risk is not None and self._note is not None and note is None:
            for name in self._risk.events.uncounted():
                self._note(EVENT + name, None)
        self._note = note
        if self._risk is not None and note is not None:
            self._risk.events.noted = lambda name, t_ns: note(EVENT + name, t_ns)
        elif self._risk is not None:
            self._risk.events.noted = None


def watch(config: GuardConfig, core: Core) -> Watch | None:
    """The watch over all calibrated detectors, where guard.toml asks for one."""
    asked = _asked(config)
    if asked is None:
        return None
    from edgeguard.evidence.risk import Evidence, Limits, Watch

    calibration, watched = {}, {}
    for index, row in enumerate(detector_rows(config)):
        arrays = config.fits.get((row["name"], "risk"))
        if arrays is not None:
            limits = Limits.of(row["min"], row["max"])
            if limits == Limits(None, None):
                continue  # at the ends of Q16.16: nothing is ever near them
            calibration[row["name"]] = arrays["blocks"]
            watched[row["name"]] = index, limits
    name, rate = asked
    first = row_index(config, name)
    return Watch(core, Evidence(calibration, rate), watched, (first, first + 1))


def limits(config: GuardConfig, risk: Watch | None) -> dict[str, Any] | None:
    """Against what a risk level is reached, JSON-ready, for readers of a log: the thresholds of the
    levels, and of each watched detector its limits and how many blocks it was calibrated on."""
    asked = _asked(config)
    if asked is None or risk is None:
        return None
    from edgeguard.evidence.risk import BLOCK_S, POINTS, WINDOW_S

    def number(end: int | None) -> float | None:
        return None if end is None else end / ONE

    return {
        "max_false_trips_per_hour": asked[1],
        "block_s": BLOCK_S,
        "evidence": {str(level): c for level, c in risk.evidence.thresholds.items()},
        "points": {str(level): least for level, least in POINTS.items()},
        "window_s": WINDOW_S,
        "detectors": {
            name: {
                "below": number(kept.below), "above": number(kept.above),
                "blocks": len(config.fits[name, "risk"]["blocks"]),
            }
            for name, (_, kept) in risk.rows.items()
        },
    }  # fmt: skip


def _asked(config: GuardConfig) -> tuple[str, float] | None:
    """Name and rate of the detector of kind "risk"."""
    found: Mapping[str, Any] = config.detectors
    for name, detector in found.items():
        if detector.kind == "risk":
            return name, detector.max_false_trips_per_hour or 1.0  # see config.detector_rules
    return None
