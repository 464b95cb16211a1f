# SPDX-License-Identifier: Apache-2.0
"""Classifier and detector as one target, so that every attack on a classifier attacks both.

Two answers: 0 is "right, or flagged", 1 is "wrong, and not flagged" (after the N + 1 class model of
Carlini & Wagner 2017, "Adversarial examples are not easily detected"). The second score is signed:
above 0 exactly where the attacker has won. Its gradient is that of whatever still binds: of the
margin while the label is right, of the number while it is too large (selective, as in Bryniarski
et al. 2021), or of the guide that the detector knows to be better.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from edgeguard.lab.attacks.judge import judge
from edgeguard.lab.attacks.losses import margin
from edgeguard.lab.attacks.threat import Threat
from edgeguard.lab.attacks.victim import U8, Ints, Target, images
from edgeguard.lab.defences.detector import Detector, Look

Attack = Callable[[Target, Tensor, Tensor], Tensor]
RULES = ("least", "sum", "sure")


@dataclass(frozen=True)
class Unseen:
    """A target for pictures of one true label, or of as many as there are pictures.

    rule, what is climbed: `least`, whatever binds most, or the detector's own guide; `sum`, all
    that binds, together; `sure`, the margin alone: what is read wrongly and surely may look like a
    picture of that class.
    """

    detector: Detector
    label: int | Ints
    rule: str = "least"

    def scores(self, x: Tensor) -> Tensor:
        """[N, 2]; the first is 0."""
        y = torch.as_tensor(self.label).expand(len(x))
        look = self.detector.look(x, y)
        won, guide = self._won(look, y)
        signed = guide - guide.detach() + won.detach()
        return torch.stack([torch.zeros_like(signed), signed], 1)

    def _won(self, look: Look, y: Tensor) -> tuple[Tensor, Tensor]:
        """How clearly the attacker has won [N], and what to climb [N]."""
        wrong = margin(look.scores, y)
        below = unseen(self.detector, look)
        won = torch.minimum(wrong, below)
        if self.rule == "sure":
            return won, wrong
        if self.rule == "least":
            return won, won if look.guide is None else look.guide
        return won, wrong.clamp_max(0.1) + below.clamp_max(0.1)

    def labels(self, pixels: U8) -> Ints:
        """1 where the deployed model is wrong and the device's number is not above the limit."""
        wrong = self.detector.labels(pixels) != self.label
        seen = self.detector.measured(pixels) > self.detector.limit
        return np.asarray(wrong & ~seen, np.int64)


def unseen(detector: Detector, look: Look) -> Tensor:
    """How far the number is below the limit, as a share of it [N]."""
    return (detector.limit - look.number) / max(abs(detector.limit), 1e-9)


def attack_unseen(
    detector: Detector, attack: Attack, threat: Threat, pixels: U8, y: Ints, rule: str = "least"
) -> tuple[np.ndarray, U8]:
    """Attack pictures [N, C, H, W] with labels [N], label by label.

    Returns whether the deployed pair was beaten [N], and the attacked pictures.
    """
    won, found = np.zeros(len(y), bool), pixels.copy()
    for label in np.unique(y):
        own = np.flatnonzero(y == label)
        target, zeros = Unseen(detector, int(label), rule), np.zeros(len(own), np.int64)
        x = images(pixels[own])
        adv = attack(target, x, torch.from_numpy(zeros))
        result = judge(target, pixels[own], zeros, adv, threat)
        won[own], found[own] = result.fooled, result.pixels
    return won, found
