# SPDX-License-Identifier: Apache-2.0
"""What isolation costs: from a 640x480 frame in hand to all scores in the core.

The shipped members, in three guards that take turns frame by frame: in this process; all in one
worker; each in a worker of its own. The cost is the median of the differences to the first, within
a turn. `decide` waits for nobody, so an answer is there when the last score stands in shared
memory, plus the time that it takes to fetch and evaluate them all. Beside it the time of a driver
that sleeps until it is woken, as those of simulated streams do; and the ways to ask another process
that a user may think of, as bare round trips: back to back, and the cheapest once more to one that
has slept as long as a worker does between two frames. That is the floor here: in a virtual machine,
a processor that stands still is woken by the host.
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
from edgeguard.errors import EdgeguardError
from edgeguard.guard import Guard
from edgeguard.inference import Result
from edgeguard.zoo import models_dir

FRAME = (480, 640, 3)
BAR_US = 60.0
ANSWER_S, LOOK_S = 5.0, 0.02
ASLEEP_S = 0.005
TURN = 50  # frames in one order, then as many in the other
Figure = dict[str, Any]
_WAYS: dict[str, dict[str, Any]] = {
    "in_process": {"isolation": "none", "process": None},
    "one_worker": {"isolation": "process", "process": "all"},
    "worker_each": {"isolation": "process", "process": None},
}


def figures(rounds: int) -> list[Figure]:
    """isolation.{one_worker, worker_each}[.woken]: cost in us over in_process; isolation.rival.*:
    bare round trips of the alternatives."""
    found = [_figure(f"rival.{name}", us) for name, us in _rivals(rounds)]
    times = _measure(load(models_dir() / "guard.toml"), rounds)
    inside = times["in_process"][:, 0]
    for name in ("one_worker", "worker_each"):
        there, woken = (times[name] - inside[:, None]).T
        found += [_figure(name, there), _figure(f"{name}.woken", woken)]
    bar = next(figure for figure in found if figure["id"] == "isolation.one_worker")
    bar |= {"bar": f"<= {BAR_US:g}", "holds": bar["value"] <= BAR_US}
    return [*found, _figure("in_process", inside)]


def lines(found: list[Figure]) -> str:
    """For a person."""
    rows = {f["id"].removeprefix("isolation."): f for f in found if f["id"].startswith("isolation")}
    text = [f"  {'':40}{'p50 us':>9}{'p99 us':>9}"]
    for name, what in _NAMES.items():
        row = rows[name]
        bar = (
            f"  {row['bar']} {'holds' if row['holds'] else 'DOES NOT HOLD'}" if "bar" in row else ""
        )
        text.append(f"  {what:40}{row['value']:9.1f}{row['p99_us']:9.1f}{bar}")
    return "\n".join(text)


_NAMES = {
    "in_process": "in this process, frame to scores",
    "one_worker": "all in one confined worker, on top",
    "one_worker.woken": "  to a driver that sleeps until woken",
    "worker_each": "one confined worker each, on top",
    "worker_each.woken": "  to a driver that sleeps until woken",
    "rival.eventfd": "bare round trip: eventfd",
    "rival.eventfd_asleep": "  to one that has slept for 5 ms",
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
    """Microseconds [rounds, 2] for each way: there, and there for who has to be woken."""
    frames = np.random.default_rng(0).integers(0, 256, (4, *FRAME), np.uint8)
    with contextlib.ExitStack() as stack:
        guards = {name: stack.enter_context(_guard(config, way)) for name, way in _WAYS.items()}
        us: dict[str, list[tuple[float, float]]] = {name: [] for name in guards}
        for n in range(rounds + 20):
            # Hardly ever twice the same: it would find its own caches warm.
            for name in list(guards)[:: 1 if n // TURN % 2 else -1]:
                us[name].append(_step(guards[name], frames[n % 4], n * 100_000_000))
    return {name: np.array(values[20:]) for name, values in us.items()}


def _guard(config: GuardConfig, way: dict[str, Any]) -> Guard:
    members = {name: evolve(member, **way) for name, member in config.members.items()}
    guard = Guard(evolve(config, members=members))
    guard.arm()
    return guard


def _step(guard: Guard, frame: npt.NDArray[np.uint8], t_ns: int) -> tuple[float, float]:
    start_ns = time.monotonic_ns()
    guard.observe("front", frame, t_ns)
    if not guard._remote:
        there_us = (time.monotonic_ns() - start_ns) / 1e3
        return there_us, there_us
    fetched_ns, results = 0, []
    for seat in guard._remote:
        result, took_ns = _fetch(seat.member)
        results.append(result)
        fetched_ns += took_ns
    evaluate_ns = time.monotonic_ns()
    ready_ns = [t_ns + result.took_ns for result in results]
    guard._core.evaluate(tuple(seat.index for seat in guard._remote), t_ns, ready_ns)
    end_ns = time.monotonic_ns()
    last_ns = max(result.t_ready_ns for result in results)
    there_ns = last_ns - start_ns + fetched_ns + end_ns - evaluate_ns
    return there_ns / 1e3, (end_ns - start_ns) / 1e3


def _fetch(member: Any) -> tuple[Result, int]:
    """A member's answer, slept for, and how long it took to fetch it once it was there."""
    for _ in range(int(ANSWER_S / LOOK_S)):
        start_ns = time.monotonic_ns()
        result: Result | None = member.poll()
        if result is not None:
            return result, time.monotonic_ns() - start_ns
        member.worker.listen(LOOK_S)
    raise EdgeguardError(f"{member.name}: no answer in {ANSWER_S:g} s ({member.reason})")


# --- what else one could do; each end of it in as few words as it takes ---


def _rivals(rounds: int) -> Iterator[tuple[str, npt.NDArray[np.float64]]]:
    frame = np.zeros(FRAME, np.uint8)
    small = {"label": 1, "certainty": 0.99}
    yield "eventfd", _eventfd(rounds)
    yield "eventfd_asleep", _eventfd(min(rounds, 200), ASLEEP_S)
    yield "pipe_byte", _pipe(rounds)
    yield "pipe_object", _connection(rounds, small)
    yield "pipe_frame", _connection(rounds, frame)


def _eventfd(rounds: int, asleep_s: float = 0.0) -> npt.NDArray[np.float64]:
    there, back = os.eventfd(0), os.eventfd(0)

    def answer() -> None:
        os.eventfd_read(there)
        os.eventfd_write(back, 1)

    def ask() -> None:
        os.eventfd_write(there, 1)
        os.eventfd_read(back)

    return _ping(answer, ask, rounds, asleep_s)


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
    answer: Callable[[], None], ask: Callable[[], None], rounds: int, asleep_s: float = 0.0
) -> npt.NDArray[np.float64]:
    """Microseconds of each ``ask``, with ``answer`` in a process of its own, once it has slept."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            for _ in range(rounds + 20):
                answer()
        os._exit(0)
    us = []
    for _ in range(rounds + 20):
        busy_until = time.perf_counter() + asleep_s
        while time.perf_counter() < busy_until:
            pass  # we are awake, as a guard is that has a frame
        start = time.perf_counter_ns()
        ask()
        us.append((time.perf_counter_ns() - start) / 1e3)
    os.waitpid(child, 0)
    return np.array(us[20:])
