# SPDX-License-Identifier: Apache-2.0
"""A log as a file: MCAP, in blocks that end in a signed seal.

    header, channels, what is known at the start | seal | chunk | seal | ... | end seal | index

A seal is a metadata record. It holds the head of a hash chain over every byte before it, and is
signed with a key that nobody has any more once the seal is written. The last seal also holds the
hash and the length of all that follows it. So a log is a valid MCAP file, no bit of it can change
unnoticed, and an index that a power cut has kept from the disk is no change.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import struct
import zlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import zstandard
from attrs import Factory, define, evolve, frozen
from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    Channel,
    Chunk,
    ChunkIndex,
    DataEnd,
    Footer,
    Header,
    McapRecord,
    Message,
    MessageIndex,
    Metadata,
    MetadataIndex,
    Schema,
    Statistics,
    SummaryOffset,
)

from edgeguard.errors import EdgeguardError
from edgeguard.output.recorder.box import Box
from edgeguard.output.recorder.keys import Signer, stored

MAGIC = b"\x89MCAP0\r\n"
SEAL = "edgeguard.seal"
ABOUT = "edgeguard.log"
LINEAGE = "edgeguard.lineage"
BOX = "edgeguard.box"
PROFILE = ""
LIBRARY = "edgeguard"
SIGNED = b"edgeguard seal 1\n"
NO_HASH = "0" * 64
RESERVED = 1 << 16  # bytes for the beginning of a log, beside what it says of itself


@frozen
class Topic:
    """A channel: json with a schema, or bytes of our own."""

    name: str
    encoding: str
    schema_name: str = ""
    schema: Mapping[str, object] | None = None


ENCRYPTED = Topic("/edgeguard/encrypted", "edgeguard-box-1")


@frozen
class Seal:
    """What a seal says. All numbers count from the beginning of the log."""

    number: int
    records: int
    decisions: int
    head: str
    """SHA-256, hex: of the head before, and of every byte since the seal that held it, with it."""
    following: str
    """The public key that the next seal is signed with."""
    rest: str
    """SHA-256, hex, of all bytes after this seal when it is the last one; else empty."""
    rest_bytes: int = 0
    """How many these are."""
    signature: str = ""

    def message(self) -> bytes:
        """What is signed."""
        fields = (
            self.number, self.records, self.decisions, self.head, self.following, self.rest,
            self.rest_bytes,
        )  # fmt: skip
        return SIGNED + "\n".join(map(str, fields)).encode()

    def record(self) -> bytes:
        """The metadata record, the same bytes for the same seal."""
        return as_bytes(
            Metadata(
                SEAL,
                {
                    "number": str(self.number),
                    "records": str(self.records),
                    "decisions": str(self.decisions),
                    "head": self.head,
                    "next": self.following,
                    "rest": self.rest,
                    "rest_bytes": str(self.rest_bytes),
                    "signature": self.signature,
                },
            )
        )


def chained(head: str, block: bytes) -> str:
    """The head after this block."""
    return hashlib.sha256(bytes.fromhex(head) + block).hexdigest()


def packed(data: bytes) -> bytes:
    """As the file holds it."""
    return zstandard.compress(data, 1)


def as_bytes(*records: McapRecord) -> bytes:
    """These records, one after the other."""
    builder = RecordBuilder()
    for record in records:
        record.write(builder)
    return _taken(builder)


def _taken(builder: RecordBuilder) -> bytes:
    made: bytes = builder.end()  # type: ignore[no-untyped-call]
    return made


@define
class _Waiting:
    """Messages that are not in the file yet."""

    builder: RecordBuilder = Factory(RecordBuilder)
    index: dict[int, MessageIndex] = Factory(dict)
    first_ns: int = 2**64 - 1
    last_ns: int = 0
    decisions: int = 0
    records: int = 0

    def add(self, channel: int, t_ns: int, data: bytes) -> None:
        at = self.index.setdefault(channel, MessageIndex(channel, []))
        at.records.append((t_ns, self.builder.count))
        Message(channel, t_ns, data, t_ns, len(at.records)).write(self.builder)
        self.first_ns, self.last_ns = min(self.first_ns, t_ns), max(self.last_ns, t_ns)


class LogFile:
    """Writes one log. Every method that writes may raise OSError, and may be called again then:
    nothing is lost but time, and the file ends where the last seal does."""

    def __init__(
        self, path: Path, topics: Sequence[Topic], about: Mapping[str, str],
        begin: Callable[[], Signer], box: Box | None = None,
    ) -> None:  # fmt: skip
        """Makes the file and seals its beginning. Raises OSError, also when it exists; no file is
        left then.

        begin: gives the key, once there is a file to sign; box: hides every message from all but
        its recipient.
        """
        self.path = path
        self._box = box
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            _reserve(self._file, RESERVED + sum(map(len, about.values())))
            self._signer = begin()
        except (EdgeguardError, OSError):
            self.leave()
            path.unlink()
            raise
        self.size = 0
        self.records = self.decisions = 0
        self._seals = 0
        self.sealed = 0, NO_HASH
        """Seals that reached the disk, and the head of the last one."""
        self._head, self._block_start = NO_HASH, b""
        self._waiting = _Waiting()
        self._unwritten, self._ended = b"", False
        self._chunks: list[bytes] = []
        self._metadata: list[bytes] = []
        self._counts: dict[int, int] = defaultdict(int)
        self._span_ns: tuple[int, int] | None = None
        self._hidden = len(topics) + 1  # the channel of what only the recipient can read
        self._catalogue = _catalogue([*topics, *([ENCRYPTED] if box else [])])
        self._begin(about)

    def _begin(self, about: Mapping[str, str]) -> None:
        start = MAGIC + as_bytes(Header(PROFILE, LIBRARY), *self._catalogue)
        lineage = {"keys": json.dumps(stored(self._signer.lineage))}
        told = [(LINEAGE, lineage), (ABOUT, dict(about))]
        if self._box is not None:
            told.append((BOX, {"to": self._box.to.hex(), "public": self._box.public.hex()}))
        for name, content in told:
            record = as_bytes(Metadata(name, content))
            self._metadata.append(as_bytes(MetadataIndex(len(start), len(record), name)))
            start += record
        self._seal(start)
        try:
            self._write()
            os.ftruncate(self._file, self.size)
        except OSError:
            self.leave()
            self.path.unlink()
            raise
        self.begins = self.size
        """Where what is recorded begins: before it the log says what it is."""

    def add(self, channel: int, t_ns: int, data: bytes) -> None:
        """A message for channel 1, 2, ... in the order of the topics; t_ns: not negative."""
        self._waiting.add(channel, t_ns, data)

    def count(self, decisions: int) -> None:
        """One more record of the tape is in this block."""
        self._waiting.records += 1
        self._waiting.decisions += decisions

    @property
    def waiting(self) -> int:
        """Bytes that are not in the file yet."""
        return len(self._unwritten) + self._waiting.builder.count

    def flush(self) -> None:
        """Write and seal what waits, and bring it to the disk."""
        self._write()
        if self._waiting.index:
            self._seal(self._chunk())
            self._write()

    def close(self) -> None:
        """Seal for good, with the index that lets a reader seek."""
        if not self._ended:
            self.flush()
            count = len(self._rest(0))  # the same wherever it stands
            length = len(self._made_seal(b"", NO_HASH, count).record())
            rest = self._rest(self.size + length)
            self._seal(b"", hashlib.sha256(rest).hexdigest(), count)
            self._unwritten += rest
            self._ended = True
        self._write()
        self.leave()

    def leave(self) -> None:
        """Let go of the file as it is."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _write(self) -> None:
        """All or nothing."""
        done, data = self.size, self._unwritten
        try:
            while done - self.size < len(data):
                done += os.write(self._file, data[done - self.size :])
            if data:
                os.fdatasync(self._file)
        except OSError:
            os.ftruncate(self._file, self.size)
            os.lseek(self._file, self.size, os.SEEK_SET)
            raise
        self.size, self._unwritten = done, b""
        self.sealed = self._seals, self._head

    def _made_seal(self, block: bytes, rest: str, rest_bytes: int) -> Seal:
        head = chained(self._head, self._block_start + block)
        seal = Seal(
            self._seals, self.records, self.decisions, head, self._signer.following, rest,
            rest_bytes,
        )  # fmt: skip
        return evolve(seal, signature=self._signer.sign(seal.message()))

    def _seal(self, block: bytes, rest: str = "", rest_bytes: int = 0) -> None:
        seal = self._made_seal(block, rest, rest_bytes)
        self._signer.evolve()
        self._seals += 1
        self._head, self._block_start = seal.head, seal.record()
        self._unwritten += block + self._block_start

    def _chunk(self) -> bytes:
        w, self._waiting = self._waiting, _Waiting()
        self.records += w.records
        self.decisions += w.decisions
        if self._box is not None:
            w = self._locked(self._box, w)
        raw = _taken(w.builder)
        block = packed(raw)
        chunk = as_bytes(Chunk("zstd", block, w.last_ns, w.first_ns, zlib.crc32(raw), len(raw)))
        start = self.size + len(self._unwritten)
        indexes, offsets = b"", {}
        for channel, index in w.index.items():
            offsets[channel] = start + len(chunk) + len(indexes)
            indexes += as_bytes(index)
            self._counts[channel] += len(index.records)
        span = self._span_ns or (w.first_ns, w.last_ns)
        self._span_ns = min(span[0], w.first_ns), max(span[1], w.last_ns)
        self._chunks.append(
            as_bytes(
                ChunkIndex(
                    chunk_length=len(chunk),
                    chunk_start_offset=start,
                    compression="zstd",
                    compressed_size=len(block),
                    message_end_time=w.last_ns,
                    message_index_length=len(indexes),
                    message_index_offsets=offsets,
                    message_start_time=w.first_ns,
                    uncompressed_size=len(raw),
                )
            )
        )
        return chunk + indexes

    def _locked(self, box: Box, w: _Waiting) -> _Waiting:
        """One message instead of these."""
        hidden = _Waiting()
        plain = _taken(w.builder)
        block = struct.pack("<I", len(plain)) + packed(plain)
        hidden.add(self._hidden, w.last_ns, box.lock(block))
        return hidden

    def _rest(self, start: int) -> bytes:
        """What follows the last seal, which ends at `start`: the summary of an MCAP file."""
        first_ns, last_ns = self._span_ns or (0, 0)
        statistics = Statistics(
            attachment_count=0,
            channel_count=sum(isinstance(r, Channel) for r in self._catalogue),
            channel_message_counts=dict(self._counts),
            chunk_count=len(self._chunks),
            message_count=sum(self._counts.values()),
            message_end_time=last_ns,
            message_start_time=first_ns,
            metadata_count=len(self._metadata) + self._seals + 1,
            schema_count=sum(isinstance(r, Schema) for r in self._catalogue),
        )
        data_end = as_bytes(DataEnd(0))
        summary_start = start + len(data_end)
        groups = [
            (Opcode.SCHEMA, as_bytes(*(r for r in self._catalogue if isinstance(r, Schema)))),
            (Opcode.CHANNEL, as_bytes(*(r for r in self._catalogue if isinstance(r, Channel)))),
            (Opcode.STATISTICS, as_bytes(statistics)),
            (Opcode.CHUNK_INDEX, b"".join(self._chunks)),
            (Opcode.METADATA_INDEX, b"".join(self._metadata)),
        ]
        summary, offsets = b"", b""
        for opcode, group in groups:
            if group:
                at = summary_start + len(summary)
                offsets += as_bytes(SummaryOffset(opcode, len(group), at))
                summary += group
        return data_end + summary + offsets + _footer(summary_start, summary, offsets) + MAGIC


