# SPDX-License-Identifier: Apache-2.0
"""The recorder's part of `edgeguard bench`: what a tick costs more while it is recorded."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np

from edgeguard.figures import Figure, at_most
from edgeguard.guard import Guard
from edgeguard.zoo import models_dir

MOST_US = 15.0
PERIOD_NS = 10_000_000


def figures(rounds: int) -> list[Any]:
    """recorder.tick.{p50,p99}: the scores of three members and a decision, with a recorder less
    without one, turn by turn."""
    with tempfile.TemporaryDirectory(prefix="edgeguard-bench-") as folder:
        spent = _measured(Path(folder), rounds)
    more = [np.percentile(spent[1], at) - np.percentile(spent[0], at) for at in (50, 99)]
    return [
        at_most("recorder.tick.p50", float(more[0]) / 1e3, MOST_US, "us", rounds),
        Figure("recorder.tick.p99", float(more[1]) / 1e3, "us", rounds),
    ]


def _measured(folder: Path, rounds: int) -> tuple[list[int], list[int]]:
    """Nanoseconds of every tick: not recorded, recorded."""
    spent: tuple[list[int], list[int]] = [], []
    with Guard.load(models_dir() / "guard.toml") as plain, Guard.load(plain.config.source) as told:
        recorder = told.record(folder / "bench.mcap", key=folder / "key.json")
        ticks = _tick(plain), _tick(told)
        for n in range(rounds):
            for tick, times in zip(ticks, spent, strict=True):
                times.append(tick(n * PERIOD_NS))
            recorder.pace()
    return spent


def _tick(guard: Guard) -> Callable[[int], int]:
    scores = [(name, np.zeros(43, np.int8)) for name in guard.config.members]

    def tick(t_ns: int) -> int:
        start_ns = perf_counter_ns()
        for name, said in scores:
            guard.suggest(name, said, t_ns, t_ns)
        guard.decide({"speed": 10.0}, t_ns)
        return perf_counter_ns() - start_ns

    return tick


def lines(found: list[Any]) -> str:
    """For a person."""
    p50, p99 = (figure.value for figure in found)
    return f"recording costs a tick {p50:.1f} us more at the median, {p99:.1f} us at p99"
