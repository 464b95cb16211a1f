# SPDX-License-Identifier: Apache-2.0
"""Feature squeezing (Xu, Evans, Qi; NDSS 2018): a picture whose scores move when it loses detail.

The number is the largest L1 distance between the probabilities of the picture and those of its
squeezed copies. It is taken at two temperatures, each in units of what clean pictures show: at 1 a
picture near a border moves; one that an iterated attack made sure of a wrong class moves only where
the softmax is not saturated (on calibration tracks: of PGD's pictures 45 % are found at 1, 97 %
at both). The squeezers are the runtime's kernels (native/kernels/squeeze.cpp); in
torch each gives the same integers and a gradient: that of the median, and for fewer bits the
identity (BPDA, Athalye, Carlini, Wagner 2018).

Non-local means, the third squeezer of the paper, is left out: no kernel of the runtime has it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from edgeguard import _kernels
from edgeguard.lab.attacks.losses import margin
from edgeguard.lab.attacks.threat import LEVELS
from edgeguard.lab.attacks.victim import U8, Floats, Ints, Victim
from edgeguard.lab.defences.detector import Look
from edgeguard.lab.surrogate_layers import rounded


def depth(x: Tensor, bits: int) -> Tensor:
    """2^bits levels, as `squeeze_depth`; x in [0, 1], of any shape."""
    top = 2**bits - 1
    pixels = rounded(x * LEVELS)
    level = torch.floor((pixels.detach() * top * 2 + LEVELS) / (2 * LEVELS))
    made = torch.floor((level * 2 * LEVELS + top) / (2 * top))
    return (pixels + (made - pixels).detach()) / LEVELS


def median(x: Tensor, size: int) -> Tensor:
    """The median of size x size pixels, as `squeeze_median2` and `squeeze_median3`; x [N, C, H, W]
    in [0, 1]. An even window has its upper median, and looks up and left."""
    before, after = (1, 0) if size == 2 else (1, 1)
    pixels = functional.pad(rounded(x * LEVELS), (before, after, before, after), "replicate")
    n, c, height, width = x.shape
    seen = functional.unfold(pixels.reshape(n * c, 1, *pixels.shape[2:]), size)
    rank = size * size // 2
    return seen.sort(1).values[:, rank].view(n, c, height, width) / LEVELS


@dataclass(frozen=True)
class Squeezer:
    """One way to lose detail: in torch, and as the kernel of one picture [H, W, C]."""

    name: str
    torch: Callable[[Tensor], Tensor]
    kernel: Callable[[U8, U8], None]

    def __call__(self, pixels: U8) -> U8:
        """Pictures [N, C, H, W] squeezed by the kernel."""
        rows = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))
        made = np.empty_like(rows)
        for picture, out in zip(rows, made, strict=True):
            self.kernel(picture, out)
        return np.ascontiguousarray(made.transpose(0, 3, 1, 2))


BITS = 4
SQUEEZERS = {
    s.name: s
    for s in (
        Squeezer(
            f"depth{BITS}",
            lambda x: depth(x, BITS),
            lambda a, out: _kernels.squeeze_depth(a, out, BITS),
        ),
        Squeezer("median2", lambda x: median(x, 2), _kernels.squeeze_median2),
        Squeezer("median3", lambda x: median(x, 3), _kernels.squeeze_median3),
    )
}
SHIPPED = ("median2", "median3")  # chosen on calibration tracks; fewer bits found less
HEATS = (1.0, 3.0)
UNIT = 0.95  # quantile of clean distances that a unit is


class Squeezing:
    """The detector on one deployed model."""

    name = "squeezing"

    def __init__(self, model: Victim) -> None:
        self.model, self.squeezers = model, tuple(SQUEEZERS[s] for s in SHIPPED)
        self.units = np.ones(len(HEATS), np.float32)
        self.limit = float("inf")

    def fit(self, pixels: U8) -> None:
        """Set the units on clean pictures [N, C, H, W]."""
        self.units = np.quantile(self.distances(pixels), UNIT, axis=1).astype(np.float32)

    def look(self, x: Tensor, y: Tensor) -> Look:
        """The guide: every copy is to be read as the same wrong class, each of them surely; then
        the probabilities agree, although their distance has no gradient while they do not."""
        copies = [self.model.scores(v) for v in (x, *(s.torch(x) for s in self.squeezers))]
        apart = [
            (copies[0] / heat).softmax(1).sub((q / heat).softmax(1)).abs().sum(1) / float(unit)
            for heat, unit in zip(HEATS, self.units, strict=True) for q in copies[1:]
        ]  # fmt: skip
        number = torch.stack(apart).amax(0)
        other = torch.stack(copies).mean(0).detach().scatter(1, y[:, None], -torch.inf).argmax(1)
        guide = torch.stack([-margin(c, other) for c in copies]).amin(0)
        return Look(copies[0], number, guide)

    def distances(self, pixels: U8) -> Floats:
        """The largest L1 of all squeezers at each temperature [HEATS, N], of the deployed file."""
        scores = self.model.answers(pixels)
        squeezed = [self.model.answers(s(pixels)) for s in self.squeezers]
        return np.stack([
            np.max([np.abs(_softmax(scores, t) - _softmax(q, t)).sum(1) for q in squeezed], axis=0)
            for t in HEATS
        ]).astype(np.float32)  # fmt: skip

    def measured(self, pixels: U8) -> Floats:
        """The larger of them in units, [N]."""
        return np.asarray((self.distances(pixels) / self.units[:, None]).max(0))

    def labels(self, pixels: U8) -> Ints:
        """What the model says to the picture itself."""
        return self.model.labels(pixels)


def _softmax(scores: Floats, heat: float) -> np.ndarray:
    e = np.exp((scores.astype(np.float64) - scores.max(1, keepdims=True)) / heat)
    return np.asarray(e / e.sum(1, keepdims=True))
