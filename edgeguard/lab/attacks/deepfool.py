# SPDX-License-Identifier: Apache-2.0
"""DeepFool (Moosavi-Dezfooli, Fawzi, Frossard 2016), L2: step over the nearest linearized border.

The end of every step is asked as an 8-bit picture; what is not yet wrong goes on. Made on a float
twin and judged on the int8 file, about half of its results fail: the change is as small as the twin
needs. Judged, and differentiated, through the quantizer they do not.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from edgeguard.lab.attacks.losses import fooled
from edgeguard.lab.attacks.victim import Target


@dataclass(frozen=True)
class DeepFool:
    """overshoot: how far beyond the border, as a share of the way; it grows with the steps that
    were not enough, for a border of 8-bit pictures has corners."""

    steps: int = 50
    overshoot: float = 0.02
    classes: int = 10  # the likeliest wrong ones

    def __call__(self, victim: Target, x: Tensor, y: Tensor) -> Tensor:
        """Images [N, C, H, W]; the first wrong one on each way."""
        adv = x.clone()
        way = torch.zeros_like(x)
        for at in range(self.steps):
            left = torch.nonzero(~fooled(victim, adv, y))[:, 0]
            if len(left) == 0:
                break
            way[left] += self._step(victim, adv[left], y[left])
            beyond = 1 + self.overshoot * (1 + at / 5)
            adv[left] = (x[left] + beyond * way[left]).clamp(0, 1)
        return adv

    def _step(self, victim: Target, x: Tensor, y: Tensor) -> Tensor:
        """The shortest way to any of the nearest borders, as they look from here."""
        leaf = x.detach().requires_grad_()
        scores = victim.scores(leaf)
        own = scores.gather(1, y[:, None])[:, 0]
        others = scores.detach().scatter(1, y[:, None], -torch.inf)
        nearest = others.topk(min(self.classes, scores.shape[1] - 1), 1).indices
        best, length = torch.zeros_like(x), torch.full((len(x),), torch.inf)
        for k in range(nearest.shape[1]):
            gap = own - scores.gather(1, nearest[:, k : k + 1])[:, 0]
            (slope,) = torch.autograd.grad(gap.sum(), leaf, retain_graph=True)
            norm = slope.flatten(1).norm(dim=1).clamp_min(1e-8)
            way = (gap.detach() + 1e-4) / norm
            closer = way < length
            step = -(way / norm)[:, None, None, None] * slope
            best[closer], length[closer] = step[closer], way[closer]
        return best
