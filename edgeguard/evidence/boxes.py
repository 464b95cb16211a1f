# SPDX-License-Identifier: Apache-2.0
"""Boxes of activations: by how much a member's embedding leaves what its class looked like.

Henzinger, Lukina, Schilling (ECAI 2020), "Outside the box". For each class the range of every value
of the embedding over the pictures that it was fitted on; the number is the sum over all values of
how far they lie outside the box of the class that the member names, in the embedding's own unit.

Arrays: ``low``, ``high`` [classes, n]. A class that no picture showed has no box (low above high),
and what is said to be one cannot be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeguard.card import Output
from edgeguard.evidence.embedding import real

Array = npt.NDArray[Any]
Reals = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MARGIN = 0.05  # of its own width that a box is made wider on both sides


def fit(x: Reals, y: Ints) -> dict[str, Array]:
    """The boxes of embeddings [N, n] with labels [N]."""
    classes = int(y.max()) + 1
    low = np.full((classes, x.shape[1]), 1.0, np.float32)
    high = np.full_like(low, -1.0)
    for label in np.unique(y):
        least, most = x[y == label].min(0), x[y == label].max(0)
        wider = MARGIN * (most - least)
        low[label], high[label] = least - wider, most + wider
    return {"low": low, "high": high}


class Boxes:
    """The fitted boxes of one member."""

    def __init__(self, output: Output, arrays: Mapping[str, Array]) -> None:
        self._output, self._low, self._high = output, arrays["low"], arrays["high"]
        self._known: Array = np.all(self._low <= self._high, axis=1)

    def outside(self, embedding: Array, label: int) -> float:
        """The number of one raw embedding [n]; NaN where it or its class cannot be read."""
        if not (0 <= label < len(self._known) and self._known[label]):
            return float("nan")
        x = real(embedding, self._output)
        beyond = np.maximum(self._low[label] - x, 0.0) + np.maximum(x - self._high[label], 0.0)
        return float(beyond.sum())

    def of_all(self, embeddings: Array, labels: Ints) -> Reals:
        """The same of raw embeddings [N, n] with the labels that the member gave them [N]."""
        pairs = zip(embeddings, labels, strict=True)
        return np.array([self.outside(embedding, int(label)) for embedding, label in pairs])
