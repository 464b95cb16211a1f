# SPDX-License-Identifier: Apache-2.0
"""As much of a 32-bit little-endian ELF file as sealing and measuring a firmware image needs."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

_CRC_POLYNOMIAL = 0xC8DF352F  # of AUTOSAR's CRC-32P4, reflected


def crc32p4(data: bytes) -> int:
    """CRC-32P4 as ``eg_crc`` computes it; ``b"123456789"`` gives 0x1697D06A."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (_CRC_POLYNOMIAL if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@dataclass(frozen=True)
class Symbol:
    """Where a symbol lies, in bytes."""

    address: int
    size: int


@dataclass(frozen=True)
class Segment:
    """A piece of memory that is loaded: from ``offset`` in the file to ``physical``."""

    offset: int
    physical: int
    file_size: int
    memory_size: int


class Elf:
    """An image in memory; ``data`` may be changed and written out again.

    Raises ``ValueError`` for a file that is no 32-bit little-endian ELF, ``KeyError`` for a symbol
    that it does not have.
    """

    def __init__(self, path: Path) -> None:
        self.data = bytearray(path.read_bytes())
        if self.data[:6] != b"\x7fELF\x01\x01":
            raise ValueError(f"{path}: not a 32-bit little-endian ELF file")
        self.segments = self._segments()
        self.sections, self.symbols = self._sections()

    def offset(self, address: int) -> int:
        """Place in the file of a loaded (physical) address."""
        for s in self.segments:
            if s.physical <= address < s.physical + s.file_size:
                return s.offset + address - s.physical
        raise ValueError(f"address {address:#x} is not in the image")

    def read(self, address: int, n: int) -> bytes:
        """``n`` bytes from a loaded address on, over as many segments as they take."""
        return bytes(self.data[self.offset(address + i)] for i in range(n))

    def _segments(self) -> list[Segment]:
        (start,) = struct.unpack_from("<I", self.data, 28)
        size, count = struct.unpack_from("<HH", self.data, 42)
        found = []
        for i in range(count):
            kind, offset, _, physical, in_file, in_memory = struct.unpack_from(
                "<6I", self.data, start + i * size
            )
            if kind == 1:  # PT_LOAD
                found.append(Segment(offset, physical, in_file, in_memory))
        return found

    def _sections(self) -> tuple[dict[str, Symbol], dict[str, Symbol]]:
        (start,) = struct.unpack_from("<I", self.data, 32)
        size, count, names = struct.unpack_from("<HHH", self.data, 46)
        rows = [struct.unpack_from("<10I", self.data, start + i * size) for i in range(count)]
        sections = {self._name(rows[names][4], r[0]): Symbol(r[3], r[5]) for r in rows}
        symbols = {}
        for row in rows:
            if row[1] != 2:  # SHT_SYMTAB
                continue
            for at in range(row[4], row[4] + row[5], 16):
                name, value, length = struct.unpack_from("<3I", self.data, at)
                symbols[self._name(rows[row[6]][4], name)] = Symbol(value, length)
        return sections, symbols

    def _name(self, table: int, at: int) -> str:
        end = self.data.index(0, table + at)
        return self.data[table + at : end].decode()
