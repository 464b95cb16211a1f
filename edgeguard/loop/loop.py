# SPDX-License-Identifier: Apache-2.0
"""The loop around a guard: frames and signals in, a decision on every tick, everybody told.

``lockstep`` runs ahead of the clock and waits for the members; ``real_time`` is driven by absolute
deadlines of CLOCK_MONOTONIC and waits for nothing but the next one.
"""

from __future__ import annotations

import logging
import queue
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

from edgeguard.decision import Decision
from edgeguard.guard import Guard
from edgeguard.intake.sources import Frame
from edgeguard.loop.realtime import sleep_until
from edgeguard.loop.timing import Timing

ANSWER_S = 2.0  # recorded sources run in lockstep: a member slower than this is late there, too
SWITCH_S = 0.001  # the tick does not wait for a thread that computes

Signals = Callable[[int], Mapping[str, float]]
Arrived = queue.SimpleQueue[Frame | BaseException | None]
"""None: the source has ended."""

_log = logging.getLogger("edgeguard")


class Watcher(Protocol):
    """Is told everything, in order, in the deciding thread; must not block."""

    def saw(self, frame: Frame) -> None:
        """A frame was handed to the members. Whoever keeps the picture copies it."""

    def decided(self, decision: Decision, t_ns: int) -> None:
        """The decision of the tick at ``t_ns`` was made."""


class Operator(Protocol):
    """A person's requests, at the beginning of a tick."""

    def serve(self) -> None:
        """Carry out what was asked for; must not block."""


class Decider(Protocol):
    """A guard, or one behind a microcontroller."""

    def decide(self, signals: Mapping[str, float], t_ns: int) -> Decision: ...


class Loop:
    """One guard, one camera, one clock. Times are nanoseconds."""

    def __init__(self, guard: Guard, decider: Decider, camera: str, signals: Signals) -> None:
        self._guard, self._camera, self._signals = guard, camera, signals
        self._decide = decider.decide
        self.watchers: list[Watcher] = []  # told in this order
        self.operators: list[Operator] = []
        self._recorded: Mapping[str, float] = {}  # signals that came with the last frame
        self._told: set[str] = set()
        self.frames = 0
        """That the guard took, so far."""
        self.timing = Timing(int(guard.config.guard.period_ms * 1e6))

    def lockstep(self, frames: Iterable[Frame]) -> None:
        """Simulated time: ticks up to each frame, then the frame, then wait for the members."""
        period_ns, now_ns = self.timing.period_ns, 0
        for frame in frames:
            while now_ns + period_ns <= frame.t_ns:
                now_ns += period_ns
                self._tick(now_ns, time.monotonic_ns())
            self._see(frame)
            self._guard.wait(ANSWER_S)
        self._tick(now_ns + period_ns, time.monotonic_ns())

    def real_time(
        self, frames: Iterator[Frame], end_ns: int | None = None,
        prepare: Callable[[], object] = lambda: None,
    ) -> None:  # fmt: skip
        """The clock drives: a thread waits for frames, the tick takes the newest one.

        prepare: is called once that thread runs, before the first deadline (`realtime.prepare`).
        Deadlines lie on one grid from start to end; those that a tick ran over are skipped and
        counted. Raises what the source raises. The source is closed with the first frame that it
        gives afterwards.
        """
        sys.setswitchinterval(SWITCH_S)
        arrived, over = Arrived(), threading.Event()
        threading.Thread(
            target=_pump, args=(frames, arrived, over), name="edgeguard-frames", daemon=True
        ).start()
        try:
            prepare()
            self._turns(arrived, end_ns)
        finally:
            over.set()

    def _turns(self, arrived: Arrived, end_ns: int | None) -> None:
        deadline_ns = time.monotonic_ns()
        while end_ns is None or deadline_ns < end_ns:
            woke_ns = now_ns = time.monotonic_ns()
            self.timing.late.add(woke_ns - deadline_ns)
            frame, ended = _newest(arrived)
            if frame is not None:
                self._see(frame, time.monotonic_ns())
                now_ns = time.monotonic_ns()
            elif ended:
                return
            self._tick(now_ns, woke_ns)
            if ended:
                return
            deadline_ns = self._next(deadline_ns)
            sleep_until(deadline_ns)

    def _next(self, deadline_ns: int) -> int:
        """The next deadline, or the last one of those that have passed."""
        period_ns = self.timing.period_ns
        missed = max(0, (time.monotonic_ns() - deadline_ns) // period_ns)
        self.timing.overruns += missed > 0
        self.timing.skipped += max(0, missed - 1)
        return deadline_ns + max(1, missed) * period_ns

    def _see(self, frame: Frame, now_ns: int | None = None) -> None:
        """As `Guard.step` does: a frame that does not fit is no frame. Each kind is told once."""
        self._recorded = dict(frame.signals)
        try:
            self._guard.observe(self._camera, frame.image, frame.t_ns, frame.box, now_ns)
        except (TypeError, ValueError) as error:
            kind = re.sub(r"\d+", "0", str(error))
            if kind not in self._told:
                self._told.add(kind)
                _log.warning("%s: frame refused: %s", self._camera, error)
            return
        self.frames += 1
        for watcher in self.watchers:
            watcher.saw(frame)

    def _tick(self, now_ns: int, woke_ns: int) -> None:
        """woke_ns: CLOCK_MONOTONIC, before a frame was seen, if there was one."""
        start_ns = time.monotonic_ns()
        for operator in self.operators:
            operator.serve()
        decision = self._decide({**self._signals(now_ns), **self._recorded}, now_ns)
        self.timing.decision.add(time.monotonic_ns() - start_ns)
        for watcher in self.watchers:
            watcher.decided(decision, now_ns)
        self.timing.tick.add(time.monotonic_ns() - woke_ns)


def _newest(arrived: Arrived) -> tuple[Frame | None, bool]:
    """The last frame that arrived, if one did, and whether the source has ended."""
    frame = None
    while not arrived.empty():
        item = arrived.get_nowait()
        if item is None:
            return frame, True
        if isinstance(item, BaseException):
            raise item
        frame = item
    return frame, False


def _pump(frames: Iterator[Frame], into: Arrived, over: threading.Event) -> None:
    try:
        for frame in frames:
            if over.is_set():
                break
            into.put(frame)
        into.put(None)
    except Exception as error:  # the deciding thread raises it, and the guard closes in order
        into.put(error)
    finally:
        _close(frames)


def _close(frames: Iterator[Frame]) -> None:
    """End the process behind them; whoever made them may hold them for longer."""
    close = getattr(frames, "close", None)  # generators have it
    if close is not None:
        close()


def lasting(frames: Iterator[Frame]) -> Iterator[Frame]:
    """A camera's frames. One that is lost in mid run gives no more, and then this blocks for ever:
    the ticks go on, and the policy decides about it (FRAME_LOST). Raises what comes before the
    first frame.
    """
    seen, why = False, "it ended"
    try:
        for frame in frames:
            seen = True
            yield frame
    except Exception as error:
        if not seen:
            raise
        why = str(error) or type(error).__name__
    finally:
        _close(frames)
    _log.error("camera lost, no more frames: %s", why)
    threading.Event().wait()


def paced(frames: Iterator[Frame]) -> Iterator[Frame]:
    """Recorded frames as if they came from a camera now, the first one when it is there."""
    start_ns = None
    try:
        for frame in frames:
            if start_ns is None:
                start_ns = time.monotonic_ns() - frame.t_ns
            t_ns = start_ns + frame.t_ns
            sleep_until(t_ns)
            yield frame._replace(t_ns=t_ns)
    finally:
        _close(frames)
