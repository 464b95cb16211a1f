# SPDX-License-Identifier: Apache-2.0
"""Expectation over transformations (Athalye et al. 2018): an attack that survives what a camera
does to a picture: scale, crop, rotation, perspective, brightness, noise, JPEG.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from PIL import Image
from torch import Generator, Tensor
from torch.nn import functional

from edgeguard.lab.attacks.losses import Loss, margin
from edgeguard.lab.attacks.threat import LEVELS, Threat
from edgeguard.lab.attacks.victim import U8, Target
from edgeguard.lab.surrogate_layers import rounded

_LUMA = (
    16, 11, 10, 16, 24, 40, 51, 61,
    12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77,
    24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
"""Luminance quantization of JPEG, Annex K of ITU-T T.81."""
_COLOUR = [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]


@dataclass(frozen=True)
class Views:
    """Ranges of what may happen to a picture; each view is drawn anew."""

    rotation_deg: float = 10.0
    scale: float = 0.15  # larger or smaller by at most this share
    shift: float = 0.06  # crop: share of the picture
    tilt: float = 0.1  # perspective
    brightness: float = 0.25
    noise: float = 0.02
    jpeg: tuple[int, int] = (60, 95)  # quality

    @property
    def names(self) -> tuple[str, ...]:
        """For the threat of a result."""
        return tuple(f"{name} {value}" for name, value in vars(self).items())

    def geometry(self, n: int, g: Generator) -> Tensor:
        """Homographies [n, 3, 3] from a view's coordinates to the picture's, in [-1, 1]."""
        turn, size, dx, dy, px, py = (self._uniform(n, g) for _ in range(6))
        angle = turn * math.radians(self.rotation_deg)
        zoom = 1 / (1 + size * self.scale)
        zero, one = torch.zeros(n), torch.ones(n)
        rows = [
            [zoom * angle.cos(), -zoom * angle.sin(), 2 * dx * self.shift],
            [zoom * angle.sin(), zoom * angle.cos(), 2 * dy * self.shift],
            [px * self.tilt, py * self.tilt, one + zero],
        ]
        return torch.stack([torch.stack(row, 1) for row in rows], 1)

    def light(self, x: Tensor, g: Generator) -> Tensor:
        """Brightness and noise."""
        gain = 1 + self.brightness * self._uniform(len(x), g)
        noise = torch.randn(x.shape, generator=g) * self.noise
        return (x * gain[:, None, None, None] + noise).clamp(0, 1)

    def quality(self, n: int, g: Generator) -> list[int]:
        """JPEG qualities of n pictures."""
        low, high = self.jpeg
        return [int(q) for q in torch.randint(low, high + 1, (n,), generator=g)]

    def __call__(self, x: Tensor, g: Generator) -> Tensor:
        """One view of each image [N, 3, H, W]; differentiable."""
        seen = self.light(warped(x, self.geometry(len(x), g)), g)
        return jpeg(seen, self.quality(len(x), g))

    @staticmethod
    def _uniform(n: int, g: Generator) -> Tensor:
        return torch.rand(n, generator=g) * 2 - 1


TRAINING = Views()
HELD_OUT = Views(15.0, 0.25, 0.1, 0.15, 0.4, 0.04, (40, 95))
"""Wider than what an attack is made on (E11)."""


def warped(x: Tensor, homographies: Tensor) -> Tensor:
    """Images seen through homographies [N, 3, 3]; the border repeats."""
    height, width = x.shape[2:]
    ys = (torch.arange(height) + 0.5) / height * 2 - 1
    xs = (torch.arange(width) + 0.5) / width * 2 - 1
    grid = torch.stack([xs.expand(height, width), ys[:, None].expand(height, width),
                        torch.ones(height, width)], 2)  # fmt: skip
    seen = torch.einsum("nij,hwj->nhwi", homographies, grid)
    places = seen[..., :2] / seen[..., 2:].clamp_min(0.1)
    return functional.grid_sample(x, places, padding_mode="border", align_corners=False)


@cache
def _dct() -> Tensor:
    """Orthonormal DCT-II [8, 8]."""
    k, n = torch.arange(8.0)[:, None], torch.arange(8.0)
    rows = torch.cos(math.pi * (n + 0.5) * k / 8) * math.sqrt(2 / 8)
    rows[0] /= math.sqrt(2)
    return rows


def jpeg(x: Tensor, quality: list[int]) -> Tensor:
    """JPEG's loss with straight-through rounding, all planes with the luminance table, no colour
    subsampling; sides are padded to whole blocks."""
    height, width = x.shape[2:]
    padded = functional.pad(x, (0, -width % 8, 0, -height % 8), mode="replicate")
    to_ycc = torch.tensor(_COLOUR)
    planes = torch.einsum("ij,njhw->nihw", to_ycc, padded * LEVELS)
    planes = torch.cat([planes[:, :1] - 128, planes[:, 1:]], 1)
    n, c, h, w = planes.shape
    blocks = planes.view(n, c, h // 8, 8, w // 8, 8).transpose(3, 4)
    d = _dct()
    table = torch.tensor(_LUMA, dtype=torch.float32).view(8, 8)
    scale = torch.tensor([5000 / q if q < 50 else 200 - 2 * q for q in quality]) / 100
    steps = (table * scale[:, None, None]).round().clamp(1, 255)[:, None, None, None]
    kept = rounded(d @ blocks @ d.T / steps) * steps
    back = (d.T @ kept @ d).transpose(3, 4).reshape(n, c, h, w)
    back = torch.cat([back[:, :1] + 128, back[:, 1:]], 1)
    rgb = torch.einsum("ij,njhw->nihw", torch.linalg.inv(to_ycc), back) / LEVELS
    return rgb[:, :, :height, :width].clamp(0, 1)


def real_jpeg(picture: U8, quality: int) -> U8:
    """A picture [H, W, 3] through Pillow's JPEG: what judges, in place of the approximation."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


