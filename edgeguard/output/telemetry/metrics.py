# SPDX-License-Identifier: Apache-2.0
"""The board as Prometheus metrics; every number was counted by the deciding process."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from edgeguard.config.vocabulary import CAUSES, SEVERITIES
from edgeguard.output.telemetry.board import Board

# name, what it is, in which table of the snapshot, key, what multiplies it
_BY_NAME = (
    ("votes", "Members that support the answer.", "channels", "votes", 1.0),
    ("voters", "Members that were heard.", "channels", "voters", 1.0),
    ("command", "Command in the unit of the channel.", "channels", "command", 1.0),
    ("channel_certainty", "Certainty of the vote.", "channels", "certainty", 1.0),
    ("member_alive", "1 while the member can be asked.", "members", "alive", 1.0),
    ("member_age_seconds", "Since the capture that it answered to.", "members", "age_ms", 1e-3),
    ("member_certainty", "Certainty of the member's answer.", "members", "certainty", 1.0),
    ("camera_age_seconds", "Since the capture of the last frame.", "cameras", "age_ms", 1e-3),
)
_DURATIONS = (
    ("decision", "Signals in, command out."),
    ("tick", "A decision and all who watch it."),
    ("late", "From the deadline to the first instruction after it."),
)
_COUNTS = (
    ("overruns", "Ticks that ended after the next deadline."),
    ("skipped", "Deadlines without a tick."),
    ("dropped", "Messages to this process that were dropped."),
)


class Metrics(Collector):
    """Collected anew on every scrape."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def collect(self) -> Iterable[Metric]:
        """Everything that is known by now."""
        heard = time.monotonic() - self._board.heard_s
        yield _gauge("snapshot_age_seconds", "Since the last word of the deciding process.", heard)
        if self._board.snapshot:
            yield from _state(self._board.snapshot)
        if self._board.timing:
            yield from _timing(self._board.timing)

    def describe(self) -> Iterable[Metric]:
        """Nothing that is known before there is a board."""
        return ()


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"edgeguard_{name}", text, value)


def _state(snapshot: dict[str, Any]) -> Iterator[Metric]:
    mode = GaugeMetricFamily("edgeguard_mode", "1 for the mode of now.", labels=["mode"])
    for name in SEVERITIES:
        mode.add_metric([name], name == snapshot["mode"])
    yield mode
    acts = GaugeMetricFamily("edgeguard_cause_active", "1 while it acts.", labels=["cause"])
    for name in CAUSES:
        acts.add_metric([name], name in snapshot["causes"])
    yield acts
    yield _gauge("operator_request", "1 while a person is asked.", snapshot["operator_request"])
    if snapshot["risk"] is not None:
        yield _gauge("risk", "Risk level, 0 to 3.", snapshot["risk"])
    for name, text, table, key, factor in _BY_NAME:
        found = GaugeMetricFamily(f"edgeguard_{name}", text, labels=[table.removesuffix("s")])
        for entry, said in snapshot[table].items():
            if said.get(key) is not None:
                found.add_metric([entry], said[key] * factor)
        if found.samples:
            yield found


def _timing(timing: dict[str, Any]) -> Iterator[Metric]:
    for name, text in _DURATIONS:
        found = timing[name]
        buckets = [(f"{end_ns / 1e9:.9g}", float(below)) for end_ns, below in found["below_ns"]]
        family = HistogramMetricFamily(f"edgeguard_{name}_seconds", text)
        family.add_metric([], [*buckets, ("+Inf", found["total"])], found["sum_ns"] / 1e9)
        yield family
        yield _gauge(f"{name}_max_seconds", f"The longest. {text}", found["max_ns"] / 1e9)
    for name, text in _COUNTS:
        yield CounterMetricFamily(f"edgeguard_{name}", text, timing[name])
    for name, text, label in (
        ("decisions", "Decisions by mode.", "mode"),
        ("requests", "Requests of an operator by outcome.", "outcome"),
    ):
        counter = CounterMetricFamily(f"edgeguard_{name}", text, labels=[label])
        for entry, count in timing[name].items():
            counter.add_metric([entry], count)
        yield counter
