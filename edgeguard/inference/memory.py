# SPDX-License-Identifier: Apache-2.0
"""The memory that a process member and its worker share: two slots of input, scores and embedding.

It is an anonymous memory file: it has no name, so none can be left behind, and it is sealed, so
neither side can shrink it under the other.
"""

from __future__ import annotations

import fcntl
import mmap
import os

import numpy as np

from edgeguard.card import Card
from edgeguard.inference.buffers import ALIGNMENT, Array

SLOTS = 2


class SlotMemory:
    """Two slots: while the worker reads one, the next frame is written to the other.

    ``inputs``, ``scores`` and ``embeddings`` hold one array for each slot, shaped as those of a
    Model. ``fd`` is what the worker inherits.
    """

    def __init__(self, card: Card, fd: int) -> None:
        """Map an existing memory file whose size follows from the card."""
        self.fd = fd
        self._map = mmap.mmap(fd, _size(card))
        self._at = 0
        self.inputs = [self._take(card.input.shape, card.input.dtype) for _ in range(SLOTS)]
        self.scores = [self._take((card.scores.size,), card.scores.dtype) for _ in range(SLOTS)]
        output = card.embedding
        self.embeddings: list[Array] = []
        if output is not None:
            self.embeddings = [self._take((output.size,), output.dtype) for _ in range(SLOTS)]

    @classmethod
    def create(cls, card: Card) -> SlotMemory:
        """Make a new, zeroed memory file for a card. Linux only."""
        fd = os.memfd_create("edgeguard-member", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, _size(card))
            fcntl.fcntl(
                fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
            )
            return cls(card, fd)
        except BaseException:
            os.close(fd)
            raise

    def _take(self, shape: tuple[int, ...], dtype: str) -> Array:
        count = int(np.prod(shape))
        array = np.frombuffer(self._map, dtype, count, self._at).reshape(shape)
        self._at += _padded(array.nbytes)
        return array

    def close(self) -> None:
        """Give the memory back, as soon as nobody else refers to it; the arrays become private."""
        if self.fd < 0:
            return
        os.close(self.fd)
        self.fd = -1
        self.inputs = [array.copy() for array in self.inputs]
        self.scores = [array.copy() for array in self.scores]
        self.embeddings = [array.copy() for array in self.embeddings]
        del self._map  # it holds a descriptor of its own until the last array over it goes


def _padded(count: int) -> int:
    return -(-count // ALIGNMENT) * ALIGNMENT


def _size(card: Card) -> int:
    total = _padded(int(np.prod(card.input.shape)) * np.dtype(card.input.dtype).itemsize)
    for output in card.outputs:
        total += _padded(output.size * np.dtype(output.dtype).itemsize)
    return SLOTS * total
