# SPDX-License-Identifier: Apache-2.0
"""A log, read back: also one that was cut off by a crash."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, Message, Metadata
from mcap.stream_reader import breakup_chunk

from edgeguard.errors import EdgeguardError
from edgeguard.output.recorder.box import Opener, private
from edgeguard.output.recorder.log_file import ABOUT, BOX, MAGIC, SEAL

HEAD = 9  # opcode and length of a record
UNREADABLE = (McapError, ValueError, KeyError, struct.error, RecursionError)
"""What reading a damaged record raises."""


class Raw(NamedTuple):
    """Where a record lies in the file."""

    opcode: int
    start: int
    end: int


class Entry(NamedTuple):
    """One message."""

    topic: str
    t_ns: int
    data: bytes


def mapped(path: Path) -> mmap.mmap | bytes:
    """The bytes of a log. Raises EdgeguardError when there are none."""
    data: mmap.mmap | bytes = b""
    try:
        with path.open("rb") as file:
            if file.read(1):
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise EdgeguardError(f"{path}: {error.strerror}") from None
    if not _written(data):
        raise EdgeguardError(f"{path}: is empty")
    return data


def raw_records(data: mmap.mmap | bytes) -> Iterator[Raw]:
    """The records of a file, up to one that was cut off or the magic at the end."""
    at, size = len(MAGIC), _written(data)
    while at + HEAD <= size:
        end = at + HEAD + int.from_bytes(data[at + 1 : at + HEAD], "little")
        if end > size:
            return
        yield Raw(data[at], at, end)
        at = end


def _written(data: mmap.mmap | bytes) -> int:
    """How many bytes there are before the zeros at the end: a power cut may leave a file longer
    than what was written to it. No log that was closed ends in zeros, nor does a seal."""
    end = len(data)
    while end:
        start = max(0, end - (1 << 16))
        if found := data[start:end].rstrip(b"\0"):
            return start + len(found)
        end = start
    return 0


def stream(data: mmap.mmap | bytes, raw: Raw) -> ReadDataStream:
    """A record's content, for the `read` of its class."""
    return ReadDataStream(BytesIO(data[raw.start + HEAD : raw.end]))


class Log:
    """A log's messages, in the order in which they were recorded."""

    def __init__(self, path: Path, private_key: Path | None = None) -> None:
        """private_key: of the recipient, when the log is encrypted.

        Raises EdgeguardError when it is no log of this recorder, or cannot be opened with the key.
        """
        self.path = path
        self._opener: Opener | None = None
        self._box: dict[str, str] = {}
        self._data = mapped(path)
        self.about: dict[str, str] = {}
        self._topics: dict[int, str] = {}
        try:
            self._read_start()
        except UNREADABLE:
            self.about = {}
        if self._data[: len(MAGIC)] != MAGIC or not self.about:
            raise EdgeguardError(f"{path}: is no log that edgeguard recorded")
        if self._box:
            self._opener = self._open(private_key)

    def _open(self, private_key: Path | None) -> Opener:
        to = self._box.get("to")
        if private_key is None:
            raise EdgeguardError(
                f"{self.path}: is encrypted to the key {to}; give its private key: --private-key"
            )
        mine = private(private_key)
        if mine.public_key().public_bytes_raw().hex() != to:
            raise EdgeguardError(f"{private_key}: is not the key that {self.path} is encrypted to")
        try:
            return Opener(mine, bytes.fromhex(self._box["public"]))
        except (KeyError, ValueError):
            raise EdgeguardError(f"{self.path}: damaged; see edgeguard verify-log") from None

    def _read_start(self) -> None:
        for raw in raw_records(self._data):
            if raw.opcode == Opcode.CHANNEL:
                channel = Channel.read(stream(self._data, raw))
                self._topics[channel.id] = channel.topic
            elif raw.opcode == Opcode.METADATA:
                metadata = Metadata.read(stream(self._data, raw))
                if metadata.name == ABOUT:
                    self.about = metadata.metadata
                elif metadata.name == BOX:
                    self._box = metadata.metadata
            elif raw.opcode == Opcode.CHUNK:
                return

    def entries(self, *topics: str) -> Iterator[Entry]:
        """The messages of these topics, up to what a crash has left unfinished behind the last
        seal. Raises EdgeguardError where the file is damaged before it."""
        wanted = {number for number, topic in self._topics.items() if topic in topics}
        sealed = self._sealed
        for raw in raw_records(self._data):
            if raw.opcode == Opcode.FOOTER:
                return
            if raw.opcode != Opcode.CHUNK:
                continue
            try:
                chunk = Chunk.read(stream(self._data, raw))
                messages = list(self._messages(chunk))
            except Exception as error:  # whatever a damaged chunk makes of its decoder
                if raw.start >= sealed:
                    return
                raise EdgeguardError(
                    f"{self.path}: damaged at byte {raw.start}: {error}; see edgeguard verify-log"
                ) from None
            for m in messages:
                if m.channel_id in wanted:
                    yield Entry(self._topics[m.channel_id], m.log_time, m.data)

    def doubts(self) -> list[str]:
        """What a reader should know of the file, in words."""
        found = []
        if self.unsealed:
            found.append("its last records are not sealed; nobody vouches for them")
        if more := self.following:
            found.append(
                f"{more} bytes follow its end, a second log for instance, and are not read; see "
                "edgeguard verify-log"
            )
        return found

    @property
    def following(self) -> int:
        """How many bytes follow the end of the log. What a crash has left behind is none of it."""
        end, closed = len(MAGIC), False
        for raw in raw_records(self._data):
            end, closed = raw.end, raw.opcode == Opcode.FOOTER
            if closed:
                return max(0, len(self._data) - end - len(MAGIC))
        another = self._data[end : end + len(MAGIC)] == MAGIC  # behind one that was not closed
        return len(self._data) - end if another else 0

    @property
    def unsealed(self) -> bool:
        """Whether messages stand after the last seal, which nobody vouches for."""
        sealed = self._sealed
        return any(r.opcode == Opcode.CHUNK and r.start >= sealed for r in raw_records(self._data))

    @property
    def _sealed(self) -> int:
        """Where the last seal ends."""
        end, seal = 0, len(SEAL).to_bytes(4, "little") + SEAL.encode()
        for raw in raw_records(self._data):
            name = self._data[raw.start + HEAD : raw.start + HEAD + len(seal)]
            if raw.opcode == Opcode.METADATA and name == seal:
                end = raw.end
        return end

    def _messages(self, chunk: Chunk) -> Iterator[Message]:
        for m in breakup_chunk(chunk, validate_crc=True):
            if not isinstance(m, Message):
                continue
            if self._opener is None:
                yield m
                continue
            block = self._opener.open(m.data)
            size = int.from_bytes(block[:4], "little")
            yield from _plain(Chunk("zstd", block[4:], m.log_time, m.log_time, 0, size))


def _plain(chunk: Chunk) -> Iterator[Message]:
    return (m for m in breakup_chunk(chunk) if isinstance(m, Message))