@dataclass(frozen=True)
class EOT:
    """Ascent on the mean loss over views, within a threat (L-inf, L2)."""

    threat: Threat
    views: Views = TRAINING
    draws: int = 8
    steps: int = 40
    step: float = 0.05  # share of the radius
    loss: Loss = margin
    seed: int = 0

    def __call__(self, victim: Target, x: Tensor, y: Tensor) -> Tensor:
        """Images [N, C, H, W] inside the threat."""
        g = torch.Generator().manual_seed(self.seed)
        adv = self.threat.start(x, g)
        for _ in range(self.steps):
            leaf = adv.detach().requires_grad_()
            many = leaf.repeat_interleave(self.draws, 0)
            scores = victim.scores(self.views(many, g))
            value = self.loss(scores, y.repeat_interleave(self.draws)).mean()
            (gradient,) = torch.autograd.grad(value, leaf)
            step = self.threat.steepest(gradient) * (self.step * self.threat.bound)
            adv = self.threat.project(adv + step, x)
        return adv


def survival(victim: Target, adv: Tensor, y: Tensor, views: Views, draws: int, seed: int) -> Tensor:
    """Share of views [N] in which the deployed model is wrong; JPEG by Pillow."""
    g = torch.Generator().manual_seed(seed)
    many = adv.repeat_interleave(draws, 0)
    with torch.no_grad():
        seen = views.light(warped(many, views.geometry(len(many), g)), g)
    pictures = (seen * LEVELS).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    packed = [real_jpeg(p, q) for p, q in zip(pictures, views.quality(len(many), g), strict=True)]
    labels = victim.labels(np.ascontiguousarray(np.stack(packed).transpose(0, 3, 1, 2)))
    wrong = torch.from_numpy(labels) != y.repeat_interleave(draws)
    return wrong.view(len(adv), draws).float().mean(1)
