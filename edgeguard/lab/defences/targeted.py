# SPDX-License-Identifier: Apache-2.0
"""Ascent towards fixed wrong classes, past a detector: what the climbs of `adaptive` leave over.

They follow whatever wrong class is nearest at each step, and where the detector guards that one,
they stay before it. Here each of the likeliest classes is aimed at to the end: first until the
answer is that class with something to spare, then down in the detector's number.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from edgeguard.lab.attacks.judge import judge
from edgeguard.lab.attacks.losses import likeliest, margin
from edgeguard.lab.attacks.threat import Threat, rounded
from edgeguard.lab.attacks.victim import U8, Ints, Target, images
from edgeguard.lab.defences.adaptive import Unseen, unseen
from edgeguard.lab.defences.detector import Detector, Look
from edgeguard.lab.defences.static import BATCH

STEPS = 60
FIRST = 0.15  # share of the radius that the first step goes; the last hardly moves
AHEAD = 3.0  # logits that the class aimed at leads by before the detector's number counts


def attack_classes(
    detector: Detector, victim: Target, threat: Threat, pixels: U8, y: Ints, count: int
) -> tuple[np.ndarray, U8]:
    """Attack pictures [N, C, H, W] with labels [N], towards one of their `count` likeliest wrong
    classes after the other while they withstand. victim: the classifier alone.

    Returns whether the deployed pair was beaten [N], and the attacked pictures.
    """
    won, found = np.zeros(len(y), bool), pixels.copy()
    for at in range(0, len(y), BATCH):
        rows = np.arange(at, min(at + BATCH, len(y)))
        aims = likeliest(victim, images(pixels[rows]), torch.from_numpy(y[rows]), count).numpy()
        for k, aim in enumerate(aims.T):
            left = ~won[rows]
            if left.any():
                own = rows[left]
                won[own], found[own] = _towards(
                    detector, threat, pixels[own], y[own], aim[left], seed=k
                )
    return won, found


def _towards(
    detector: Detector, threat: Threat, pixels: U8, y: Ints, aim: Ints, seed: int
) -> tuple[np.ndarray, U8]:
    g = torch.Generator().manual_seed(seed)
    adv = _climb(detector, threat, images(pixels), torch.from_numpy(y), torch.from_numpy(aim), g)
    result = judge(Unseen(detector, y), pixels, np.zeros_like(y), adv, threat)
    return result.fooled, result.pixels


def _climb(
    detector: Detector, threat: Threat, x: Tensor, y: Tensor, aim: Tensor, g: torch.Generator
) -> Tensor:
    """The 8-bit images [N, C, H, W] on the way that are most clearly wrong and unseen."""
    adv = threat.start(x, g)
    best, value = x.clone(), torch.full((len(x),), -torch.inf)
    for step in range(STEPS):
        leaf = rounded(adv, x, threat).requires_grad_()
        with torch.enable_grad():
            look = detector.look(leaf, y)
            (gradient,) = torch.autograd.grad(_to_climb(detector, look, aim).sum(), leaf)
        won = torch.minimum(margin(look.scores, y), unseen(detector, look)).detach()
        better = won > value
        best[better], value[better] = leaf.detach()[better], won[better]
        size = FIRST * (1 - step / STEPS) * threat.bound
        adv = threat.project(adv + threat.steepest(gradient) * size, x)
    return best


def _to_climb(detector: Detector, look: Look, aim: Tensor) -> Tensor:
    """The lead of the class aimed at, and from AHEAD on what makes the picture unseen [N]."""
    lead = -margin(look.scores, aim)
    rest = unseen(detector, look) if look.guide is None else look.guide
    return torch.where(lead > AHEAD, rest, lead)
