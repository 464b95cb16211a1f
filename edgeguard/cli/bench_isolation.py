# SPDX-License-Identifier: Apache-2.0
"""What isolation costs: from a 640x480 frame in hand to all scores visible to the decision.

The shipped members, in three guards that take turns frame by frame: in this process; all in one
worker; each in a worker of its own. The cost is the median of the differences to the first, within
a turn. Beside them the ways to ask another process that a user may think of, as bare round trips.
"""

from __future__ import annotations

import contextlib
import multiprocessing as mp
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import evolve

from edgeguard.config import GuardConfig, load
from edgeguard.guard import Guard
from edgeguard.zoo import models_dir

FRAME = (480, 640, 3)
BAR_US = 60.0
ANSWER_S = 5.0
Figure = dict[str, Any]
_WAYS: dict[str, dict[str, Any]] = {
    "in_process": {"isolation": "none", "process": None},
    "one_worker": {"isolation": "process", "process": "all"},
    "worker_each": {"isolation": "process", "process": None},
}


def figures(rounds: int) -> list[Figure]:
    """isolation.{one_worker, worker_each}: cost in us over in_process; isolation.rival.*: bare
    round trips of the alternatives."""
    found = [_figure(f"rival.{name}", us) for name, us in _rivals(rounds)]
    us = _measure(load(models_dir() / "guard.toml"), rounds)
    inside = us["in_process"]
    for name in ("one_worker", "worker_each"):
        figure = _figure(name, us[name] - inside) | {"whole_us": float(np.median(us[name]))}
        if name == "one_worker":
            figure |= {"bar": f"<= {BAR_US:g}", "holds": figure["value"] <= BAR_US}
        found.append(figure)
    return [*found, _figure("in_process", inside)]


def lines(found: list[Figure]) -> str:
    """For a person."""
    rows = {f["id"].removeprefix("isolation."): f for f in found if f["id"].startswith("isolation")}
    text = [f"  {'':40}{'p50 us':>9}{'p99 us':>9}"]
    for name, what in _NAMES.items():
        row = rows[name]
        verdict = {True: "holds", False: "DOES NOT HOLD"}.get(row.get("holds"), "")
        bar = f"  {row['bar']} {verdict}" if "bar" in row else ""
        text.append(f"  {what:40}{row['value']:9.1f}{row['p99_us']:9.1f}{bar}")
    return "\n".join(text)


_NAMES = {
    "in_process": "in this process, frame to scores",
    "one_worker": "all in one confined worker, on top",
    "worker_each": "one confined worker each, on top",
    "rival.eventfd": "bare round trip: eventfd",
    "rival.pipe_byte": "bare round trip: pipe, one byte",
    "rival.pipe_object": "multiprocessing.Pipe, a small dict",
    "rival.pipe_frame": "multiprocessing.Pipe, the frame",
}


def _figure(name: str, us: npt.NDArray[np.float64]) -> Figure:
    return {
        "id": f"isolation.{name}", "value": float(np.median(us)), "unit": "us", "n": len(us),
        "p99_us": float(np.percentile(us, 99)),
    }  # fmt: skip


def _measure(config: GuardConfig, rounds: int) -> dict[str, npt.NDArray[np.float64]]:
    frames = np.random.default_rng(0).integers(0, 256, (4, *FRAME), np.uint8)
    with contextlib.ExitStack() as stack:
        guards = {name: stack.enter_context(_guard(config, way)) for name, way in _WAYS.items()}
        us: dict[str, list[float]] = {name: [] for name in guards}
        for n in range(rounds + 20):
            for name in list(guards)[:: 1 if n % 2 else -1]:
                us[name].append(_step(guards[name], frames[n % 4], n))
    return {name: np.array(values[20:]) for name, values in us.items()}


def _guard(config: GuardConfig, way: dict[str, Any]) -> Guard:
    members = {name: evolve(member, **way) for name, member in config.members.items()}
    guard = Guard(evolve(config, members=members))
    guard.arm()
    return guard


def _step(guard: Guard, frame: npt.NDArray[np.uint8], n: int) -> float:
    start = time.perf_counter_ns()
    guard.observe("front", frame, n * 100_000_000)
    guard.wait(ANSWER_S)
    return (time.perf_counter_ns() - start) / 1e3


# --- what else one could do; each end of it in as few words as it takes ---


def _rivals(rounds: int) -> Iterator[tuple[str, npt.NDArray[np.float64]]]:
    frame = np.zeros(FRAME, np.uint8)
    small = {"label": 1, "certainty": 0.99}
    yield "eventfd", _eventfd(rounds)
    yield "pipe_byte", _pipe(rounds)
    yield "pipe_object", _connection(rounds, small)
    yield "pipe_frame", _connection(rounds, frame)


def _eventfd(rounds: int) -> npt.NDArray[np.float64]:
    there, back = os.eventfd(0), os.eventfd(0)

    def answer() -> None:
        os.eventfd_read(there)
        os.eventfd_write(back, 1)

    def ask() -> None:
        os.eventfd_write(there, 1)
        os.eventfd_read(back)

    return _ping(answer, ask, rounds)


def _pipe(rounds: int) -> npt.NDArray[np.float64]:
    (hear, ask_by), (heard, answer_by) = os.pipe(), os.pipe()

    def answer() -> None:
        os.write(answer_by, os.read(hear, 1))

    def ask() -> None:
        os.write(ask_by, b"x")
        os.read(heard, 1)

    return _ping(answer, ask, rounds)


def _connection(rounds: int, what: Any) -> npt.NDArray[np.float64]:
    ours, theirs = mp.Pipe()

    def answer() -> None:
        theirs.recv()
        theirs.send({"label": 1})

    def ask() -> None:
        ours.send(what)
        ours.recv()

    return _ping(answer, ask, rounds)


def _ping(
    answer: Callable[[], None], ask: Callable[[], None], rounds: int
) -> npt.NDArray[np.float64]:
    """Microseconds of each ``ask``, with ``answer`` in a process of its own."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            for _ in range(rounds + 20):
                answer()
        os._exit(0)
    us = []
    for _ in range(rounds + 20):
        start = time.perf_counter_ns()
        ask()
        us.append((time.perf_counter_ns() - start) / 1e3)
    os.waitpid(child, 0)
    return np.array(us[20:])
