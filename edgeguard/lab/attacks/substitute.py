# SPDX-License-Identifier: Apache-2.0
"""Papernot et al. (2017): learn a substitute from the answers of the black box, attack that.

The attacker has a few pictures of his own. Jacobian-based augmentation doubles them where the
substitute's answer changes fastest, and the black box labels them, until the queries are spent.
The substitute is then attacked by one FGSM step, and the pictures are shown to the black box.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from edgeguard.lab.attacks.threat import LEVELS, on_grid
from edgeguard.lab.attacks.victim import U8, Ints, images, to_pixels

Labels = Callable[[U8], Ints]
MOST_QUERIES = 6400


class SmallNet(nn.Module):
    """What the attacker trains: two convolutions, two dense layers, as in the paper."""

    def __init__(self, channels: int, classes: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        )  # fmt: skip
        self.head = nn.Sequential(
            nn.Linear(64 * (size[0] // 4) * (size[1] // 4), 200), nn.ReLU(),
            nn.Linear(200, classes),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Scores [N, classes] of images in [0, 1]."""
        return self.head(self.features(x - 0.5))  # type: ignore[no-any-return]


@dataclass
class Substitute:
    """A trained one; a victim for the attacks here (`scores`)."""

    net: SmallNet
    queries: int

    def scores(self, x: Tensor) -> Tensor:
        """Scores [N, n]."""
        made: Tensor = self.net(x)
        return made

    def labels(self, pixels: U8) -> Ints:
        """Its own answers."""
        with torch.no_grad():
            return np.asarray(self.scores(images(pixels)).argmax(1).numpy(), np.int64)


@dataclass(frozen=True)
class Papernot:
    """step: lambda of the augmentation; epochs: of each round."""

    queries: int = MOST_QUERIES
    step: float = 0.1
    epochs: int = 6
    last_epochs: int = 12
    seed: int = 0

    def learn(self, label: Labels, own: U8, classes: int) -> Substitute:
        """own: the attacker's pictures uint8 [N, C, H, W]; label: the black box."""
        torch.manual_seed(self.seed)
        g = torch.Generator().manual_seed(self.seed)
        x = images(own[: self.queries])
        y = torch.from_numpy(label(to_pixels(x)))
        made = Substitute(SmallNet(x.shape[1], classes, (x.shape[2], x.shape[3])), len(x))
        sign = 1
        while made.queries < self.queries:
            _train(made.net, x, y, self.epochs, g)
            fresh = self._augmented(made, x, y, sign, g)[: self.queries - made.queries]
            sign = -sign
            answers = torch.from_numpy(label(to_pixels(fresh)))
            x, y = torch.cat([x, fresh]), torch.cat([y, answers])
            made.queries += len(fresh)
        _train(made.net, x, y, self.last_epochs, g)
        return made

    def _augmented(self, made: Substitute, x: Tensor, y: Tensor, sign: int, g: Generator) -> Tensor:
        """x + lambda * sign of the gradient of the score of the black box's label."""
        found = []
        order = torch.randperm(len(x), generator=g)
        for rows in order.split(256):
            leaf = x[rows].detach().requires_grad_()
            own = made.scores(leaf).gather(1, y[rows][:, None]).sum()
            (gradient,) = torch.autograd.grad(own, leaf)
            found.append(on_grid((x[rows] + sign * self.step * gradient.sign()).clamp(0, 1)))
        return torch.cat(found)


def _train(net: SmallNet, x: Tensor, y: Tensor, epochs: int, g: Generator) -> None:
    """Adam, with small shifts: the attacker has few pictures."""
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=g).split(64):
            shift = torch.randint(-2, 3, (2,), generator=g).tolist()
            batch = torch.roll(x[rows], shift, (2, 3)) + torch.randn(1, generator=g) * 8 / LEVELS
            optimizer.zero_grad()
            functional.cross_entropy(net(batch), y[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
