# SPDX-License-Identifier: Apache-2.0
"""Projected gradient descent in a box of radius eps, for evaluation and for training.

An attack is a value; threat and target are others (see docs). Images are float32
[N, 3, 32, 32] in [0, 1], radii are in the same unit (4 / 255 is four grey levels).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

Scores = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Linf:
    """All images that differ from x by at most ``radius`` in every pixel and stay in [0, 1]."""

    radius: float | Tensor  # one for all, or [N, 1, 1, 1]

    def random_start(self, x: Tensor, g: Generator) -> Tensor:
        """A uniformly drawn image of the ball."""
        return self.project(x + (torch.rand(x.shape, generator=g) * 2 - 1) * self.radius, x)

    def project(self, adv: Tensor, x: Tensor) -> Tensor:
        """The nearest image of the ball around x."""
        return torch.minimum(torch.maximum(adv, x - self.radius), x + self.radius).clamp(0.0, 1.0)

    def steepest(self, gradient: Tensor) -> Tensor:
        """The direction of unit length (in this norm) that climbs fastest."""
        return gradient.sign()


@dataclass(frozen=True)
class Target:
    """What is attacked: a function from images to scores [N, C]."""

    scores: Scores

    def gradient(self, x: Tensor, y: Tensor) -> Tensor:
        """Gradient of the cross entropy towards x."""
        leaf = x.detach().requires_grad_()
        with torch.enable_grad():
            loss = functional.cross_entropy(self.scores(leaf), y, reduction="sum")
            return torch.autograd.grad(loss, leaf)[0]

    def margin(self, x: Tensor, y: Tensor) -> Tensor:
        """Score of the true class less the best other one, [N]; not positive means wrong."""
        with torch.no_grad():
            scores = self.scores(x)
        true = scores.gather(1, y[:, None])[:, 0]
        return true - scores.scatter(1, y[:, None], -torch.inf).amax(1)


@dataclass(frozen=True)
class PGD:
    """Projected gradient ascent on the cross entropy from random starts."""

    steps: int = 20
    step: float = 0.125  # share of the radius per iteration
    restarts: int = 5
    seed: int = 0

    def __call__(self, target: Target, x: Tensor, y: Tensor, threat: Linf) -> tuple[Tensor, Tensor]:
        """Return the worst images found and their margins [N]; the broken are left alone."""
        g = torch.Generator().manual_seed(self.seed)
        worst, margin = x.clone(), target.margin(x, y)
        for _ in range(self.restarts):
            left = torch.nonzero(margin > 0).view(-1)
            if len(left) == 0:
                break
            found = self.ascend(target, x[left], y[left], threat, g)
            value = target.margin(found, y[left])
            better = value < margin[left]
            worst[left[better]], margin[left[better]] = found[better], value[better]
        return worst, margin

    def ascend(self, target: Target, x: Tensor, y: Tensor, threat: Linf, g: Generator) -> Tensor:
        """One run from one random start."""
        adv = threat.random_start(x, g)
        for _ in range(self.steps):
            direction = threat.steepest(target.gradient(adv, y))
            adv = threat.project(adv + self.step * threat.radius * direction, x)
        return adv
