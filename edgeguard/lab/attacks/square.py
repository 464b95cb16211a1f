# SPDX-License-Identifier: Apache-2.0
"""Square attack (Andriushchenko et al. 2020), L-inf: random squares, kept where the margin falls.

Asks the deployed file for scores, not for gradients; every answer is counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from edgeguard.lab.attacks.losses import margin
from edgeguard.lab.attacks.threat import Threat, rounded
from edgeguard.lab.attacks.victim import Counted, Ints

FALLS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of 10,000: where squares get smaller

REDRAWS = 16  # of one square: at a radius below half a grey level none changes anything


@dataclass(frozen=True)
class Square:
    """threat: L-inf with a radius and a number of queries."""

    threat: Threat
    share: float = 0.3
    """Of the picture, that the first squares cover."""
    seed: int = 0

    def __call__(self, ask: Counted, x: Tensor, y: Tensor) -> tuple[Tensor, Ints]:
        """8-bit images [N, C, H, W], and queries [N]. ask: scores [M, n] of pictures."""
        g = torch.Generator().manual_seed(self.seed)
        budget = self.threat.queries or 5000
        rows = torch.arange(len(x))
        stripes = torch.randint(0, 2, (len(x), x.shape[1], 1, x.shape[3]), generator=g) * 2 - 1
        best = rounded(x + stripes * self.threat.bound, x, self.threat)
        value = self._value(ask, best, y, rows)
        for at in range(1, budget):
            left = rows[value <= 0]
            if len(left) == 0:
                break
            tried = self._moved(x[left], best[left], at / budget, g)
            found = self._value(ask, tried, y[left], left)
            better = found >= value[left]  # quantized scores tie: along a tie it goes on
            best[left[better]], value[left[better]] = tried[better], found[better]
        return best, ask.queries

    @staticmethod
    def _value(ask: Counted, adv: Tensor, y: Tensor, rows: Tensor) -> Tensor:
        return margin(torch.from_numpy(np.asarray(ask(adv, rows))), y)

    def _moved(self, x: Tensor, best: Tensor, progress: float, g: Generator) -> Tensor:
        """One square in each image; one that changes nothing would cost an answer, and is drawn
        again."""
        tried, same = best.clone(), torch.arange(len(x))
        for _ in range(REDRAWS):
            tried[same] = self._squares(x[same], best[same], progress, g)
            same = same[(tried[same] == best[same]).flatten(1).all(1)]
            if len(same) == 0:
                break
        return tried

    def _squares(self, x: Tensor, best: Tensor, progress: float, g: Generator) -> Tensor:
        """The images with one square each moved to another corner of the ball."""
        share = self.share / 2 ** sum(progress * 10_000 > fall for fall in FALLS)
        height, width = x.shape[2:]
        side = min(max(round((share * height * width) ** 0.5), 1), height, width)
        tried = best.clone()
        tops = torch.randint(0, height - side + 1, (len(x),), generator=g).tolist()
        lefts = torch.randint(0, width - side + 1, (len(x),), generator=g).tolist()
        signs = torch.randint(0, 2, (len(x), x.shape[1], 1, 1), generator=g) * 2 - 1
        for i, (top, left) in enumerate(zip(tops, lefts, strict=True)):
            cut = (i, slice(None), slice(top, top + side), slice(left, left + side))
            tried[cut] = x[cut] + signs[i] * self.threat.bound
        return rounded(tried, x, self.threat)
