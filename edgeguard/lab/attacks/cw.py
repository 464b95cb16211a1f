# SPDX-License-Identifier: Apache-2.0
"""Carlini & Wagner (S&P 2017): the smallest change in L2, L-inf and L0, by Adam on a change of
variables that keeps the box.

The victim is asked at the 8-bit picture, whose gradient passes the rounding: so each step is its
own verdict, and the smallest wrong picture on the way is what counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from edgeguard.lab.attacks.losses import best_other, margin
from edgeguard.lab.attacks.threat import on_grid
from edgeguard.lab.attacks.victim import Target

EDGE = 1 - 1e-6  # keeps atanh finite at black and white


def _hidden(x: Tensor) -> Tensor:
    """w with x = (tanh(w) + 1) / 2."""
    return torch.atanh((x * 2 - 1) * EDGE)


def _image(w: Tensor) -> Tensor:
    return (torch.tanh(w) / EDGE + 1) / 2


@dataclass
class _Adam:
    """One for each image of a batch, so that images can be left out."""

    rate: float
    first: Tensor
    second: Tensor
    count: int = 0

    @classmethod
    def of(cls, w: Tensor, rate: float) -> _Adam:
        return cls(rate, torch.zeros_like(w), torch.zeros_like(w))

    def step(self, gradient: Tensor, rows: Tensor) -> Tensor:
        """What to add to the rows."""
        self.count += 1
        self.first[rows] = 0.9 * self.first[rows] + 0.1 * gradient
        self.second[rows] = 0.999 * self.second[rows] + 0.001 * gradient**2
        mean = self.first[rows] / (1 - 0.9**self.count)
        spread = (self.second[rows] / (1 - 0.999**self.count)).sqrt()
        return -self.rate * mean / (spread + 1e-8)


@dataclass(frozen=True)
class CarliniL2:
    """|change|^2 + c * (true score - best other + confidence)+, with c found by halving."""

    steps: int = 60
    searches: int = 5
    rate: float = 0.01
    first: float = 1.0
    """Where c starts."""
    confidence: float = 0.0
    grid: bool = True
    """Off: for a float twin, whose own verdict is on unrounded images."""
    mask: Tensor | None = field(default=None, repr=False)
    """Where [N, 1, H, W] may be changed; None: everywhere."""

    def __call__(self, victim: Target, x: Tensor, y: Tensor) -> Tensor:
        """Images [N, C, H, W]: the smallest wrong one, or the clean one where none was found."""
        n = len(x)
        low, high = torch.zeros(n), torch.full((n,), torch.inf)
        c = torch.full((n,), self.first)
        best, size = x.clone(), torch.full((n,), torch.inf)
        start = x
        for _ in range(self.searches):
            hit, last = self._descend(victim, x, y, c, start, best, size)
            high = torch.where(hit, torch.minimum(high, c), high)
            low = torch.where(hit, low, torch.maximum(low, c))
            c = torch.where(high.isinf(), c * 10, (low + high) / 2)
            # A smaller one is near the best; where there is none yet, the way goes on.
            start = torch.where(size.isfinite()[:, None, None, None], best, last)
        return best

    def _descend(
        self, victim: Target, x: Tensor, y: Tensor, c: Tensor, start: Tensor, best: Tensor,
        size: Tensor,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """One run for one c; keeps `best` and `size`; which images this c made wrong on the way
        (where a run starts is wrong already), and where it ended."""
        w = _hidden(start)
        adam = _Adam.of(w, self.rate)
        hit, rows = torch.zeros(len(x), dtype=torch.bool), torch.arange(len(x))
        right = torch.zeros(len(x), dtype=torch.bool)
        for _ in range(self.steps):
            leaf = w.detach().requires_grad_()
            adv = self._masked(_image(leaf), x)
            scores = victim.scores(adv)
            gap = (margin(scores, y) * -1 + self.confidence).clamp_min(0)
            loss = ((adv - x) ** 2).flatten(1).sum(1) + c * gap
            (gradient,) = torch.autograd.grad(loss.sum(), leaf)
            wrong = self._wrong(scores.detach(), y)
            seen = on_grid(adv.detach()) if self.grid else adv.detach()
            length = (seen - x).flatten(1).norm(dim=1)
            better = wrong & (length < size)
            best[better], size[better] = seen[better], length[better]
            hit |= wrong & right
            right |= ~wrong
            w = w.detach() + adam.step(gradient, rows)
        return hit, self._masked(_image(w).clamp(0, 1), x)

    def _masked(self, adv: Tensor, x: Tensor) -> Tensor:
        return adv if self.mask is None else x + (adv - x) * self.mask

    def _wrong(self, scores: Tensor, y: Tensor) -> Tensor:
        return (scores.argmax(1) != y) & (margin(scores, y) >= self.confidence)


@dataclass(frozen=True)
class CarliniLinf:
    """c * (true score - best other)+ + sum of what exceeds tau; tau falls while that works."""

    steps: int = 40
    rounds: int = 10
    rate: float = 0.01
    shrink: float = 0.85

    def __call__(self, victim: Target, x: Tensor, y: Tensor) -> Tensor:
        """Images [N, C, H, W]: the one with the smallest largest change, clean where none is."""
        n = len(x)
        tau, c = torch.full((n,), 0.1), torch.full((n,), 1.0)
        best, size = x.clone(), torch.full((n,), torch.inf)
        start = x.clone()
        for _ in range(self.rounds):
            hit, last = self._descend(victim, x, y, (tau, c), start, best, size)
            found = size.isfinite()
            start = torch.where(found[:, None, None, None], best, last)
            tau = torch.where(found, torch.minimum(tau, size) * self.shrink, tau)
            c = torch.where(hit, c, (c * 3).clamp_max(1e4))
        return best

    def _descend(
        self, victim: Target, x: Tensor, y: Tensor, weights: tuple[Tensor, Tensor], start: Tensor,
        best: Tensor, size: Tensor,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """As that of L2; which images got better, and where the run ended."""
        tau, c = weights
        w = _hidden(start)
        adam = _Adam.of(w, self.rate)
        hit, rows = torch.zeros(len(x), dtype=torch.bool), torch.arange(len(x))
        for _ in range(self.steps):
            leaf = w.detach().requires_grad_()
            adv = _image(leaf)
            scores = victim.scores(adv)
            over = ((adv - x).abs() - tau[:, None, None, None]).clamp_min(0).flatten(1).sum(1)
            loss = c * (-margin(scores, y)).clamp_min(0) + over
            (gradient,) = torch.autograd.grad(loss.sum(), leaf)
            wrong = scores.detach().argmax(1) != y
            seen = on_grid(adv.detach())
            length = (seen - x).flatten(1).abs().amax(1)
            better = wrong & (length < size)
            best[better], size[better] = seen[better], length[better]
            hit |= better
            w = w.detach() + adam.step(gradient, rows)
        return hit, _image(w).clamp(0, 1)


@dataclass(frozen=True)
class CarliniL0:
    """L2 again and again, each time with fewer pixels: those whose change matters least stay."""

    rounds: int = 12
    drop: float = 0.35
    """Share of the changed pixels that is given up in each round."""
    inner: CarliniL2 = CarliniL2(steps=40, searches=2, rate=0.03, first=10.0)

    def __call__(self, victim: Target, x: Tensor, y: Tensor) -> Tensor:
        """Images [N, C, H, W]: the last one that was wrong with the fewest pixels."""
        mask = torch.ones_like(x[:, :1])
        best = x.clone()
        left = torch.arange(len(x))
        for _ in range(self.rounds):
            inner = CarliniL2(
                self.inner.steps, self.inner.searches, self.inner.rate, self.inner.first,
                mask=mask[left],
            )  # fmt: skip
            adv = inner(victim, x[left], y[left])
            found = (adv != x[left]).flatten(1).any(1)
            left = left[found]
            if len(left) == 0:
                break
            best[left] = adv[found]
            mask[left] = self._fewer(victim, x[left], y[left], adv[found])
        return best

    def _fewer(self, victim: Target, x: Tensor, y: Tensor, adv: Tensor) -> Tensor:
        """Changed pixels without those with the smallest |gradient * change|."""
        leaf = adv.detach().requires_grad_()
        scores = victim.scores(leaf)
        gap = best_other(scores, y)[0] - scores.gather(1, y[:, None])[:, 0]
        (gradient,) = torch.autograd.grad(gap.sum(), leaf)
        weight = (gradient * (adv - x)).abs().sum(1).flatten(1)
        changed = (adv != x).any(1).flatten(1)
        keep = (changed.sum(1).float() * (1 - self.drop)).long().clamp_min(1)
        order = weight.masked_fill(~changed, -1.0).argsort(1, descending=True)
        rank = torch.empty_like(order).scatter_(
            1, order, torch.arange(order.shape[1]).expand_as(order)
        )
        return ((rank < keep[:, None]) & changed).float().view(len(x), 1, *x.shape[2:])
