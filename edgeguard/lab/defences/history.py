# SPDX-License-Identifier: Apache-2.0
"""Detection on the history of inputs: whoever asks a model thousands of nearly the same question.

A black-box attack finds its picture by asking (Chen, Carlini, Wagner 2019, "Stateful detection of
black-box adversarial attacks"; Blacklight, Li et al., USENIX Security 2022). Three whole numbers of
the last `memory` inputs, larger is stranger:

- ``echoes``: how many of them look like this one. A sketch is the sums of 4 x 4 pixels; two look
  alike when their sketches differ by at most `near` grey levels in the mean, and by no more than a
  quarter of the picture's own contrast: at night all signs are dark, and yet not one sign.
- ``flips``: how often, when an input came that looks like an earlier one, the label was another
  than at the one most like it. A sign that stays does not change its meaning; a search along a
  decision boundary crosses it at every other question.
- ``matches``: the largest number of keyed hashes shared with one of them (Blacklight): windows of
  quantized pixels, hashed under a secret key, of which the smallest are kept.

Numpy only, whole numbers only: the same inputs give the same numbers everywhere. No part of the lab
is needed to run it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

CELL = 4  # pixels across that a sketch adds up
CONTRAST = 4  # alike is at most this part of a picture's mean absolute deviation
QUANTUM, WINDOW, KEPT = 50, 20, 50  # Blacklight's: grey levels a step, bytes a window, hashes kept


class Numbers(NamedTuple):
    """What History says of one input."""

    echoes: int
    flips: int


def sketch(picture: U8) -> npt.NDArray[np.int32]:
    """Sums of cells, flat; picture uint8 [H, W, C], sides that are multiples of CELL."""
    height, width, channels = picture.shape
    cells = picture.reshape(height // CELL, CELL, width // CELL, CELL, channels)
    return np.asarray(cells.sum((1, 3), dtype=np.int32).ravel())


@dataclass
class History:
    """Feed it every input and the label it got, frame by frame. near: grey levels."""

    near: float = 6.0
    memory: int = 512
    _sketches: npt.NDArray[np.int32] = field(init=False, repr=False)
    _labels: Ints = field(init=False, repr=False)
    _flips: deque[bool] = field(init=False, repr=False)
    _seen: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._labels = np.zeros(self.memory, np.int64)
        self._flips = deque(maxlen=self.memory)

    def see(self, picture: U8, label: int) -> Numbers:
        """picture uint8 [H, W, C] as the member sees it (the crop, at its size)."""
        own = sketch(picture)
        if self._seen == 0:
            self._sketches = np.zeros((self.memory, len(own)), np.int32)
        held = min(self._seen, self.memory)
        apart = np.abs(self._sketches[:held] - own).sum(1, dtype=np.int64)
        contrast = int(np.abs(own - int(own.mean())).sum())
        alike = apart <= min(int(self.near * CELL * CELL * len(own)), contrast // CONTRAST)
        flipped = bool(alike.any()) and int(self._labels[int(apart.argmin())]) != label
        self._flips.append(flipped)
        at = self._seen % self.memory
        self._sketches[at], self._labels[at] = own, label
        self._seen += 1
        return Numbers(int(alike.sum()), sum(self._flips))


@dataclass
class Fingerprints:
    """Blacklight's numbers. key: 64-bit numbers that nobody else knows, one for each byte of a
    window; see `secret`."""

    key: Hashes
    memory: int = 512
    _held: Hashes = field(init=False, repr=False)
    _seen: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._held = np.zeros((self.memory, KEPT), np.uint64)

    def see(self, picture: U8) -> int:
        """How many of its hashes one earlier input shares at most, 0 to KEPT."""
        own = fingerprint(picture, self.key)
        held = self._held[: min(self._seen, self.memory)]
        at = np.searchsorted(own, held.ravel()).clip(max=len(own) - 1)
        shared = (own[at] == held.ravel()).reshape(held.shape).sum(1)
        row = self._held[self._seen % self.memory]
        row[:], row[: len(own)] = 0, own  # 0 is no hash
        self._seen += 1
        return int(shared.max(initial=0))


def secret(seed: int | None = None) -> Hashes:
    """A key; without a seed from the system's randomness."""
    return np.random.default_rng(seed).integers(0, 2**64, WINDOW, np.uint64) | np.uint64(1)


def fingerprint(picture: U8, key: Hashes) -> Hashes:
    """The KEPT smallest hashes of all windows, fewer where a picture has fewer that differ.

    The hash is multilinear modulo 2^64 under the key (Carter & Wegman 1979): who does not know the
    key cannot make two windows collide on purpose.
    """
    steps = (picture.ravel() // QUANTUM).astype(np.uint64)
    windows = np.lib.stride_tricks.sliding_window_view(steps, WINDOW)
    hashes = (windows * key).sum(1, dtype=np.uint64) >> np.uint64(16)  # low bits mix least
    return np.asarray(np.unique(hashes | np.uint64(1))[:KEPT])
