# SPDX-License-Identifier: Apache-2.0
"""Pictures of an attacker who does not know the defence: FGSM, PGD and C&W on the bare model.

PGD runs to its end and C&W asks for a margin, as in the papers that detectors were measured in: an
attack that stops at the first wrong answer leaves pictures that any detector finds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from edgeguard.lab.attacks.cw import CarliniL2
from edgeguard.lab.attacks.fgsm import FGSM
from edgeguard.lab.attacks.losses import Loss, climb, cross_entropy
from edgeguard.lab.attacks.threat import Threat
from edgeguard.lab.attacks.victim import Target

RADIUS = 8 / 255
CONFIDENCE = 5.0  # logits that C&W's wrong class is ahead
BATCH = 50
Attack = Callable[[Target, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class SteadyPGD:
    """Ascent on a loss from one random start, to the last step."""

    threat: Threat
    steps: int = 40
    step: float = 0.1
    loss: Loss = cross_entropy
    seed: int = 0

    def __call__(self, victim: Target, x: Tensor, y: Tensor) -> Tensor:
        """Images [N, C, H, W] inside the threat."""
        adv = self.threat.start(x, torch.Generator().manual_seed(self.seed))
        for _ in range(self.steps):
            gradient = climb(victim, adv, y, self.loss)[0]
            move = self.threat.steepest(gradient) * (self.step * self.threat.bound)
            adv = self.threat.project(adv + move, x)
        return adv


def attacks(quick: bool) -> dict[str, tuple[Attack, Threat]]:
    """The three, by name."""
    near, free = Threat("linf", RADIUS), Threat("l2")
    steps, searches = (20, 3) if quick else (40, 5)
    return {
        "fgsm": (FGSM(near), near),
        "pgd": (SteadyPGD(near, steps, 2.5 / steps), near),
        "cw": (CarliniL2(2 * steps, searches, first=10.0, confidence=CONFIDENCE), free),
    }
