# SPDX-License-Identifier: Apache-2.0
"""Several detectors beside each other: a picture is flagged when one of them flags it."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import numpy as np
import torch
from torch import Tensor

from edgeguard.lab.attacks.losses import margin
from edgeguard.lab.attacks.victim import U8, Floats, Ints
from edgeguard.lab.defences.detector import Detector, Look, limit_at


class Together:
    """Its number is the largest of theirs, each counted from its own limit, which lies at 1.

    So a limit of the whole can be set that costs as many clean pictures as that of one alone.
    """

    def __init__(self, parts: Sequence[Detector]) -> None:
        self.parts = parts
        self.name = "+".join(part.name for part in parts)
        self.limit = 1.0

    def fit(self, pixels: U8) -> None:
        """Set the limit of each on clean pictures [N, C, H, W]."""
        for part in self.parts:
            part.limit = limit_at(part.measured(pixels))

    def deployed(self) -> list[Detector]:
        """The parts, each with the limit that it has in the whole: a car knows no sum of numbers,
        it flags what is above one limit."""
        made = [copy(part) for part in self.parts]
        for part in made:
            part.limit += (self.limit - 1) * _unit(part)
        return made

    def look(self, x: Tensor, y: Tensor) -> Look:
        """The guide is whatever part is furthest from being passed."""
        looks = [part.look(x, y) for part in self.parts]
        numbers = [
            1 + (look.number - part.limit) / _unit(part)
            for look, part in zip(looks, self.parts, strict=True)
        ]
        wrong = margin(looks[0].scores, y)
        guides = [
            torch.minimum(wrong, self.limit - number) if look.guide is None else look.guide
            for look, number in zip(looks, numbers, strict=True)
        ]
        return Look(looks[0].scores, torch.stack(numbers).amax(0), torch.stack(guides).amin(0))

    def measured(self, pixels: U8) -> Floats:
        """[N]."""
        parts = [1 + (p.measured(pixels) - p.limit) / _unit(p) for p in self.parts]
        return np.asarray(np.max(parts, axis=0), np.float32)

    def labels(self, pixels: U8) -> Ints:
        """What the model says, [N]."""
        return self.parts[0].labels(pixels)


def _unit(part: Detector) -> float:
    return max(abs(part.limit), 1e-6)
