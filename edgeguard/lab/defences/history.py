# SPDX-License-Identifier: Apache-2.0
"""Detection on the history of inputs by fingerprints: what the runtime does not have.

Blacklight (Li et al., USENIX Security 2022): ``matches`` is the largest number of keyed hashes that
an input shares with one of the last `memory` inputs: windows of quantized pixels, hashed under a
secret key, of which the smallest are kept. ``echoes`` and ``flips`` are those of
`edgeguard.evidence.history`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edgeguard.evidence.history import U8

Hashes = npt.NDArray[np.uint64]

QUANTUM, WINDOW, KEPT = 50, 20, 50  # Blacklight's: grey levels a step, bytes a window, hashes kept


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
