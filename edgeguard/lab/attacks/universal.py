# SPDX-License-Identifier: Apache-2.0
"""One change for all images (Moosavi-Dezfooli et al. 2017), found by stochastic ascent on images of
the attacker's own (Shafahi et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

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
    epochs: int = 5
    batch: int = 64
    step: float = 0.1  # share of the radius
    loss: Loss = clipped
    seed: int = 0

    def __call__(self, victim: Target, x: Tensor, y: Tensor) -> Tensor:
        """The change [1, C, H, W], whole grey levels; add it to any image and clamp."""
        g = torch.Generator().manual_seed(self.seed)
        bound = self.threat.bound
        delta = torch.zeros_like(x[:1])
        for epoch in range(self.epochs):
            rate = self.step * bound * (1 - epoch / self.epochs)
            for rows in torch.randperm(len(x), generator=g).split(self.batch):
                adv = (x[rows] + delta).clamp(0, 1)
                gradient = climb(victim, adv, y[rows], self.loss)[0].sum(0, keepdim=True)
                delta = (delta + rate * gradient.sign()).clamp(-bound, bound)
        return on_grid(delta)
