# SPDX-License-Identifier: Apache-2.0
"""Numpy buffers that runtimes and kernels write into."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgeguard.card import Card

Array = npt.NDArray[Any]
ALIGNMENT = 64


def aligned(shape: tuple[int, ...], dtype: str) -> Array:
    """A zeroed C-contiguous array that starts on a cache line."""
    count = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.zeros(count + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + count].view(dtype).reshape(shape)


def input_for(card: Card) -> Array:
    """An input buffer with the shape and dtype that the card states."""
    return aligned(card.input.shape, card.input.dtype)


def scores_for(card: Card) -> Array:
    """A buffer for the raw scores, flat [n], dtype of the file."""
    return aligned((card.scores.size,), card.scores.dtype)


def embedding_for(card: Card) -> Array | None:
    """A buffer for the embedding, flat [d], or None for a model without one."""
    output = card.embedding
    return None if output is None else aligned((output.size,), output.dtype)


def fits(array: Array, like: Array, what: str, written: bool = True) -> Array:
    """Return ``array`` if it can stand in for ``like``; ValueError says what was wanted.

    written: whether it must be writable.
    """
    if array.shape != like.shape or array.dtype != like.dtype or not array.flags.c_contiguous:
        want, got = f"{like.dtype} {like.shape}", f"{array.dtype} {array.shape}"
        raise ValueError(f"{what}: want a C-contiguous array {want}, got {got}")
    if written and not array.flags.writeable:
        raise ValueError(f"{what}: the array is read-only")
    return array
