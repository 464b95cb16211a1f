# SPDX-License-Identifier: Apache-2.0
"""`edgeguard run --bus`: a monitor of a CAN bus beside a loop, for detectors of kind "bus"."""

from __future__ import annotations

import contextlib
import queue
from pathlib import Path

import click

from edgeguard.config import GuardConfig
from edgeguard.errors import EdgeguardError
from edgeguard.evidence.bus import Frame, Model, Monitor, load
from edgeguard.guard import Guard
from edgeguard.intake.bus import WINDOW_S, Reader
from edgeguard.loop import Loop


class Watched:
    """An operator of the loop: gives the guard what the monitor found, window by window.

    The monitor belongs to the reading thread; the tick takes what that has put into a queue.
    """

    def __init__(self, guard: Guard, model: Model) -> None:
        self._guard, self._monitor = guard, Monitor(model)
        self._found = queue.SimpleQueue[tuple[int, dict[str, float]]]()

    def frame(self, t_s: float, identifier: int, data: bytes) -> None:
        """In the reading thread."""
        self._monitor.frame(Frame(t_s, identifier, data))

    def window(self, t_ns: int) -> None:
        """In the reading thread."""
        self._found.put((t_ns, self._monitor.numbers()))

    def serve(self) -> None:
        """Never waits. Of several windows the worst number of each feature counts."""
        worst: dict[str, float] = {}
        while not self._found.empty():
            t_ns, numbers = self._found.get_nowait()
            worst = {name: max(value, worst.get(name, 0.0)) for name, value in numbers.items()}
        if worst:
            self._guard.bus(worst, t_ns)


def _lasts(config: GuardConfig, detector: str) -> None:
    """What is read of a bus has to stand until the next window can have been seen, else the
    detector trips on one that is in order. Raises EdgeguardError."""
    age_ms, least_ms = config.detectors[detector].max_age_ms, 1000 * WINDOW_S
    least_ms += config.guard.period_ms
    if age_ms is not None and age_ms < least_ms:
        raise EdgeguardError(
            f"{config.source}: detector.{detector}.max_age_ms: is {age_ms:g}; --bus gives a number"
            f" every {1000 * WINDOW_S:g} ms, so it would trip between two; at least that and a"
            f" control period ({least_ms:g} ms)"
        )


def attach(
    name: str | None, learnt: Path | None, loop: Loop, guard: Guard, on_clock: bool,
    stack: contextlib.ExitStack,
) -> None:  # fmt: skip
    """Watch the bus, if one was named. Raises EdgeguardError."""
    readers = [d for d, row in guard.config.detectors.items() if row.kind == "bus"]
    if name is None:
        _nobody_reads(guard.config, readers, learnt)
        return
    if not readers:
        raise EdgeguardError(
            f'{guard.config.source}: --bus {name}: there is no detector of kind "bus" that looks'
            " at it; see docs/detectors.md"
        )
    if learnt is None:
        raise EdgeguardError(
            f"--bus {name}: say what is normal there: --bus-learnt FILE, see docs/detectors.md"
        )
    for detector in readers:
        _lasts(guard.config, detector)
    if not on_clock:
        raise EdgeguardError(f"--bus {name}: is live, and this source is not: add --realtime")
    watched = Watched(guard, load(learnt))
    reader = Reader(name, watched.frame, watched.window)
    stack.callback(reader.close)
    loop.operators.append(watched)


def _nobody_reads(config: GuardConfig, readers: list[str], learnt: Path | None) -> None:
    if learnt is not None:
        raise EdgeguardError(f"--bus-learnt {learnt}: of which bus? name it with --bus")
    if readers:
        click.echo(
            f"{config.source}: detector.{readers[0]}: nobody reads a bus, so it trips; add --bus",
            err=True,
        )
