# SPDX-License-Identifier: Apache-2.0
"""Fast gradient sign method: one step of the full radius (Goodfellow, Shlens, Szegedy 2015)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from edgeguard.lab.attacks.losses import Loss, climb, cross_entropy
from edgeguard.lab.attacks.threat import Threat
from edgeguard.lab.attacks.victim import Target


@dataclass(frozen=True)
class FGSM:
    """x + radius * steepest direction."""

    threat: Threat
    loss: Loss = cross_entropy

    def __call__(self, victim: Target, x: Tensor, y: Tensor) -> Tensor:
        """Images [N, C, H, W] inside the threat."""
        gradient = climb(victim, x, y, self.loss)[0]
        step = self.threat.steepest(gradient) * self.threat.bound
        return self.threat.project(x + step, x)
