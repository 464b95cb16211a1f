# SPDX-License-Identifier: Apache-2.0
"""Jacobian-based saliency map (Papernot et al. 2016): drive pairs of pixels to the end of the box.

A pixel is one place of the picture with all its channels, as L0 counts it. Its saliency: what the
target's score gains and the others lose when each of its channels goes to the end that the gradient
names. The target is the likeliest wrong class; where the budget ends without success the next
one is tried.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from edgeguard.lab.attacks.losses import likeliest
from edgeguard.lab.attacks.victim import Target

CANDIDATES = 96  # pixels of which pairs are looked at: those that help the target most


@dataclass(frozen=True)
class JSMA:
    """share: of the pixels that may change; targets: how many wrong classes are tried."""

    share: float = 0.1
    targets: int = 5

    def __call__(self, victim: Target, x: Tensor, y: Tensor) -> Tensor:
        """Images [N, C, H, W] with at most that share of changed pixels; clean where none is."""
        best = x.clone()
        classes = likeliest(victim, x, y, self.targets)
        left = torch.arange(len(x))
        for k in range(classes.shape[1]):
            adv, wrong = self._drive(victim, x[left], y[left], classes[left, k])
            best[left[wrong]] = adv[wrong]
            left = left[~wrong]
            if len(left) == 0:
                break
        return best

    def _drive(self, victim: Target, x: Tensor, y: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Towards one target each, until wrong or the budget is spent."""
        adv = x.clone()
        free = torch.ones(len(x), x.shape[2] * x.shape[3], dtype=torch.bool)
        wrong = torch.zeros(len(x), dtype=torch.bool)
        pairs = int(self.share * free.shape[1]) // 2
        for at in range(pairs + 1):
            left = torch.nonzero(~wrong)[:, 0]
            if len(left) == 0:
                break
            scores, gains, losses, ends = self._saliency(victim, adv[left], target[left])
            wrong[left] = scores.argmax(1) != y[left]
            left, keep = left[~wrong[left]], ~wrong[left]
            if len(left) == 0 or at == pairs:
                break
            pair = _best_pair(gains[keep], losses[keep], free[left])
            free[left[:, None], pair] = False
            flat = adv[left].flatten(2)
            index = pair[:, None, :].expand(-1, x.shape[1], -1)
            flat.scatter_(2, index, ends[keep].flatten(2).gather(2, index))
            adv[left] = flat.view(len(left), *x.shape[1:])
        return adv, wrong

    @staticmethod
    def _saliency(
        victim: Target, x: Tensor, target: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Scores, what each pixel gains the target and the sum of the others [N, H * W], and the
        end of the box that each value would go to."""
        leaf = x.detach().requires_grad_()
        log_p = victim.scores(leaf).log_softmax(1)
        own = log_p.gather(1, target[:, None])[:, 0]
        rest = log_p.exp().sum(1) - own.exp()
        (up,) = torch.autograd.grad(own.sum(), leaf, retain_graph=True)
        (down,) = torch.autograd.grad(rest.sum(), leaf)
        ends = (up > 0).float()
        room = ends - x
        gains, losses = (up * room).sum(1).flatten(1), (down * room).sum(1).flatten(1)
        return log_p.detach(), gains, losses, ends


def _best_pair(gains: Tensor, losses: Tensor, free: Tensor) -> Tensor:
    """The two free pixels [N, 2] with the largest gain times loss of the others."""
    masked = gains.masked_fill(~free, -torch.inf)
    top = masked.topk(min(CANDIDATES, masked.shape[1]), 1).indices
    a, b = gains.gather(1, top), losses.gather(1, top)
    gain, loss = a[:, :, None] + a[:, None, :], b[:, :, None] + b[:, None, :]
    value = torch.where((gain > 0) & (loss < 0), -gain * loss, gain.clamp_max(0) - 1)
    value = value + torch.diag(torch.full((value.shape[1],), -torch.inf)).nan_to_num(nan=0.0)
    usable = free.gather(1, top)
    value = value.masked_fill(~(usable[:, :, None] & usable[:, None, :]), -torch.inf)
    flat = value.flatten(1).argmax(1)
    width = value.shape[1]
    return torch.stack([top.gather(1, (flat // width)[:, None])[:, 0],
                        top.gather(1, (flat % width)[:, None])[:, 0]], 1)  # fmt: skip
