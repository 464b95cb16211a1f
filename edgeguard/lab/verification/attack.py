# SPDX-License-Identifier: Apache-2.0
"""Try to break a certificate: projected gradient descent through the integers, and corners.

Rounding is passed straight through (its gradient is taken as that of the identity). Results are
input integers of the box; whether they break anything, the deployed file says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from edgeguard.lab.verification.net import Net, Steps

Value = Callable[[Tensor], Tensor]  # scores [N, K] to what is made small, [N]


@dataclass(frozen=True)
class Attack:
    """``steps`` sign steps from each of ``restarts`` random corners, and ``corners`` more."""

    steps: int = 8
    restarts: int = 2
    corners: int = 4
    seed: int = 0

    def __call__(self, net: Net, low: Tensor, high: Tensor, y: Tensor) -> Tensor:
        """Inputs [N, M, *shape] in boxes [low, high] against class y, M = restarts + corners."""
        return self._search(net, low, high, lambda scores: _margin(scores, y))

    def along(self, net: Net, low: Tensor, high: Tensor, row: Tensor) -> Tensor:
        """Inputs [M, *shape] of one box [1, *shape] that make row [K] times the scores small."""
        return self._search(net, low, high, lambda scores: scores @ row)[0]

    def _search(self, net: Net, low: Tensor, high: Tensor, value: Value) -> Tensor:
        g = torch.Generator().manual_seed(self.seed)
        found = [_corner(low, high, g) for _ in range(self.corners)]
        for _ in range(self.restarts):
            found.append(self._descend(net, low, high, value, _corner(low, high, g)))
        return torch.stack(found, 1)

    def _descend(self, net: Net, low: Tensor, high: Tensor, value: Value, q: Tensor) -> Tensor:
        """One run from q; the best input of the run by the net's own scores."""
        best, least = q, torch.full((len(q),), torch.inf, dtype=torch.float64)
        for step in range(self.steps + 1):
            leaf = q.detach().requires_grad_()
            worth = value(through(net, leaf))
            better = (worth < least).view(-1, *[1] * (q.dim() - 1))
            best = torch.where(better, q, best)
            least = torch.minimum(least, worth.detach())
            if step == self.steps:
                break
            (gradient,) = torch.autograd.grad(worth.sum(), leaf)
            size = torch.ceil((high - low) * (1 - step / self.steps))
            q = torch.minimum(torch.maximum(q - size * gradient.sign(), low), high)
        return best


def _corner(low: Tensor, high: Tensor, g: torch.Generator) -> Tensor:
    return torch.where(torch.rand(low.shape, generator=g) < 0.5, low, high)


def _margin(scores: Tensor, y: Tensor) -> Tensor:
    """Score of class y less the best other one, [N]."""
    true = scores.gather(1, y[:, None])[:, 0]
    return true - scores.scatter(1, y[:, None], -torch.inf).amax(1)


def through(net: Net, q: Tensor) -> Tensor:
    """Scores [N, K] with gradients; those of the last layer are not rounded."""
    values = [q]
    for layer in net.layers:
        inputs = [values[i] for i in layer.inputs]
        if isinstance(layer, Steps):
            p = layer.before(inputs)
            if len(values) < net.output and not layer.raw:
                whole = p.clamp(layer.low, layer.high)
                p = whole + (layer.round(p) - whole).detach()
            values.append(p)
        else:
            values.append(layer.run(inputs))
    return values[net.output].flatten(1)
