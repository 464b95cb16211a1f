# SPDX-License-Identifier: Apache-2.0
"""What an attack makes larger, [N] for scores [N, n] and true labels [N]."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from edgeguard.lab.attacks.victim import Target

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(scores: Tensor, y: Tensor) -> Tensor:
    """Flat where the model is sure: see dlr."""
    return functional.cross_entropy(scores, y, reduction="none")


def margin(scores: Tensor, y: Tensor) -> Tensor:
    """The best other score less the true one; above 0 the answer is wrong."""
    return best_other(scores, y)[0] - scores.gather(1, y[:, None])[:, 0]


def dlr(scores: Tensor, y: Tensor) -> Tensor:
    """Difference of logits ratio (Croce & Hein 2020): the margin over the spread of the first and
    the third score, so that no scale of the scores hides it. Two classes: the margin."""
    if scores.shape[1] < 3:
        return margin(scores, y)
    top = scores.topk(3, 1).values
    return margin(scores, y) / (top[:, 0] - top[:, 2]).clamp_min(1e-6)


def towards(target: Tensor) -> Loss:
    """The margin of a target class [N] over the best other."""
    return lambda scores, y: -margin(scores, target)


def best_other(scores: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The largest score but the true class's, and its class, both [N]."""
    masked = scores.scatter(1, y[:, None], -torch.inf)
    found = masked.max(1)
    return found.values, found.indices


def likeliest(victim: Target, x: Tensor, y: Tensor, count: int) -> Tensor:
    """The wrong classes with the largest scores on the clean images, [N, count]."""
    with torch.no_grad():
        scores = victim.scores(x).scatter(1, y[:, None], -torch.inf)
    return scores.topk(min(count, scores.shape[1] - 1), 1).indices


def climb(victim: Target, x: Tensor, y: Tensor, loss: Loss) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient of the loss towards x, the loss [N], and whether the answer is wrong [N]."""
    leaf = x.detach().requires_grad_()
    with torch.enable_grad():
        scores = victim.scores(leaf)
        value = loss(scores, y)
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
    return gradient, value.detach(), scores.detach().argmax(1) != y


def fooled(victim: Target, x: Tensor, y: Tensor) -> Tensor:
    """Whether the answer is wrong, [N]."""
    with torch.no_grad():
        wrong: Tensor = victim.scores(x).argmax(1) != y
    return wrong
