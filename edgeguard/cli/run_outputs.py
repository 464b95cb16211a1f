# SPDX-License-Identifier: Apache-2.0
"""What `edgeguard run` says: decisions to the sinks, and to a person on stderr.

On the clock nothing here is waited for: each sink has a thread of its own, and stderr another. What
does not arrive in time is lost, counted, and named by a cause in the next decision.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import click
from attrs import define

from edgeguard.cli.run_inputs import named
from edgeguard.decision import CAUSES, Decision
from edgeguard.errors import EdgeguardError
from edgeguard.guard import Guard
from edgeguard.intake.sources import Frame
from edgeguard.output import JsonLines, Sink, open_sink
from edgeguard.output.writer import Writer

FRESH_PERIODS, FRESH_MS = 4, 40.0  # the longer; FRESH_MS is what the microcontroller's link allows
LOG_S = 10.0  # of decisions that may wait for a file
LINES = 1000  # that may wait for stderr
CLOSE_S = 1.0
LINK_LOST, RECORDER_LOST = (1 << CAUSES.index(name) for name in ("LINK_LOST", "RECORDER_LOST"))


@define(eq=False)
class _Queued:
    """A sink behind a queue, and how many of its losses were told."""

    name: str
    writer: Writer
    cause: int
    is_log: bool = False
    known: int = 0
    told: bool = False

    def check(self, say: Callable[[str], object]) -> int:
        """The cause of what was lost since the last time, or 0. Raises what the sink raised, unless
        it was a log's disk: whoever drives goes on without a log, and says so on every tick."""
        failure = self.writer.failure
        if failure is not None and self.is_log and isinstance(failure, OSError):
            if not self.told:
                self.told = True
                say(f"sink {self.name}: {failure.strerror}; no decision is written there any more")
            return self.cause
        if failure is not None:
            with named(f"sink {self.name}"):
                raise failure
        lost = self.writer.lost
        if lost == self.known:
            return 0
        self.known = lost
        if not self.told:
            self.told = True
            say(f"sink {self.name}: does not take decisions in time; those that are late are lost")
        return self.cause


class Outputs:
    """A watcher of the loop."""

    def __init__(self, sinks: tuple[str, ...], guard: Guard, said: Callable[[], str]) -> None:
        """said: what the microcontroller says of itself, empty without one.

        Raises EdgeguardError when a sink cannot be opened.
        """
        self._sinks = [(name, open_sink(name)) for name in sinks]
        self._guard, self._said, self._told = guard, said, ""
        self._queued: list[_Queued] = []
        self._say: Callable[[str], object] = lambda text: click.echo(text, err=True)
        self._counts: Counter[str] = Counter()
        self.reached = True
        """Whether nothing was lost on its way to something that may act on it."""

    @contextlib.contextmanager
    def on_clock(self, commands_elsewhere: bool) -> Iterator[None]:
        """Meanwhile nothing is waited for. commands_elsewhere: no sink moves anything, for a
        microcontroller does. Raises EdgeguardError when a reader has left."""
        stderr = Writer("stderr", lambda text: click.echo(text, err=True), LINES)
        self._say = stderr.put
        self._queued = [self._queue(name, sink, commands_elsewhere) for name, sink in self._sinks]
        try:
            try:
                with _log_to(stderr.put):
                    yield
            finally:
                for queued in self._queued:
                    queued.writer.close(CLOSE_S)
                stderr.close(CLOSE_S)
            for queued in self._queued:
                queued.check(self._say)
        except BrokenPipeError as error:  # nothing drives any more: a service manager must know
            raise EdgeguardError("run ended: the reader of an output is gone") from error

    def _queue(self, name: str, sink: Sink, commands_elsewhere: bool) -> _Queued:
        period_ms = self._guard.config.guard.period_ms
        if isinstance(sink, JsonLines) and sink.is_log:
            most = math.ceil(LOG_S * 1000 / period_ms)
            return _Queued(name, Writer(f"sink {name}", sink, most), RECORDER_LOST, is_log=True)
        fresh_ms = max(FRESH_PERIODS * period_ms, FRESH_MS)
        ready: Any = sink.ready if isinstance(sink, JsonLines) else lambda: None
        most = math.ceil(fresh_ms / period_ms)
        writer = Writer(f"sink {name}", sink, most, int(fresh_ms * 1e6), ready)
        return _Queued(name, writer, RECORDER_LOST if commands_elsewhere else LINK_LOST)

    def say(self, text: str) -> None:
        """To a person, on stderr; nothing when it is empty."""
        if text:
            self._say(text)

    def saw(self, frame: Frame) -> None:
        """Sinks take decisions only."""

    def decided(self, decision: Decision, t_ns: int) -> None:
        """Hand it to every sink. Raises EdgeguardError when a sink has failed."""
        self._counts[decision.mode.name] += 1
        said = self._said()
        if said != self._told:
            self._told = said
            self._say(f"mcu: {said}")
        if not self._queued:
            for name, sink in self._sinks:
                with named(f"sink {name}"):
                    sink(decision, t_ns)
            return
        causes = 0
        for queued in self._queued:
            queued.writer.put(decision, t_ns)
            causes |= queued.check(self._say)
        self.reached = not causes & LINK_LOST
        if causes:
            self._guard.note(causes)

    def lines(self) -> list[str]:
        """How often each mode was decided, and what did not arrive."""
        total = self._counts.total()
        shares = ", ".join(f"{mode} {n / total:.1%}" for mode, n in self._counts.most_common())
        lost = [(q.name, q.writer.lost) for q in self._queued]
        return [
            f"{total} decisions: {shares}",
            *(f"sink {name}: {count} decisions lost" for name, count in lost if count),
        ]


@contextlib.contextmanager
def _log_to(put: Callable[[str], object]) -> Iterator[None]:
    """Warnings of ours go there, unless somebody has said where they go."""
    log, handler = logging.getLogger("edgeguard"), _Handler(put)
    if log.hasHandlers():
        yield
        return
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


class _Handler(logging.Handler):
    def __init__(self, put: Callable[[str], object]) -> None:
        super().__init__(logging.WARNING)
        self._put = put

    def emit(self, record: logging.LogRecord) -> None:
        self._put(self.format(record))
