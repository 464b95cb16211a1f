# SPDX-License-Identifier: Apache-2.0
"""Many small pictures of different sizes as one compressed array: lossless, numpy and stdlib."""

from __future__ import annotations

import lzma
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
Sizes = npt.NDArray[np.int16]


def pack(pictures: Sequence[U8]) -> tuple[U8, Sizes]:
    """Compress pictures, each uint8 [h, w, 3] RGB. Returns the bytes and the sizes [N, 2] (h, w).

    Green, and red and blue as differences from it, are stored as second differences (down, then
    across) modulo 256, plane by plane: natural pictures become mostly small numbers.
    """
    planes = b"".join(_differences(picture).tobytes() for picture in pictures)
    sizes = np.array([picture.shape[:2] for picture in pictures], np.int16)
    return np.frombuffer(lzma.compress(planes, preset=9), np.uint8), sizes


def unpack(packed: U8, sizes: Sizes) -> list[U8]:
    """The pictures that `pack` was given. Raises ValueError when bytes and sizes do not fit."""
    try:
        planes = np.frombuffer(lzma.decompress(packed.tobytes()), np.uint8)
    except lzma.LZMAError as error:
        raise ValueError(f"the pixels cannot be read: {error}") from None
    counts = 3 * np.prod(sizes.astype(np.int64), axis=1)
    if len(planes) != counts.sum():
        raise ValueError(f"{len(planes)} bytes of pixels for pictures of {counts.sum()}")
    parts = np.split(planes, np.cumsum(counts)[:-1])
    return [_picture(part, int(h), int(w)) for part, (h, w) in zip(parts, sizes, strict=True)]


def _differences(picture: U8) -> U8:
    red, green, blue = np.moveaxis(picture, -1, 0)
    planes = np.stack([green, red - green, blue - green])
    down = np.diff(planes, axis=1, prepend=np.uint8(0))
    return np.diff(down, axis=2, prepend=np.uint8(0))


def _picture(part: U8, height: int, width: int) -> U8:
    across = np.cumsum(part.reshape(3, height, width), axis=2, dtype=np.uint8)
    green, red, blue = np.cumsum(across, axis=1, dtype=np.uint8)
    return np.ascontiguousarray(np.stack([red + green, green, blue + green], axis=-1))
