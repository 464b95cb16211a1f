# SPDX-License-Identifier: Apache-2.0
"""Write a linked firmware image's checksums into it: ``python -m firmware_bridge.mcu.seal IN OUT``.

``eg_seal_t`` (board.h) stands behind everything else in flash, so it is not part of what it seals.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

from firmware_bridge.mcu.elf import Elf, crc32p4
from firmware_bridge.secret import write_secret


def sums(image: bytes) -> tuple[int, int]:
    """Of its little-endian words, modulo 2^32; and of the sums up to each of them, rotated left by
    a bit before each is added."""
    total = rolling = 0
    for (word,) in struct.iter_unpack("<I", image):
        total = (total + word) % 2**32
        rolling = ((rolling << 1 | rolling >> 31) + total) % 2**32
    return total, rolling


def seal(elf: Elf) -> tuple[int, int]:
    """Seal in place; returns the CRC of the image and that of the table."""
    start = elf.symbols["eg_image_start"].address
    image = elf.read(start, elf.symbols["eg_image_bytes"].address)
    config = elf.symbols["eg_mcu_config"]
    crcs = crc32p4(image), crc32p4(elf.read(config.address, config.size))
    at = elf.offset(elf.symbols["eg_seal"].address)
    struct.pack_into("<IIII", elf.data, at, crcs[0], *sums(image), crcs[1])
    return crcs


def main(source: str, target: str) -> int:
    """Seal ``source`` into ``target``."""
    elf = Elf(Path(source))
    image, table = seal(elf)
    write_secret(Path(target), bytes(elf.data))
    print(f"{target}: image {image:08x}, table {table:08x}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
