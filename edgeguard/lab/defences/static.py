# SPDX-License-Identifier: Apache-2.0
"""Pictures of an attacker who does not know the defence: FGSM, PGD and C&W on the bare model.

PGD runs to its end and C&W asks for a margin, as in the papers that detectors were measured in: an
attack that stops at the first wrong answer leaves pictures that any detector finds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from edgeguard.lab.attacks.cw import CarliniL2
from edgeguard.lab.attacks.fgsm import FGSM
from edgeguard.lab.attacks.judge import judge
from edgeguard.lab.attacks.losses import Loss, climb, cross_entropy
from edgeguard.lab.attacks.threat import Threat
from edgeguard.lab.attacks.victim import U8, Ints, Target, images

RADIUS = 8 / 255
CONFIDENCE = 5.0  # logits that C&W's wrong class is ahead
BATCH = 50
Attack = Callable[[Target, Tensor, Tensor], Tensor]
Advance = Callable[[int], None]


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


@dataclass(frozen=True)
class Attacked:
    """Pictures [N, C, H, W] and whether the deployed file reads them wrongly [N]."""

    pixels: U8
    fooled: np.ndarray


def attacked(
    victim: Target, pixels: U8, y: Ints, quick: bool, advance: Advance = lambda n: None
) -> dict[str, Attacked]:
    """Each attack on pictures that the deployed model reads rightly."""
    found = {}
    for name, (attack, threat) in attacks(quick).items():
        parts = []
        for at in range(0, len(y), BATCH):
            own, labels = pixels[at : at + BATCH], y[at : at + BATCH]
            adv = attack(victim, images(own), torch.from_numpy(labels))
            parts.append(judge(victim, own, labels, adv, threat))
            advance(len(labels))
        found[name] = Attacked(
            np.concatenate([p.pixels for p in parts]), np.concatenate([p.fooled for p in parts])
        )
    return found
