# SPDX-License-Identifier: Apache-2.0
"""The files of a recorder: one log, or a row of them of which the oldest are removed."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import frozen
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from edgeguard._core import Tape
from edgeguard.errors import EdgeguardError
from edgeguard.output.recorder import keys
from edgeguard.output.recorder.box import Box
from edgeguard.output.recorder.log_file import LogFile, packed
from edgeguard.output.recorder.topics import CHANNEL, FRAMES, POLICY, STATE, TOPICS, Translator

PARTS = 8  # files that a limit is divided into: what is kept is between half and all of it
SET_S = 1.7e9  # a clock that says less than 2023 was never set
MANY, LAST = 100_000, 99_999_999
# Five digits; from MANY on twelve that begin with 0000. Dates have neither: people name logs by
# them, and only what is of the row may be removed.
NUMBER = "([0-9]{5}|0000(?!000)[0-9]{8})"


@frozen
class Keep:
    """How much of a recording stays on the disk; None: all of it."""

    mb: float | None = None
    hours: float | None = None

    @property
    def limited(self) -> bool:
        return self.mb is not None or self.hours is not None


class Logs:
    """Takes the records of a tape, in order."""

    def __init__(
        self, path: Path, key: Path, about: Mapping[str, str], translator: Translator, keep: Keep,
        recipient: X25519PublicKey | None = None, warn: Callable[[str], object] = lambda _: None,
    ) -> None:  # fmt: skip
        """Opens the first log; warn: tells the person who records, now. Raises EdgeguardError and
        OSError."""
        self._path, self._key, self._about, self._keep = path, key, about, keep
        self._translator, self._recipient = translator, recipient
        self._policy = b""
        self._told = self._crowded = False  # of this file: it has no room for frames
        self._warn, self._warned, self._clung = warn, False, False
        self._ended_s: dict[Path, float] = {}  # files of this process; monotonic
        self._state_s = Tape.STATE_EVERY * json.loads(about["policy"])["period_us"] / 1e6
        """A file begins with a state, so this is how long a file that is due may go on."""
        if keep.hours is not None and keep.hours * 3600 < PARTS * self._state_s:
            least = PARTS * self._state_s / 3600
            raise EdgeguardError(
                f"{path}: files can be removed to the {self._state_s:g} s of {Tape.STATE_EVERY}"
                f" decisions: keep {math.ceil(least * 100) / 100:g} hours or more"
            )
        self.stuck = ""
        """Why the next file cannot be begun, or nothing: this one grows beyond its limit."""
        self._forget()
        self._log = self._open()

    def put(self, record: bytes) -> None:
        """Raises OSError when a new file was due and the old one is not written; try again then."""
        if record[0] == POLICY:
            self._policy = record
        elif record[0] == STATE and self._due():
            self._next()
        self._translator.put(record, self._log)

    def frame(self, t_ns: int, message: bytes) -> None:
        """A frame, unless it would take more than this file may hold: then the next file is due.
        Raises OSError; then the frame may be lost."""
        if self._told:
            return
        if self._fits(len(message)):
            self._log.add(CHANNEL[FRAMES], t_ns, message)
            return
        self._log.flush()  # what waits takes less room in the file, and so will the frame
        size = len(packed(message))
        if self._fits(size):
            self._log.add(CHANNEL[FRAMES], t_ns, message)
            self._log.flush()
        else:
            self._leave_out(size)

    def _leave_out(self, size: int) -> None:
        """A frame of so many bytes, and all others until the next file: a note says so. When that
        would not hold two of them, whoever gave the limit is told."""
        mb = self._keep.mb or 0.0
        part = mb * 1e6 / PARTS
        self._told, self._crowded = True, size < part / 2
        why = "this file is full"
        if not self._crowded:
            why = f"one takes {size / 1e3:.0f} kB, and --keep-mb {mb:g} makes files of "
            why += f"{part / 1e3:.0f} kB"
        self._translator.note(f"frames are missing from here on: {why}", self._log)
        if not self._crowded and not self._warned:
            self._warned = True
            enough = math.ceil(size * 2 * PARTS / 1e6) + 1
            advice = f"give --keep-mb {enough} or more"
            self._warn(f"{self._log.path}: frames are left out: {why}; {advice}")

    def note(self, message: str, t_ns: int | None) -> None:
        """A line for people, of this time, or of the last decision's."""
        self._translator.note(message, self._log, t_ns)

    def flush(self) -> None:
        """Bring everything to the disk. Raises OSError; then call it again later."""
        self._log.flush()

    @property
    def waiting(self) -> int:
        """Bytes that are not on the disk yet."""
        return self._log.waiting

    @property
    def sealed(self) -> tuple[int, str]:
        """Seals of this file that reached the disk, and the head of the last one."""
        return self._log.sealed

    def close(self) -> None:
        """With an end record. Raises OSError."""
        self._log.close()

    def leave(self) -> None:
        """Without one."""
        self._log.leave()

    def _open(self) -> LogFile:
        path = self._numbered() if self._keep.limited else self._path
        try:
            box = Box(self._recipient) if self._recipient is not None else None
            log = LogFile(path, TOPICS, self._about, lambda: keys.begin(self._key), box)
        except FileExistsError:
            raise EdgeguardError(f"{path}: exists; a log is never overwritten") from None
        self._began_s = time.monotonic()
        self._told = self._crowded = False
        return log

    def _due(self) -> bool:
        """Each log begins with a state, so that it can be replayed without the one before it."""
        hours = self._keep.hours
        old = hours is not None and time.monotonic() - self._began_s > hours * 3600 / PARTS
        return self._crowded or not self._fits(0) or old

    def _fits(self, more: int) -> bool:
        mb = self._keep.mb
        recorded = self._log.size - self._log.begins + self._log.waiting
        return mb is None or recorded + more <= mb * 1e6 / PARTS

    def _next(self) -> None:
        """The next file, or the same one for longer when that cannot be begun."""
        old = self._log
        old.flush()
        try:
            self._forget()
            self._log = self._open()
        except (EdgeguardError, OSError) as error:
            if not self.stuck:
                self.note(f"the next file cannot be begun, this one goes on: {error}", None)
            self.stuck = str(error)
            return
        self.stuck = ""
        with contextlib.suppress(OSError):  # then it is a good log without an end record
            old.close()
        old.leave()
        self._ended_s[old.path] = time.monotonic()
        self._translator.put(self._policy, self._log)

    def _numbered(self) -> Path:
        number = 1 + max((number for number, _ in self._known()), default=0)
        if number > LAST:
            raise EdgeguardError(
                f"{self._path}: no number is left after {LAST}; move its row of files away, or name"
                " another one"
            )
        digits = 5 if number < MANY else 12
        return self._path.with_name(f"{self._path.stem}-{number:0{digits}}{self._path.suffix}")

    def _known(self) -> list[tuple[int, Path]]:
        """The logs of this row, oldest first."""
        name = re.compile(re.escape(self._path.stem) + f"-{NUMBER}" + re.escape(self._path.suffix))
        found = [(name.fullmatch(p.name), p) for p in self._path.parent.iterdir()]
        return sorted((int(match[1]), p) for match, p in found if match)

    def _forget(self) -> None:
        """Remove what is beyond the limits, before a new file needs the room; never the newest: it
        is being written, or the next number follows its own."""
        files = self._files() if self._keep.limited else []
        limit_bytes = (self._keep.mb or float("inf")) * 1e6 * (1 - 1 / PARTS)
        # its first record is a part older than its last, and the next look is a part from now
        hours = self._keep.hours
        limit_s = math.inf if hours is None else hours * 3600 * (1 - 2 / PARTS) - 2 * self._state_s
        total = sum(stat.st_size for _, stat in files)
        ages_s = self._ages_s([(path, stat.st_mtime) for path, stat in files])
        for path, stat in files[:-1]:
            if (total > limit_bytes or ages_s[path] > limit_s) and self._removed(path):
                total -= stat.st_size

    def _files(self) -> list[tuple[Path, os.stat_result]]:
        found = []
        for _, path in self._known():
            with contextlib.suppress(OSError):  # somebody else has removed it meanwhile
                found.append((path, path.stat()))
        return found

    def _removed(self, path: Path) -> bool:
        """Whether it is gone. One that stays still counts: the disk has no more room for it."""
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            if not self._clung:
                self._clung = True
                why = f"cannot be removed, so newer files make room for it: {error.strerror}"
                self._warn(f"{path}: {why}; remove it by hand")
            return False
        return True

    def _ages_s(self, files: list[tuple[Path, float]]) -> dict[Path, float]:
        """How long ago each ended: files, oldest first, with the time that each was written last.

        The clock may have been set while this ran: the files of this process are aged by the
        monotonic one. Of an earlier one's, a time from before the clock was set, or from before
        that of an older file, says nothing: such a file is taken to be as old as the next.
        """
        now_s = max([time.time(), *(ended_s for _, ended_s in files)])
        latest_s, told_s = SET_S, dict[Path, float]()
        for path, ended_s in files:
            if ended_s >= latest_s:
                told_s[path] = now_s - ended_s
            latest_s = max(latest_s, ended_s)
        told_s |= {path: time.monotonic() - ended_s for path, ended_s in self._ended_s.items()}
        age_s, ages_s = 0.0, dict[Path, float]()
        for path, _ in reversed(files):
            age_s = ages_s[path] = told_s.get(path, age_s)
        return ages_s
