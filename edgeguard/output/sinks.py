# SPDX-License-Identifier: Apache-2.0
"""Sinks: whatever takes a decision on every tick."""

from __future__ import annotations

import errno
import importlib
import json
import os
import select
import stat
import sys
from pathlib import Path
from typing import Any, Protocol

from edgeguard._core import Decision
from edgeguard.errors import EdgeguardError


class Sink(Protocol):
    """Called with decisions, in order. On the clock that is done in a thread of the sink's own: one
    that blocks misses decisions, and sees from their ``sequence`` that it did."""

    def __call__(self, decision: Decision, t_ns: int) -> None:
        """Take a decision made at ``t_ns``."""


def as_record(decision: Decision, t_ns: int) -> dict[str, Any]:
    """A decision as JSON-ready data; commands in the channels' units, ages in ms."""
    return {
        "t_ns": t_ns,
        "sequence": decision.sequence,
        "mode": decision.mode.name,
        "command": decision.command,
        "active": decision.active,
        "operator_request": decision.operator_request,
        "causes": list(decision.causes),
        "present": list(decision.present),
        "detectors": list(decision.detectors),
        "evidence": decision.evidence,
        "ages_ms": decision.ages_ms,
    }


class JsonLines:
    """One JSON object a line. The first one after a gap has ``lost``: how many are missing."""

    def __init__(self, fd: int, *, replaces: bool = False) -> None:
        """replaces: what is in the file goes when the first decision comes, not before: a run that
        never began leaves it alone."""
        self._fd, self._next, self._replaces = fd, 0, replaces
        self.is_log = stat.S_ISREG(os.fstat(fd).st_mode)
        """Whether it is an ordinary file: whoever reads it does not act on it now."""
        self._room = select.poll()
        self._room.register(fd, select.POLLOUT)

    def ready(self) -> None:
        """Wait for room, so that no line is begun that may not be finished in time."""
        self._room.poll()

    def __call__(self, decision: Decision, t_ns: int) -> None:
        """Write the decision, at once. Raises BrokenPipeError when the reader is gone."""
        record = as_record(decision, t_ns)
        if self._next and decision.sequence > self._next:
            record["lost"] = decision.sequence - self._next
        self._next = decision.sequence + 1
        line = memoryview(json.dumps(record).encode() + b"\n")
        if self._replaces and self.is_log:
            os.ftruncate(self._fd, 0)
        self._replaces = False
        while line:
            try:
                line = line[os.write(self._fd, line) :]
            except BlockingIOError:  # somebody else made it so
                self._room.poll()


def sink_file(name: str) -> Path | None:
    """The file that ``open_sink`` writes for this name; None for stdout and a callable."""
    return None if name == "-" or (":" in name and "/" not in name) else Path(name)


def _opened(name: str) -> int:
    """To write; nobody is waited for. Raises OSError, or EdgeguardError for a pipe without a
    reader."""
    try:
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_NOCTTY | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno == errno.ENXIO and stat.S_ISFIFO(os.stat(name).st_mode):
            raise EdgeguardError(
                f"sink {name}: nobody reads this pipe; start its reader first"
            ) from None
        raise
    os.set_blocking(fd, True)
    return fd


def open_sink(name: str) -> Sink:
    """``-`` for stdout, ``module:callable`` for your own, else a file of JSON lines.

    Raises EdgeguardError when it cannot be opened.
    """
    module, _, attribute = name.partition(":")
    try:
        if name == "-":
            sys.stdout.flush()  # its buffer is passed by: whoever blocks on it blocks the end, too
            return JsonLines(1)
        if sink_file(name) is None:
            found = getattr(importlib.import_module(module), attribute)
            if not callable(found):
                raise EdgeguardError(f"sink {name}: is not callable")
            return found  # type: ignore[no-any-return]
        return JsonLines(_opened(name), replaces=True)
    except EdgeguardError:
        raise
    except Exception as error:  # the module is the user's: it may raise anything
        raise EdgeguardError(f"sink {name}: {error}; want -, a file, or module:callable") from None
