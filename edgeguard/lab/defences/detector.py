# SPDX-License-Identifier: Apache-2.0
"""What a detector is: a number of a picture and a model, and a limit that it is flagged above."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from edgeguard.lab.attacks.victim import U8, Floats, Ints
from edgeguard.lab.zoo.figures import wilson

FALSE_POSITIVES = 0.05


@dataclass(frozen=True)
class Look:
    """What the attacker sees of N pictures, differentiable: scores [N, n] and number [N]; and what
    he climbs in order to be wrong and unseen, `guide` [N] (None: the lesser of both)."""

    scores: Tensor
    number: Tensor
    guide: Tensor | None = None


class Detector(Protocol):
    """Larger numbers are stranger."""

    name: str
    limit: float

    def look(self, x: Tensor, y: Tensor) -> Look:
        """Of images [N, C, H, W] in [0, 1] with true labels [N], differentiable."""

    def measured(self, pixels: U8) -> Floats:
        """The number [N] of pictures uint8 [N, C, H, W], as the device computes it."""

    def labels(self, pixels: U8) -> Ints:
        """What the model behind it says, [N]."""


def limit_at(numbers: Floats, share: float = FALSE_POSITIVES) -> float:
    """The smallest limit above which at most this share of clean calibration numbers [n] lies.

    The ceil((n + 1)(1 - share))-th smallest (split conformal, Vovk et al. 2005), so that the share
    holds for a new picture like these. Raises ValueError when there are too few.
    """
    rank = int(np.ceil((len(numbers) + 1) * (1 - share)))
    if rank > len(numbers):
        raise ValueError(f"{len(numbers)} clean numbers cannot support {share:g} false positives")
    return float(np.sort(numbers)[rank - 1])


@dataclass(frozen=True)
class Share:
    """hits of n, with its 95 % interval (Wilson)."""

    hits: int
    n: int

    @property
    def value(self) -> float:
        """NaN of nothing."""
        return self.hits / self.n if self.n else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """95 %."""
        return wilson(self.hits, self.n)

    def table(self) -> dict[str, object]:
        """For a card."""
        return {"value": self.value, "n": self.n, "interval": list(self.interval)}


def share(hits: np.ndarray) -> Share:
    """How many of [N] are true."""
    return Share(int(hits.sum()), len(hits))
