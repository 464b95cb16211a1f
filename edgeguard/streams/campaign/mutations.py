# SPDX-License-Identifier: Apache-2.0
"""Files that were made to break whoever parses them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
FOLDERS = (".jpg", ".png", ".bmp", ".webp", ".tiff", ".ppm")
"""Kinds of pictures, of which a folder is read."""
SOURCES = (*FOLDERS, *FOLDERS, ".avi", ".npz")
EXTREMES = (b"\0" * 4, b"\xff" * 4, b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\1\0\0\0")
"""What a length, a count or a dimension may be that nobody expects."""


def mutated(data: bytes, rng: Random) -> bytes:
    """Some bytes flipped, set to extremes, cut off, repeated, taken out or put in; never as it
    was."""
    made = rng.choice((_flip, _flip, _set, _cut, _repeat, _drop, _insert))(data, rng)
    return made if made != data else made[:-1]


def _flip(data: bytes, rng: Random) -> bytes:
    made = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        made[_at(data, rng)] ^= 1 << rng.randrange(8)
    return bytes(made)


def _set(data: bytes, rng: Random) -> bytes:
    at = _at(data, rng)
    value = rng.choice(EXTREMES)
    return (data[:at] + value + data[at + len(value) :])[: len(data)]


def _cut(data: bytes, rng: Random) -> bytes:
    return data[: rng.randrange(len(data))]


def _repeat(data: bytes, rng: Random) -> bytes:
    at, count = _at(data, rng), rng.randint(1, 64)
    return data[:at] + data[at : at + count] * rng.randint(2, 50) + data[at:]


def _drop(data: bytes, rng: Random) -> bytes:
    at = _at(data, rng)
    return data[:at] + data[at + rng.randint(1, 64) :]


def _insert(data: bytes, rng: Random) -> bytes:
    at = _at(data, rng)
    return data[:at] + rng.randbytes(rng.randint(1, 64)) + data[at:]


def _at(data: bytes, rng: Random) -> int:
    """Half of the time near the beginning, where headers are."""
    return rng.randrange(min(len(data), 256) if rng.random() < 0.5 else len(data))


def source(picture: U8, kind: str, folder: Path) -> bytes:
    """A file of this kind that shows the picture, [H, W, 3] BGR. Needs the extra `images`."""
    import cv2

    if kind == ".npz":
        held = io.BytesIO()
        arrays: dict[str, Any] = {"x": picture[None].repeat(3, 0), "t_ns": np.arange(3) * 10**8}
        np.savez_compressed(held, **arrays)
        return held.getvalue()
    if kind == ".avi":
        path, (height, width) = folder / "whole.avi", picture.shape[:2]
        writer = cv2.VideoWriter(str(path), _motion_jpeg(cv2), 10.0, (width, height))
        for shift in range(3):
            writer.write(np.roll(picture, shift, axis=1))
        writer.release()
        return path.read_bytes()
    return cv2.imencode(kind, picture)[1].tobytes()


def _motion_jpeg(cv2: Any) -> int:
    code: Callable[..., int] = cv2.VideoWriter_fourcc
    return code(*"MJPG")
