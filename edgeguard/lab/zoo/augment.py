# SPDX-License-Identifier: Apache-2.0
"""Random views of a sign, drawn for a whole batch at once: pose, light, optics, occlusion.

Every function takes and returns images float32 [N, 3, H, W] in [0, 1].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

# What a sign becomes in a mirror (left-right): another class, itself, or (absent) no sign at all.
MIRROR = {11: 11, 12: 12, 13: 13, 15: 15, 17: 17, 18: 18, 19: 20, 20: 19, 22: 22, 26: 26, 30: 30}
MIRROR |= {33: 34, 34: 33, 35: 35, 36: 37, 37: 36, 38: 39, 39: 38}


@dataclass(frozen=True)
class Augment:
    """How far each kind of variation goes; shares are the part of a batch that gets it."""

    degrees: float = 12.0  # rotation
    scale: float = 0.16  # +- relative size, drawn log-uniformly
    shift: float = 0.10  # +- share of half the image
    shear: float = 0.12
    perspective: float = 0.08
    gain: tuple[float, float] = (0.4, 1.5)  # light, log-uniform
    offset: float = 0.12
    gamma: float = 0.35  # +- in log
    tint: float = 0.10  # +- relative gain of each colour
    grey: float = 0.0  # share that loses its colours, partly or all
    shadow: float = 0.0  # share with a shadow across the sign
    blur: float = 0.4  # share of the batch
    coarse: float = 0.15  # share seen at a lower resolution first
    noise: float = 0.03  # largest standard deviation
    erase: float = 0.2  # share with a patch covered
    mirror: float = 0.4  # share of the classes that have a mirror image

    def __call__(self, x: Tensor, y: Tensor, g: Generator) -> tuple[Tensor, Tensor]:
        """Return varied images and what they now show (a mirrored 'keep right' is 'keep left')."""
        x, y = mirrored(x, y, self.mirror, g)
        x = self.pose(x, g)
        x = lower_resolution(x, self.coarse, g)
        x = blurred(x, self.blur, g)
        x = erased(x, self.erase, g)
        x = greyed(x, self.grey, g)
        x = shadowed(x, self.shadow, g)
        x = x + torch.randn(x.shape, generator=g) * uniform(len(x), 0.0, self.noise, g)
        x = self.light(x, g)
        return x.clamp_(0.0, 1.0).mul_(255.0).round_().div_(255.0), y

    def pose(self, x: Tensor, g: Generator) -> Tensor:
        """Rotation, size, shift, shear and perspective as one resampling."""
        n, _, height, width = x.shape
        angle = uniform(n, -1, 1, g).view(n) * math.radians(self.degrees)
        size = torch.exp(uniform(n, -1, 1, g).view(n) * self.scale)
        aspect = torch.exp(uniform(n, -1, 1, g).view(n) * self.scale / 3)
        rows = torch.zeros(n, 3, 3)
        rows[:, 0, 0] = angle.cos() * size * aspect
        rows[:, 0, 1] = -angle.sin() * size + uniform(n, -self.shear, self.shear, g).view(n)
        rows[:, 1, 0] = angle.sin() * size
        rows[:, 1, 1] = angle.cos() * size / aspect
        rows[:, :2, 2] = torch.rand(n, 2, generator=g) * 2 * self.shift - self.shift
        rows[:, 2, :2] = torch.rand(n, 2, generator=g) * 2 * self.perspective - self.perspective
        rows[:, 2, 2] = 1.0
        across = (torch.arange(width) * 2 + 1) / width - 1
        down = (torch.arange(height) * 2 + 1) / height - 1
        points = torch.stack(
            [
                across.expand(height, width),
                down[:, None].expand(height, width),
                torch.ones(height, width),
            ]
        )
        moved = rows @ points.view(3, -1)
        grid = (moved[:, :2] / moved[:, 2:]).transpose(1, 2).reshape(n, height, width, 2)
        return functional.grid_sample(x, grid, padding_mode="reflection", align_corners=False)

    def light(self, x: Tensor, g: Generator) -> Tensor:
        """Gain, gamma, haze and a tint."""
        n = len(x)
        low, high = (math.log(v) for v in self.gain)
        gain = torch.exp(uniform(n, low, high, g)) * (
            1 + self.tint * (torch.rand(n, 3, 1, 1, generator=g) * 2 - 1)
        )
        gamma = torch.exp(uniform(n, -self.gamma, self.gamma, g))
        return (
            x.clamp(1e-4, 1.0).pow(gamma) * gain + uniform(n, -self.offset / 2, self.offset, g)
        ).clamp(0.0, 1.0)


def uniform(n: int, low: float, high: float, g: Generator) -> Tensor:
    """One number per image, [N, 1, 1, 1]."""
    return torch.rand(n, 1, 1, 1, generator=g) * (high - low) + low


def chosen(n: int, share: float, g: Generator) -> Tensor:
    """Indices of a random share of n images."""
    return torch.nonzero(torch.rand(n, generator=g) < share).view(-1)


def mirrored(x: Tensor, y: Tensor, share: float, g: Generator) -> tuple[Tensor, Tensor]:
    """Mirror a share of the images whose mirror image is a sign too."""
    table = torch.tensor([MIRROR.get(k, -1) for k in range(int(y.max()) + 1)])
    pick = chosen(len(x), share, g)
    pick = pick[table[y[pick]] >= 0]
    x, y = x.clone(), y.clone()
    x[pick], y[pick] = x[pick].flip(-1), table[y[pick]]
    return x, y


def lower_resolution(x: Tensor, share: float, g: Generator) -> Tensor:
    """Show a share of the images as a camera farther away would have (12 to 24 pixels)."""
    side = int(torch.randint(12, 25, (1,), generator=g))
    pick = chosen(len(x), share, g)
    if len(pick):
        far = functional.interpolate(x[pick], size=(side, side), mode="area")
        x[pick] = functional.interpolate(
            far, size=x.shape[-2:], mode="bilinear", align_corners=False
        )
    return x


def blurred(x: Tensor, share: float, g: Generator) -> Tensor:
    """Blur a share of the images, along rows and columns by strengths of their own."""
    pick = chosen(len(x), share, g)
    if len(pick):
        part = x[pick]
        for dim in (-1, -2):
            strength = uniform(len(part), 0.0, 0.33, g)
            for _ in range(2):
                neighbours = torch.roll(part, 1, dim) + torch.roll(part, -1, dim)
                part = part * (1 - 2 * strength) + neighbours * strength
        x[pick] = part
    return x


def greyed(x: Tensor, share: float, g: Generator) -> Tensor:
    """Take colour from a share of the images (dusk, bleached paint)."""
    pick = chosen(len(x), share, g)
    if len(pick):
        part = x[pick]
        x[pick] = torch.lerp(part, part.mean(1, keepdim=True), uniform(len(part), 0.3, 1.0, g))
    return x


def shadowed(x: Tensor, share: float, g: Generator) -> Tensor:
    """Darken one side of a straight, more or less soft edge in a share of the images."""
    pick = chosen(len(x), share, g)
    if len(pick) == 0:
        return x
    n, height, width = len(pick), x.shape[-2], x.shape[-1]
    angle = torch.rand(n, 1, 1, generator=g) * 2 * math.pi
    across = (torch.arange(width) * 2 + 1) / width - 1
    down = ((torch.arange(height) * 2 + 1) / height - 1)[:, None]
    edge = uniform(n, -0.5, 0.5, g)[:, 0]
    sharpness = torch.exp(uniform(n, 0.7, 3.4, g))[:, 0]
    lit = torch.sigmoid((angle.cos() * across + angle.sin() * down - edge) * sharpness)
    dark = uniform(n, 0.2, 0.7, g)
    x[pick] = x[pick] * (dark + (1 - dark) * lit[:, None])
    return x


def erased(x: Tensor, share: float, g: Generator) -> Tensor:
    """Cover a rectangle of a share of the images with one colour (branches, stickers, snow)."""
    n, _, height, width = x.shape
    size = torch.rand(n, 2, generator=g) * 0.25 + 0.1
    corner = torch.rand(n, 2, generator=g) * (1 - size)
    across, down = torch.arange(width) / width, torch.arange(height) / height
    inside_x = (across >= corner[:, :1]) & (across < (corner + size)[:, :1])
    inside_y = (down >= corner[:, 1:]) & (down < (corner + size)[:, 1:])
    hit = torch.rand(n, 1, 1, generator=g) < share
    mask = (inside_y[:, :, None] & inside_x[:, None, :] & hit)[:, None]
    return torch.where(mask, torch.rand(n, 3, 1, 1, generator=g), x)
