# SPDX-License-Identifier: Apache-2.0
"""Projected gradient ascent from random starts (Madry et al. 2018), L-inf and L2."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from edgeguard.lab.attacks.losses import Loss, climb, cross_entropy
from edgeguard.lab.attacks.threat import Threat, rounded
from edgeguard.lab.attacks.victim import Target


@dataclass(frozen=True)
class PGD:
    """An image is left alone once its 8-bit picture is read wrongly."""

    threat: Threat
    steps: int = 40
    step: float = 0.1  # share of the radius
    restarts: int = 5
    loss: Loss = cross_entropy
    seed: int = 0

    def __call__(self, victim: Target, x: Tensor, y: Tensor) -> Tensor:
        """8-bit images [N, C, H, W] inside the threat; where none is wrong, the worst."""
        g = torch.Generator().manual_seed(self.seed)
        best, value = x.clone(), torch.full((len(x),), -torch.inf)
        left = torch.arange(len(x))
        for _ in range(self.restarts):
            adv, found, wrong = self._ascend(victim, x[left], y[left], g)
            better = (found > value[left]) | wrong
            best[left[better]], value[left[better]] = adv[better], found[better]
            left = left[~wrong]
            if len(left) == 0:
                break
        return best

    def _ascend(
        self, victim: Target, x: Tensor, y: Tensor, g: Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One start: the best 8-bit image on the way, its loss, whether it is read wrongly."""
        adv = self.threat.start(x, g)
        best, value = x.clone(), torch.full((len(x),), -torch.inf)
        done = torch.zeros(len(x), dtype=torch.bool)
        for _ in range(self.steps + 1):
            left = torch.nonzero(~done)[:, 0]
            if len(left) == 0:
                break
            seen = rounded(adv[left], x[left], self.threat)
            gradient, found, wrong = climb(victim, seen, y[left], self.loss)
            better = (found > value[left]) | wrong
            best[left[better]], value[left[better]] = seen[better], found[better]
            done[left[wrong]] = True
            step = self.threat.steepest(gradient) * (self.step * self.threat.bound)
            adv[left] = self.threat.project(adv[left] + step, x[left])
        return best, value, done
