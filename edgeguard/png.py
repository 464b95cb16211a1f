# SPDX-License-Identifier: Apache-2.0
"""PNG from pixels with the standard library, for the pages that the demo writes."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
import numpy.typing as npt


def encode(pixels: npt.NDArray[np.uint8]) -> bytes:
    """A PNG file of RGB pixels, uint8 [h, w, 3]."""
    height, width, _ = pixels.shape
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # each row starts with filter type 0
    rows[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def data_uri(pixels: npt.NDArray[np.uint8]) -> str:
    """The same for an `src` attribute."""
    return "data:image/png;base64," + base64.b64encode(encode(pixels)).decode()


def _chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)
