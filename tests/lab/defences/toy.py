# SPDX-License-Identifier: Apache-2.0
"""A small network on scikit-learn's digits, trained in a second: something to attack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from edgeguard.lab.attacks.victim import images

torch.set_num_threads(1)  # two wait for each other on a busy machine
Encode = Callable[[Tensor], Tensor]


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Pictures uint8 [1797, 1, 8, 8] and labels."""
    found = load_digits()
    return (found.images[:, None] * 15.9375).astype(np.uint8), found.target.astype(np.int64)


@dataclass
class Net:
    """An attackable network: scores are factor * net(encode(x))."""

    net: nn.Module
    encode: Encode = lambda x: x
    factor: float = 1.0

    def scores(self, x: Tensor) -> Tensor:
        return self.factor * self.net(self.encode(x))

    def labels(self, pixels: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(self.scores(images(pixels)).argmax(1).numpy(), np.int64)


def trained(
    pixels: np.ndarray, taught: Tensor, encode: Encode = lambda x: x, channels: int = 1,
    seed: int = 0, epochs: int = 8, harden: Callable[[Net, Tensor, Tensor], Tensor] | None = None,
) -> Net:  # fmt: skip
    """A network that learned classes [N] or probabilities [N, 10]."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64 * channels, 64), nn.ReLU(), nn.Linear(64, 10))
    made, x = Net(net, encode), images(pixels)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    g = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=g).split(64):
            seen = x[rows] if harden is None else harden(made, x[rows], taught[rows])
            loss = functional.cross_entropy(made.scores(seen), taught[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    net.requires_grad_(False)
    return made
