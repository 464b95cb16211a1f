# SPDX-License-Identifier: Apache-2.0
"""HopSkipJump (Chen, Jordan, Wainwright 2020), L2 and L-inf: from a wrong picture towards the clean
one.

Asks for decisions only. Each round: halve the way to the border, estimate its normal from random
probes, walk along it. Every probe is an 8-bit picture, as a camera would give.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Generator, Tensor

from edgeguard.lab.attacks.threat import LEVELS, Threat, on_grid
from edgeguard.lab.attacks.victim import Counted, Ints

BATCH = 8  # pictures to start from that are asked about at once
Wrong = Callable[[Tensor], npt.NDArray[np.bool_]]


@dataclass(frozen=True)
class HopSkipJump:
    """threat: L2 or L-inf, labels only, with queries; ends early at the radius where it has one."""

    threat: Threat
    rounds: int = 40
    probes: int = 40
    """Of the first round; they grow with the root of the round."""
    most_probes: int = 400
    seed: int = 0

    def __call__(self, ask: Counted, x: Tensor, y: Tensor, starts: Tensor) -> tuple[Tensor, Ints]:
        """8-bit images [N, C, H, W], and queries [N]; clean where no start was wrong
        or the radius was not reached.

        ask: labels [M] of pictures. starts: pictures [S, C, H, W] of any other classes, which the
        attacker has; noise is tried after them.
        """
        made = x.clone()
        for i in range(len(x)):
            g = torch.Generator().manual_seed(self.seed * 1_000_003 + i)
            row, label = torch.tensor([i]), int(y[i])
            walk = _Walk(self, x[i], g, lambda p, r=row, t=label: (
                np.asarray(ask(p, r.expand(len(p)))) != t
            ), lambda r=i: int(ask.queries[r]))  # fmt: skip
            found = walk.go(starts)
            if found is not None and bool(self.threat.allows((found - x[i])[None])):
                made[i] = found
        return made, ask.queries


class _Walk:
    """The way of one image [C, H, W]."""

    def __init__(
        self, a: HopSkipJump, x: Tensor, g: Generator, wrong: Wrong, spent: Callable[[], int]
    ) -> None:
        self.a, self.x, self.g, self.wrong, self.spent = a, x, g, wrong, spent
        self.most = a.threat.queries or 5000
        self.good = 0.0 if a.threat.radius is None else a.threat.radius

    def left(self) -> int:
        """Queries that may still be asked."""
        return self.most - self.spent()

    def go(self, starts: Tensor) -> Tensor | None:
        """The nearest wrong picture; None when none was found at all."""
        adv = self._start(starts)
        if adv is None:
            return None
        adv = best = self._border(adv)
        for number in range(1, self.a.rounds + 1):
            if self._far(best) <= self.good or self.left() < 30:
                break
            normal = self._normal(adv, number)
            adv = self._border(self._along(adv, normal, number))
            if self._far(adv) < self._far(best):
                best = adv
        return best

    def _far(self, adv: Tensor) -> float:
        return float(self.a.threat.sizes((adv - self.x)[None])[0])

    def _start(self, starts: Tensor) -> Tensor | None:
        """The nearest of the pictures that are wrong; else noise."""
        order = (starts - self.x).flatten(1).norm(dim=1).argsort()
        noise = on_grid(torch.rand((BATCH, *self.x.shape), generator=self.g))
        for batch in (*starts[order].split(BATCH), noise):
            tried = batch[: self.left()]
            if len(tried) and (hit := torch.from_numpy(self.wrong(tried))).any():
                return tried[hit][0]
        return None

    def _border(self, adv: Tensor) -> Tensor:
        """Halve the way to the clean picture, in L-inf the largest change, while the 8-bit picture
        stays wrong."""
        low, high, best = 0.0, 1.0, adv
        reach = float((adv - self.x).abs().max()) * LEVELS
        while (high - low) * reach > 1.0 and self.left() > 0:  # finer than a grey level: none
            middle = (low + high) / 2
            tried = on_grid(self.x + self._part(adv - self.x, middle))
            if self.wrong(tried[None])[0]:
                high, best = middle, tried
            else:
                low = middle
        return best

    def _part(self, delta: Tensor, share: float) -> Tensor:
        """A change of so much of its size."""
        if self.a.threat.norm == "l2":
            return share * delta
        most = share * float(delta.abs().max())
        return delta.clamp(-most, most)

    def _normal(self, adv: Tensor, number: int) -> Tensor:
        """Where the wrong side is: the mean of random directions, each with its answer's sign."""
        count = min(int(self.a.probes * number**0.5), self.a.most_probes, max(self.left() - 20, 4))
        noise = torch.randn((count, *adv.shape), generator=self.g)
        noise /= noise.flatten(1).norm(dim=1)[:, None, None, None]
        width = max(float((adv - self.x).norm()) * 0.1, 2.0 * adv.numel() ** 0.5 / LEVELS * 0.5)
        probes = on_grid((adv + width * noise).clamp(0, 1))
        sign = torch.from_numpy(self.wrong(probes)).float() * 2 - 1
        really = probes - adv
        spread = sign - sign.mean() if sign.abs().mean() != sign.mean().abs() else sign
        return self.a.threat.steepest((spread[:, None, None, None] * really).mean(0)[None])[0]

    def _along(self, adv: Tensor, normal: Tensor, number: int) -> Tensor:
        """A step along the normal, halved until its end is wrong."""
        step = self._far(adv) / number**0.5
        while step * LEVELS > 0.5 and self.left() > 0:
            tried = on_grid((adv + step * normal).clamp(0, 1))
            if self.wrong(tried[None])[0]:
                return tried
            step /= 2
        return adv
