# SPDX-License-Identifier: Apache-2.0
"""Auto-PGD (Croce & Hein, ICML 2020): momentum, and a step that is halved when it no longer helps.

The loss is cross entropy or DLR; nothing is to be tuned but the number of steps. With `targets`,
images that withstood are driven towards each of their likeliest wrong classes in turn (APGD-T).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from edgeguard.lab.attacks.losses import Loss, climb, dlr, likeliest, towards
from edgeguard.lab.attacks.threat import Threat, rounded
from edgeguard.lab.attacks.victim import Target

MOMENTUM = 0.75
RISING = 0.75  # share of the steps between two checkpoints that has to raise the loss


@dataclass(frozen=True)
class APGD:
    """An image is left alone once its 8-bit picture is read wrongly."""

    threat: Threat
    steps: int = 50
    restarts: int = 2
    loss: Loss = dlr
    targets: int = 0
    seed: int = 0

    def __call__(self, victim: Target, x: Tensor, y: Tensor) -> Tensor:
        """8-bit images [N, C, H, W] inside the threat; where none is wrong, the worst."""
        g = torch.Generator().manual_seed(self.seed)
        best, value = x.clone(), torch.full((len(x),), -torch.inf)
        left = torch.arange(len(x))
        classes = torch.empty((len(x), 0), dtype=torch.long)
        if self.targets:
            classes = likeliest(victim, x, y, self.targets)  # fewer where there are not so many
        for number in range(self.restarts + classes.shape[1]):
            goal = classes[left, number - self.restarts] if number >= self.restarts else None
            run = _Run(self, victim, x[left], y[left], g, goal)
            for at in range(self.steps):
                if not run.advance(at):
                    break
            found = run.value if goal is None else self._value(victim, run.best, y[left])
            better = (found > value[left]) | run.done
            best[left[better]], value[left[better]] = run.best[better], found[better]
            left = left[~run.done]
            if len(left) == 0:
                break
        return best

    def _value(self, victim: Target, x: Tensor, y: Tensor) -> Tensor:
        """Of the loss [N]: a start towards a class climbed another one."""
        with torch.no_grad():
            return self.loss(victim.scores(x), y)

    def checkpoints(self) -> list[int]:
        """When the step is looked at: p0 = 0, p1 = 0.22, then ever closer."""
        shares = [0.0, 0.22]
        while shares[-1] < 1:
            shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
        return [round(p * self.steps) for p in shares[1:]]


class _Run:
    """One start of all images; everything [N] but the images."""

    def __init__(
        self, a: APGD, victim: Target, x: Tensor, y: Tensor, g: Generator, goal: Tensor | None
    ) -> None:
        """goal: the classes [N] to drive towards; None: away from y."""
        self.a, self.victim, self.x, self.y, self.goal = a, victim, x, y, goal
        self.done = torch.zeros(len(x), dtype=torch.bool)
        self.adv = a.threat.start(x, g)
        self.before = self.adv.clone()
        self.step = torch.full((len(x), 1, 1, 1), 2.0 * a.threat.bound)
        self.best, self.value = x.clone(), torch.full((len(x),), -torch.inf)
        self.last = self.value.clone()
        self.rises = torch.zeros(len(x))
        self.marks, self.since = a.checkpoints(), 0
        self.halved = torch.ones(len(x), dtype=torch.bool)
        self.at_mark = self.value.clone()

    def advance(self, at: int) -> bool:
        """One step; False when every image is read wrongly."""
        left = torch.nonzero(~self.done)[:, 0]
        if len(left) == 0:
            return False
        threat = self.a.threat
        seen = rounded(self.adv[left], self.x[left], threat)
        loss = self.a.loss if self.goal is None else towards(self.goal[left])
        gradient, value, wrong = climb(self.victim, seen, self.y[left], loss)
        self.rises[left] += (value > self.last[left]).float()
        self.last[left] = value
        better = (value > self.value[left]) | wrong
        self.best[left[better]], self.value[left[better]] = seen[better], value[better]
        self.done[left[wrong]] = True
        self._move(left, gradient, first=at == 0)
        if at in self.marks:
            self._look(at)
        return True

    def _move(self, left: Tensor, gradient: Tensor, first: bool) -> None:
        threat, x, now = self.a.threat, self.x[left], self.adv[left]
        z = threat.project(now + self.step[left] * threat.steepest(gradient), x)
        if not first:
            keep = (1 - MOMENTUM) * (now - self.before[left])
            z = threat.project(now + MOMENTUM * (z - now) + keep, x)
        self.before[left], self.adv[left] = now, z

    def _look(self, at: int) -> None:
        """Halve the step where it stopped helping, and start again from the best image."""
        few = self.rises < RISING * (at - self.since)
        stuck = ~self.halved & (self.value <= self.at_mark)
        halve = few | stuck
        self.step[halve] /= 2
        self.adv[halve], self.before[halve] = self.best[halve], self.best[halve]
        self.halved, self.at_mark = halve, self.value.clone()
        self.rises.zero_()
        self.since = at