def _reserve(file: int, size: int) -> None:
    """Room for the beginning, before a key is used up: a key without a log would look like a log
    that somebody has removed. Raises OSError when there is none."""
    try:
        os.posix_fallocate(file, 0, size)
    except OSError as error:  # any other: a file system that reserves nothing
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise


def _footer(summary_start: int, summary: bytes, offsets: bytes) -> bytes:
    offset_start = summary_start + len(summary)
    crc = zlib.crc32(summary + offsets)
    crc = zlib.crc32(struct.pack("<BQQQ", Opcode.FOOTER, 20, summary_start, offset_start), crc)
    return as_bytes(
        Footer(summary_offset_start=offset_start, summary_start=summary_start, summary_crc=crc)
    )


def _catalogue(topics: Sequence[Topic]) -> list[Schema | Channel]:
    """The records that describe the channels."""
    made: list[Schema | Channel] = []
    schemas = 0
    for number, topic in enumerate(topics, 1):
        schema = 0
        if topic.schema is not None:
            schemas += 1
            schema = schemas
            data = json.dumps(topic.schema).encode()
            made.append(Schema(id=schema, data=data, encoding="jsonschema", name=topic.schema_name))
        made.append(
            Channel(
                id=number, topic=topic.name, message_encoding=topic.encoding, metadata={},
                schema_id=schema,
            )
        )  # fmt: skip
    return made
