# SPDX-License-Identifier: Apache-2.0
"""The recorder's process: takes records out of the shared memory and writes them.

It is told what to do in one line of JSON on its standard input, which stays open as long as the
guard lives. Further lines are notes for people, as JSON, or the word "close", which ends the log in
order; the end of the input without it means that the guard died, and the log then ends without an
end record.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import select
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgeguard import sandbox
from edgeguard._core import Tape
from edgeguard.errors import EdgeguardError
from edgeguard.output.recorder.box import recipient
from edgeguard.output.recorder.frames import Reader
from edgeguard.output.recorder.logs import Keep, Logs
from edgeguard.output.recorder.recorder import WARNS
from edgeguard.output.recorder.topics import Translator

TURN_S = 0.05
FLUSH_S = 0.5  # what a crash of this process may cost
BATCH = 1 << 20
CLOSE_S = 5.0  # a full disk may get room again


class Turns:
    """Takes from the tape while the log takes it; what cannot be written waits in the tape."""

    def __init__(self, tape: Tape, logs: Logs, frames: Reader | None) -> None:
        self._tape, self._logs, self._frames = tape, logs, frames
        self.note = logs.note
        self._taken: deque[bytes] = deque()
        self._flushed_s = time.monotonic()
        self.wrong = ""
        """Why the log cannot be written now, or nothing."""

    def turn(self) -> int:
        """What waits, up to a batch, and a flush when it is time; returns how many bytes wait then.

        Says on the tape whether the log can be written, within its limits.
        """
        self._tape.beat()
        try:
            if self.wrong:
                self._flush()  # before more is taken: memory is not for what the disk cannot hold
            self._put()
            self._put_frames()
            if time.monotonic() - self._flushed_s >= FLUSH_S or self._logs.waiting > BATCH:
                self._flush()
            self.wrong = ""
        except OSError as error:  # a full disk, for instance: the tape fills, then has a gap
            self.wrong = error.strerror or str(error)
        self._tape.failing = bool(self.wrong or self._logs.stuck)
        return 0 if self.wrong else self._tape.waiting

    def end(self, in_order: bool) -> None:
        """Write what is left, and the end record; gives up when the disk stays full."""
        end_s = time.monotonic() + CLOSE_S
        while True:
            while self.turn() or (self._frames_come() and time.monotonic() < end_s):
                pass
            try:
                if not self.wrong:
                    self._logs.flush()
                    if in_order:
                        self._logs.close()
            except OSError as error:
                self.wrong = error.strerror or str(error)
            if not self.wrong or time.monotonic() > end_s:
                self._logs.leave()
                return
            time.sleep(TURN_S)

    def _put(self) -> None:
        if not self._taken:
            self._taken.extend(self._tape.take(BATCH))
        while self._taken:
            self._logs.put(self._taken[0])
            self._taken.popleft()

    def _put_frames(self) -> None:
        while self._frames is not None and self._logs.waiting <= BATCH:
            found = self._frames.take()
            if found is None:
                return
            self._logs.frame(*found)

    def _frames_come(self) -> bool:
        """Whether the guard, which has ended, left some in the pipe."""
        if self.wrong or self._frames is None or self._frames.ended:
            return False
        time.sleep(0.001)
        return True

    def _flush(self) -> None:
        self._logs.flush()
        self._flushed_s = time.monotonic()
        number, head = self._logs.sealed
        self._tape.sealed(number, bytes.fromhex(head))


class Told:
    """What the guard says, line by line."""

    def __init__(self, note: Callable[[str, int | None], object]) -> None:
        self._note, self._rest = note, b""
        self.ended: str | None = None
        """How the guard ended: "close", or that it "died"."""

    def hear(self, data: bytes) -> None:
        """data: what came; nothing when nobody can say anything any more."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line == b"close":
                self.ended = "close"
                return
            message, t_ns = json.loads(line)
            self._note(message, t_ns)
        if not data:
            self.ended = "died"


def main() -> None:
    """Until the guard ends."""
    for stop in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(stop, signal.SIG_IGN)  # the guard says when
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a file limit is an error like a full disk
    with contextlib.suppress(OSError):  # then it keeps the one that it has
        sandbox.ordinary(5)
    with open(0, "rb", buffering=0, closefd=False) as told:  # nothing is read ahead of a line
        line = told.readline()
    try:
        turns = _begin(json.loads(line))
    except (EdgeguardError, OSError) as error:
        _say(f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error))
        sys.exit(2)
    _say("ready")
    guard, more = Told(turns.note), False
    while guard.ended is None:
        if select.select([0], [], [], 0.0 if more else TURN_S)[0]:
            guard.hear(os.read(0, 4096))
        more = turns.turn() > BATCH
    turns.end(in_order=guard.ended == "close")
    _say(turns.wrong or "closed")


def _begin(given: dict[str, Any]) -> Turns:
    about = given["about"]
    memory = mmap.mmap(given["fd"], given["bytes"])
    translator = Translator(json.loads(about["policy"]))
    keep = Keep(given["keep_mb"], given["keep_hours"])
    to = recipient(Path(given["recipient"])) if given["recipient"] else None
    logs = Logs(
        Path(given["path"]), Path(given["key"]), about, translator, keep, to,
        warn=lambda text: _say(WARNS + text),
    )  # fmt: skip
    frames = Reader(given["frames"]) if given["frames"] is not None else None
    return Turns(Tape(memory), logs, frames)


def _say(text: str) -> None:
    if sys.stdout is None:
        return
    try:
        sys.stdout.buffer.write(text.encode(errors="replace") + b"\n")  # whatever a path is called
        sys.stdout.flush()
    except OSError:  # nobody listens any more
        sys.stdout = None
