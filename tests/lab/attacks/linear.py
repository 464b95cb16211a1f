# SPDX-License-Identifier: Apache-2.0
"""A linear classifier: every optimum of an attack is known in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgeguard.lab.attacks.victim import images
from edgeguard.lab.surrogate_layers import rounded


@dataclass
class LinearVictim:
    """Scores w x + b of 8-bit images [N, 3, 4, 4]; w [classes, 48], b [classes]. The gradient
    passes the rounding, as in a surrogate."""

    w: Tensor
    b: Tensor

    @classmethod
    def random(cls, seed: int, classes: int = 2) -> LinearVictim:
        """Weights of unit variance; the middle of the box is on every border."""
        g = torch.Generator().manual_seed(seed)
        w = torch.randn(classes, 48, generator=g)
        return cls(w, -w.sum(1) * 0.5)

    def scores(self, x: Tensor) -> Tensor:
        return (rounded(x * 255) / 255).flatten(1) @ self.w.T + self.b

    def labels(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        return np.asarray(self.scores(images(pixels)).argmax(1).numpy(), np.int64)

    def distance(self, x: Tensor, y: Tensor) -> Tensor:
        """Of images [N] to the nearest border in L2, without the box."""
        scores = self.scores(x)
        ways = []
        for k in range(len(self.b)):
            gap = scores.gather(1, y[:, None])[:, 0] - scores[:, k]
            slope = (self.w[y] - self.w[k]).norm(dim=1)
            ways.append(torch.where(y == k, torch.inf, gap / slope.clamp_min(1e-12)))
        return torch.stack(ways, 1).amin(1)

    def near(self, seed: int, n: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        """Pictures around the middle of the box, so that optima lie inside it; their labels."""
        rng = np.random.default_rng(seed)
        pixels = rng.integers(40, 216, (n, 3, 4, 4)).astype(np.uint8)
        return pixels, self.labels(pixels)
