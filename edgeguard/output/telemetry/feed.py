# SPDX-License-Identifier: Apache-2.0
"""Tells the telemetry process what was decided: every change at once, the rest ten times a second.

Everything that is counted is counted here, so that a dropped message loses nothing of it.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from edgeguard.card import Card
from edgeguard.decision import Decision
from edgeguard.intake.sources import Frame
from edgeguard.loop.timing import Histogram, Timing
from edgeguard.output.telemetry import process as wire
from edgeguard.output.telemetry.disclosure import Subject, picture, snapshot
from edgeguard.output.telemetry.operator import Requests
from edgeguard.output.telemetry.process import Link

SNAPSHOT_NS, PICTURE_NS, TIMING_NS = 100_000_000, 200_000_000, 500_000_000
OCTAVES = 12, 28  # 4 us to 268 ms


class Feed:
    """A watcher of the loop. It never waits, and nothing depends on whether anybody reads."""

    def __init__(
        self, link: Link, guard: Subject, cards: Mapping[str, Card], camera: str,
        timing: Timing, requests: Requests | None = None,
    ) -> None:  # fmt: skip
        self._link, self._guard, self._cards = link, guard, cards
        self._timing, self._requests = timing, requests
        frame = guard.config.cameras[camera].frame
        self._pixel_format = frame.format if frame else "BGR"
        self._shows_pictures = guard.config.telemetry.disclosure == "full"
        self._decisions: Counter[str] = Counter()
        self._told: tuple[Any, ...] = ()
        self._next_ns = {wire.SNAPSHOT: 0, wire.PICTURE: 0, wire.TIMING: 0}

    def saw(self, frame: Frame) -> None:
        """A small copy leaves in `full`, otherwise nothing is copied at all."""
        if self._link.lost or not self._shows_pictures or not self._due(wire.PICTURE, PICTURE_NS):
            return
        small = picture(frame.image, self._pixel_format)
        about: dict[str, Any] = {"shape": small.shape, "width": frame.image.shape[1]}
        pixels = small.tobytes()
        if frame.box is not None:
            part = picture(frame.image, self._pixel_format, frame.box)
            about |= {"box": [int(side) for side in frame.box], "part": part.shape}
            pixels += part.tobytes()
        self._link.send(wire.PICTURE, json.dumps(about).encode(), b"\n", pixels)

    def decided(self, decision: Decision, t_ns: int) -> None:
        """Tell what has changed, and from time to time what has not."""
        if self._link.lost:
            return
        self._decisions[decision.mode.name] += 1
        shown = (
            decision.mode, decision.causes_mask, decision.active, decision.operator_request,
            self._requests and self._requests.answered,
        )  # fmt: skip
        if shown != self._told or self._due(wire.SNAPSHOT, SNAPSHOT_NS):
            now = snapshot(self._guard, self._cards, decision)
            now["decided_unix_ms"] = time.time_ns() // 1_000_000
            now["risk"] = self._guard.risk
            now["request"] = self._requests.last if self._requests else None
            if self._link.send_json(wire.SNAPSHOT, now):
                self._told = shown
        if self._due(wire.TIMING, TIMING_NS):
            self._link.send_json(wire.TIMING, self._counted())

    def _due(self, kind: bytes, every_ns: int) -> bool:
        now_ns = time.monotonic_ns()
        if now_ns < self._next_ns[kind]:
            return False
        self._next_ns[kind] = now_ns + every_ns
        return True

    def _counted(self) -> dict[str, Any]:
        timing = self._timing
        return {
            "decision": _histogram(timing.decision),
            "tick": _histogram(timing.tick),
            "late": _histogram(timing.late),
            "period_ns": timing.period_ns,
            "overruns": timing.overruns,
            "skipped": timing.skipped,
            "decisions": dict(self._decisions),
            "dropped": self._link.dropped,
            "requests": dict(self._requests.counts) if self._requests else {},
        }

    def lines(self) -> list[str]:
        """What a person is told at the end."""
        if self._link.lost:
            return [f"telemetry process lost; {self._link.dropped} messages dropped"]
        return [f"telemetry: {self._link.dropped} messages dropped"]


def _histogram(found: Histogram) -> dict[str, Any]:
    shares = ("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)
    return {
        "below_ns": found.octaves(*OCTAVES),
        "total": found.total,
        "sum_ns": found.sum_ns,
        "max_ns": found.max_ns,
        **{name: found.percentile_ns(share) for name, share in shares},
    }
