# SPDX-License-Identifier: Apache-2.0
"""The flight recorder as the guard sees it: a tape in shared memory, and a process that writes.

The deciding thread copies each record into the tape and is done. What finds no room there is lost
and leaves a gap in the log; while that is so, or while the other process is known to be unable to
write or to be gone, every decision has the cause RECORDER_LOST.
"""

from __future__ import annotations

import errno
import json
import logging
import math
import mmap
import os
import select
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import mcap  # noqa: F401  # the other process needs it; when it is missing, this one can say so

from edgeguard import aside, sandbox
from edgeguard._core import Core, Tape
from edgeguard.errors import EdgeguardError
from edgeguard.output.recorder.frames import Frames
from edgeguard.output.recorder.keys import default_path
from edgeguard.output.writer import Writer

TAPE_BYTES = 4 << 20  # a minute and more at 100 Hz
START_S = 30.0
CLOSE_S = 60.0  # of a busy machine with a slow disk
LOOK_S = 0.5
NOTES = 100  # that may wait
STALLED_S = 3.0
WARNS = "warning: "  # begins a line of the other process that is for the person who records

_log = logging.getLogger("edgeguard")


class Recorder:
    """Records what a core decides, from now until ``close``."""

    def __init__(
        self, path: str | Path, core: Core, about: Mapping[str, str], *,
        key: Path | None = None, recipient: Path | None = None, keep_mb: float | None = None,
        keep_hours: float | None = None, frames_hz: float | None = None,
    ) -> None:  # fmt: skip
        """about: what the log says of itself, see `about`; the rest: see `Guard.record`. Raises
        EdgeguardError when the log cannot be begun."""
        _positive(keep_mb=keep_mb, keep_hours=keep_hours, frames_hz=frames_hz)
        self.path = Path(path).absolute()
        key = key if key is not None else default_path()
        self._core = core
        self.frames: Frames | None = None
        """Takes frames, where they are recorded."""
        try:
            self.frames = Frames(frames_hz) if frames_hz is not None else None
            fd = self._share()
        except OSError as error:
            if self.frames is not None:
                self.frames.close()
            raise EdgeguardError(f"recorder: {self.path}: {_refused(error)}") from None
        self._begin(
            {
                "fd": fd, "bytes": TAPE_BYTES, "path": str(self.path), "about": dict(about),
                "key": str(key), "keep_mb": keep_mb, "keep_hours": keep_hours,
                "recipient": str(recipient.absolute()) if recipient is not None else None,
                "frames": self.frames.ear if self.frames is not None else None,
            }
        )  # fmt: skip
        self._notes = Writer("notes", self._tell, NOTES)
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="recorder", daemon=True)
        self._watcher.start()

    def _share(self) -> int:
        """Make the tape, and the process that knows it by the number that is returned."""
        kept = [] if self.frames is None else [self.frames.ear]
        try:
            fd = os.memfd_create("edgeguard-tape")
            kept.append(fd)
            os.ftruncate(fd, TAPE_BYTES)
            self._memory = mmap.mmap(fd, TAPE_BYTES, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
            self.tape = Tape(self._memory)
            self._process = _start(kept)
        finally:
            for one in kept:
                os.close(one)
        return fd

    def _begin(self, given: dict[str, Any]) -> None:
        self._tell(json.dumps(given))
        said = self._hear(START_S)
        if said == "ready" and not self._core.record(self.tape):
            said = "the policy does not fit on the tape"
        if said != "ready":
            self._process.kill()
            self._process.wait()
            if self.frames is not None:
                self.frames.close()
            raise EdgeguardError(f"recorder: {said or 'does not start'}")

    def note(self, message: str, t_ns: int | None = None) -> None:
        """Put a line for people into the log, from any thread; never waits. t_ns: on the clock of
        the decisions; by default the time of the last one that was written."""
        self._notes.put(json.dumps([message[:1000], t_ns]))

    @property
    def process_id(self) -> int:
        """Of the process that writes."""
        return self._process.pid

    @property
    def last_seal(self) -> tuple[int, bytes] | None:
        """Its number in the file and its head of the chain, once one has reached the disk."""
        return self.tape.last_seal

    def pace(self) -> None:
        """Wait while the tape is half full, or many frames wait: for simulated streams only, which
        run ahead of it."""
        while self._crowded() and not self.tape.failing:
            time.sleep(0.002)

    def _crowded(self) -> bool:
        crowded = self.frames is not None and self.frames.crowded
        return crowded or self.tape.waiting > self.tape.room // 2

    def close(self) -> None:
        """End the log with its end record. Warns when that cannot be written."""
        if self._ended.is_set():
            return
        self._core.record(None)
        self._ended.set()
        self._watcher.join()
        if self.frames is not None:
            self.frames.close()
        self._notes.put("close")  # behind all of them: a pipe that is full must not hold this up
        said = self._hear(CLOSE_S) if self._notes.close(CLOSE_S) else "it stands still"
        if said != "closed":
            _log.warning("%s: not closed: %s", self.path, said or "the recorder is gone")
            self._process.kill()
        self._process.wait()

    def _watch(self) -> None:
        """Notice that the other process is gone or does not move."""
        beats, moved_s = self.tape.beats, time.monotonic()
        said = select.poll()
        said.register(self._out, select.POLLIN)
        while not self._ended.wait(LOOK_S):
            now_s = time.monotonic()
            if self.tape.beats != beats:
                beats, moved_s = self.tape.beats, now_s
            if self._process.poll() is not None or now_s - moved_s > STALLED_S:
                self.tape.failing = True  # until its next turn says otherwise
            while said.poll(0) and self._line():
                pass

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except OSError:  # it is gone; whoever waits for its answer says so
            pass

    @property
    def _out(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def _line(self) -> str:
        """Its next line; what it warns of is said on. Empty when it is gone."""
        line = self._out.readline().decode(errors="replace").strip()
        if line.startswith(WARNS):
            aside.warn(line.removeprefix(WARNS))
        return line

    def _hear(self, timeout_s: float) -> str:
        """Its next line that warns of nothing, or nothing when there is none in time."""
        found: list[str] = []

        def read() -> None:
            while (line := self._line()).startswith(WARNS):
                pass
            found.append(line)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        reader.join(timeout_s)
        return found[0] if found else ""


def _positive(**given: float | None) -> None:
    """Raises EdgeguardError for a number that limits nothing."""
    for name, number in given.items():
        if number is not None and not 0.0 < number < math.inf:
            raise EdgeguardError(f"{name}: is {number}; want a finite number above 0")


def _refused(error: OSError) -> str:
    """Why there is no tape and no process, in words."""
    why = error.strerror or str(error)
    if error.errno == errno.EFBIG:
        why += f"; its {TAPE_BYTES >> 20} MiB of shared memory count as a file: see ulimit -f"
    return f"cannot be begun: {why}"


def _start(kept: list[int]) -> subprocess.Popen[bytes]:
    """The other process, in a session of its own: Ctrl-C at a terminal is for the guard."""
    return subprocess.Popen(
        sandbox.command_line("edgeguard.output.recorder.process"),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, pass_fds=kept,
        start_new_session=True,
    )  # fmt: skip
