# SPDX-License-Identifier: Apache-2.0
"""Whether a log is what was recorded: every byte, up to its end record."""

from __future__ import annotations

import hashlib
import json
import mmap
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from mcap.opcode import Opcode
from mcap.records import Metadata

from edgeguard.output.recorder.keys import broken_link, links, signed
from edgeguard.output.recorder.log_file import LINEAGE, MAGIC, NO_HASH, SEAL, Seal, chained
from edgeguard.output.recorder.log_reader import UNREADABLE, Raw, mapped, raw_records, stream

TAIL = (Opcode.CHUNK, Opcode.MESSAGE_INDEX)  # what a crash may leave after the last seal


class State(IntEnum):
    """The exit code of `edgeguard verify-log`."""

    CLOSED = 0
    CHANGED = 1
    NOT_CLOSED = 3


class Verdict(NamedTuple):
    """What became of a log."""

    state: State
    text: str
    records: int
    """How many records of the tape are vouched for."""
    decisions: int
    log_number: int | None
    """Logs with this key before it; a number that is missing is a log that is missing. None when
    no seal vouches for it."""


def verify(path: Path, pinned: str, confirmed: str | None = None) -> Verdict:
    """Check a log against the first public key (64 hex digits) of whoever recorded it.

    confirmed: a head of its chain (64 hex digits) that somebody else has kept: a log without it was
    cut. Raises EdgeguardError when the file cannot be read.
    """
    return verify_bytes(mapped(path), pinned, confirmed)


def verify_bytes(data: mmap.mmap | bytes, pinned: str, confirmed: str | None = None) -> Verdict:
    """The same of a log in memory."""
    return _Check(data, pinned, confirmed).verdict()


class _Changed(Exception):
    """With what is wrong, in words."""


class _NoLog(_Changed):
    """Nobody can tell whether it ever was one: the alarm is that of a changed log."""


class _Check:
    def __init__(self, data: mmap.mmap | bytes, pinned: str, confirmed: str | None) -> None:
        self._data, self._pinned, self._missing = data, pinned, confirmed
        self._key: str | None = None  # that the next seal must be signed with
        self._lineage = ""
        self._log_number = 0
        self._head, self._from = NO_HASH, 0
        self._last: Seal | None = None

    def verdict(self) -> Verdict:
        try:
            closed = self._walk()
            if self._missing is not None:
                raise _Changed(
                    "was cut, or the head that was confirmed elsewhere is that of another log: in "
                    "a row of files, of the one before it"
                )
        except UNREADABLE:
            return self._said(State.CHANGED, "changed: holds a record that cannot be read")
        except _NoLog as error:
            return self._said(State.CHANGED, str(error))
        except _Changed as error:
            return self._said(State.CHANGED, f"changed: {error}")
        records = self._last.records if self._last else 0
        if closed:
            return self._said(State.CLOSED, f"closed, {records} records, nothing was changed")
        return self._said(State.NOT_CLOSED, f"not closed, ends at record {records}")

    def _said(self, state: State, text: str) -> Verdict:
        last = self._last
        counts = (last.records, last.decisions) if last else (0, 0)
        return Verdict(state, text, *counts, self._log_number if last else None)

    def _walk(self) -> bool:
        """Whether the log was closed. Raises _Changed and what reading a record raises."""
        if self._data[: len(MAGIC)] != MAGIC:
            raise _NoLog("is no log, or its beginning was changed")
        tail: list[Raw] = []
        for raw in raw_records(self._data):
            tail.append(raw)
            if raw.opcode == Opcode.METADATA and self._metadata(raw):
                tail.clear()
                if self._last is not None and self._last.rest:
                    return self._ended(raw)
        self._crashed(tail)
        return False

    def _metadata(self, raw: Raw) -> bool:
        """Whether it was a seal, which then is a good one."""
        found = Metadata.read(stream(self._data, raw))
        if found.name == LINEAGE and self._last is None:
            self._lineage = found.metadata["keys"]
        if found.name != SEAL:
            return False
        m = found.metadata
        seal = Seal(
            int(m["number"]), int(m["records"]), int(m["decisions"]), m["head"], m["next"],
            m["rest"], int(m["rest_bytes"]), m["signature"],
        )  # fmt: skip
        self._check(seal, raw)
        return True

    def _check(self, seal: Seal, raw: Raw) -> None:
        number = self._last.number + 1 if self._last else 0
        if self._last is None:
            self._first_key()
        where = f"seal {seal.number}"
        if seal.record() != self._data[raw.start : raw.end]:
            raise _Changed(f"{where} is not written as one")
        if seal.number != number:
            raise _Changed(f"{where} stands where seal {number} belongs")
        if seal.head != chained(self._head, self._data[self._from : raw.start]):
            raise _Changed(f"what {where} closes is not what was recorded")
        if not signed(self._key or "", seal.message(), seal.signature):
            raise _Changed(f"{where} is not signed by the recorder")
        self._head, self._from = seal.head, raw.start
        if seal.head == self._missing:
            self._missing = None
        self._key, self._last = seal.following, seal

    def _first_key(self) -> None:
        lineage = links(json.loads(self._lineage))
        wrong = broken_link(lineage, self._pinned)
        if wrong:
            raise _Changed(wrong)
        self._log_number = lineage[-1].number
        self._key = lineage[-1].public

    def _ended(self, raw: Raw) -> bool:
        """Whether what follows the last seal, which helps readers to seek, came to the disk."""
        assert self._last is not None
        rest = self._data[raw.end :]
        if hashlib.sha256(rest).hexdigest() == self._last.rest:
            return True
        cut = len(rest) < self._last.rest_bytes
        if cut or (len(rest) == self._last.rest_bytes and rest[-1:] == b"\0"):
            return False
        raise _Changed("what follows the end record is not what was recorded")

    def _crashed(self, tail: list[Raw]) -> None:
        """A log without an end record must look like one that was cut off while writing."""
        if self._last is None:
            raise _NoLog("holds no seal: is no log that edgeguard recorded, or was changed")
        if self._data[-len(MAGIC) :] == MAGIC:
            raise _Changed("ends as a closed log does, but without its end record")
        if any(raw.opcode not in TAIL for raw in tail):
            raise _Changed("holds records after the last seal that no recorder writes there")
