# SPDX-License-Identifier: Apache-2.0
"""Box-constrained L-BFGS (Szegedy et al. 2014): |change|^2 + c * cross entropy of a wrong class.

Limited-memory BFGS of a whole batch at once, projected on the box; the weight c is found for each
image by multiplication and halving. The target is the likeliest wrong class.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from edgeguard.lab.attacks.losses import likeliest
from edgeguard.lab.attacks.threat import on_grid
from edgeguard.lab.attacks.victim import Target

MEMORY = 8
SHRINK, TRIES, ENOUGH = 0.4, 5, 1e-4  # of the line search (Armijo)
Value = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class LBFGS:
    """steps: of each minimization; searches: how many c are tried."""

    steps: int = 15
    searches: int = 6
    first: float = 3.0

    def __call__(self, victim: Target, x: Tensor, y: Tensor) -> Tensor:
        """Images [N, C, H, W]: the smallest wrong 8-bit one, or the clean one."""
        n, target = len(x), likeliest(victim, x, y, 1)[:, 0]
        low, high = torch.zeros(n), torch.full((n,), torch.inf)
        c = torch.full((n,), self.first)
        best, size = x.clone(), torch.full((n,), torch.inf)
        for _ in range(self.searches):
            search = _Search(victim, x, y, target, c)
            adv = search.minimize(self.steps)
            hit = search.wrong
            better = hit & (search.size < size)
            best[better], size[better] = adv[better], search.size[better]
            high, low = torch.where(hit, c, high), torch.where(hit, low, c)
            c = torch.where(high.isinf(), c * 5, (low + high) / 2)
        return best


class _Search:
    """One minimization for one c [N]; keeps the smallest wrong picture of the way."""

    def __init__(self, victim: Target, x: Tensor, y: Tensor, target: Tensor, c: Tensor) -> None:
        self.victim, self.x, self.y, self.target, self.c = victim, x, y, target, c
        self.wrong = torch.zeros(len(x), dtype=torch.bool)
        self.size = torch.full((len(x),), torch.inf)
        self.best = x.clone()
        self.changes: list[tuple[Tensor, Tensor]] = []

    def minimize(self, steps: int) -> Tensor:
        """The smallest wrong picture [N, C, H, W]; clean where none was."""
        at = self.x.clone()
        value, gradient = self._value(at)
        for _ in range(steps):
            step = self._direction(gradient)
            new, new_value, new_gradient = self._line(at, value, gradient, step)
            moved, bent = (new - at).flatten(1), (new_gradient - gradient).flatten(1)
            self.changes = [*self.changes, (moved, bent)][-MEMORY:]
            at, value, gradient = new, new_value, new_gradient
        return self.best

    def _value(self, at: Tensor) -> tuple[Tensor, Tensor]:
        """Loss [N] and gradient; every picture that is asked is judged."""
        leaf = at.detach().requires_grad_()
        scores = self.victim.scores(leaf)
        entropy = functional.cross_entropy(scores, self.target, reduction="none")
        loss = ((leaf - self.x) ** 2).flatten(1).sum(1) + self.c * entropy
        (gradient,) = torch.autograd.grad(loss.sum(), leaf)
        wrong = scores.detach().argmax(1) != self.y
        seen = on_grid(at.detach())
        length = (seen - self.x).flatten(1).norm(dim=1)
        better = wrong & (length < self.size)
        self.best[better], self.size[better] = seen[better], length[better]
        self.wrong |= wrong
        return loss.detach(), gradient

    def _direction(self, gradient: Tensor) -> Tensor:
        """Two-loop recursion (Nocedal 1980), each image with its own numbers."""
        q = gradient.flatten(1).clone()
        kept = []
        for moved, bent in reversed(self.changes):
            curve = (moved * bent).sum(1)
            rho = torch.where(curve > 1e-10, 1 / curve.clamp_min(1e-10), torch.zeros_like(curve))
            a = rho * (moved * q).sum(1)
            q = q - a[:, None] * bent
            kept.append((moved, bent, rho, a))
        if self.changes:
            moved, bent = self.changes[-1]
            curve, square = (moved * bent).sum(1), (bent**2).sum(1).clamp_min(1e-12)
            q = q * torch.where(curve > 1e-10, curve / square, self._first(gradient))[:, None]
        else:
            q = q * self._first(gradient)[:, None]
        for moved, bent, rho, a in reversed(kept):
            b = rho * (bent * q).sum(1)
            q = q + (a - b)[:, None] * moved
        return -q.view_as(gradient)

    @staticmethod
    def _first(gradient: Tensor) -> Tensor:
        """Without memory: a step of length one half."""
        return 0.5 / gradient.flatten(1).norm(dim=1).clamp_min(1e-12)

    def _line(self, at: Tensor, value: Tensor, gradient: Tensor, step: Tensor) -> Value:
        """Backtracking; what never improves stays where it is."""
        slope = (gradient * step).flatten(1).sum(1)
        uphill = slope >= 0
        step = torch.where(uphill[:, None, None, None], -gradient, step)
        slope = torch.where(uphill, -(gradient**2).flatten(1).sum(1), slope)
        share = torch.ones(len(at))
        new, new_value, new_gradient = at.clone(), value.clone(), gradient.clone()
        left = torch.ones(len(at), dtype=torch.bool)
        for _ in range(TRIES):
            tried = (at + share[:, None, None, None] * step).clamp(0, 1)
            found, slopes = self._value(tried)
            take = left & (found <= value + ENOUGH * share * slope)
            new[take], new_value[take], new_gradient[take] = tried[take], found[take], slopes[take]
            left &= ~take
            if not left.any():
                break
            share = torch.where(left, share * SHRINK, share)
        return new, new_value, new_gradient
