# SPDX-License-Identifier: Apache-2.0
"""One change for all images (Moosavi-Dezfooli et al. 2017), found by stochastic ascent on images of
the attacker's own (Shafahi et al. 2020)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from edgeguard.lab.attacks.losses import Loss, climb, margin
from edgeguard.lab.attacks.threat import Threat, on_grid
from edgeguard.lab.attacks.victim import Target


def clipped(scores: Tensor, y: Tensor) -> Tensor:
    """The margin, no longer rewarded once an image is surely wrong: others need the push."""
    return margin(scores, y).clamp_max(2.0)


@dataclass(frozen=True)
class Universal:
    """threat: L-inf with a radius."""

    threat: Threat
    steps: int = 80  # whatever the number of images: with fewer it would not reach the radius
    batch: int = 64
    step: float = 0.1  # share of the radius, falling to none
    loss: Loss = clipped
    seed: int = 0

    def __call__(self, victim: Target, x: Tensor, y: Tensor) -> Tensor:
        """The change [1, C, H, W], whole grey levels; add it to any image and clamp."""
        g = torch.Generator().manual_seed(self.seed)
        bound = self.threat.bound
        delta = torch.zeros_like(x[:1])
        for at, rows in zip(range(self.steps), _batches(len(x), self.batch, g), strict=False):
            rate = self.step * bound * (1 - at / self.steps)
            adv = (x[rows] + delta).clamp(0, 1)
            gradient = climb(victim, adv, y[rows], self.loss)[0].sum(0, keepdim=True)
            delta = (delta + rate * gradient.sign()).clamp(-bound, bound)
        return on_grid(delta)


def _batches(n: int, size: int, g: Generator) -> Iterator[Tensor]:
    """Rows of n images, over and over in another order."""
    while True:
        yield from torch.randperm(n, generator=g).split(size)
