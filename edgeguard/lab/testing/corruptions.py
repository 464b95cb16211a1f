# SPDX-License-Identifier: Apache-2.0
"""What weather, light, lenses and cables do to a picture, at three strengths. RGB uint8 [h, w, 3].

Kinds and strengths after Hendrycks & Dietterich 2019 (common corruptions), made for signs of 15 to
250 pixels: what blurs or streaks does so in proportion to the picture.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

U8 = npt.NDArray[np.uint8]
F64 = npt.NDArray[np.float64]
Corrupt = Callable[[U8, int, np.random.Generator], U8]
STRENGTHS = (1, 2, 3)


def _whole(x: F64) -> U8:
    return np.asarray(np.clip(np.rint(x), 0, 255), np.uint8)


def _filtered(x: U8, what: ImageFilter.Filter) -> U8:
    return np.asarray(Image.fromarray(x).filter(what))


def _clouds(shape: tuple[int, ...], rng: np.random.Generator) -> F64:
    """Smooth noise in 0 to 1 [h, w]: a coarse grid, enlarged."""
    coarse = Image.fromarray((rng.random((5, 5)) * 255).astype(np.uint8))
    return np.asarray(coarse.resize((shape[1], shape[0]), Image.Resampling.BICUBIC)) / 255.0


def fog(x: U8, strength: int, rng: np.random.Generator) -> U8:
    """A grey veil that is thicker here and thinner there."""
    veil = (0.3, 0.5, 0.7)[strength - 1] * (0.7 + 0.6 * _clouds(x.shape, rng))[..., None]
    return _whole(x * (1 - veil) + 200.0 * veil)


def night(x: U8, strength: int, rng: np.random.Generator) -> U8:
    """Little light, and the noise of a sensor that makes the most of it."""
    share, noise = ((0.4, 4.0), (0.22, 7.0), (0.12, 10.0))[strength - 1]
    return _whole(x * share + rng.normal(0, noise, x.shape))


def noise(x: U8, strength: int, rng: np.random.Generator) -> U8:
    """Gaussian, each pixel for itself."""
    return _whole(x + rng.normal(0, (10.0, 22.0, 40.0)[strength - 1], x.shape))


def defocus(x: U8, strength: int, rng: np.random.Generator) -> U8:
    """A lens that is not sharp."""
    return _filtered(
        x, ImageFilter.GaussianBlur((0.02, 0.04, 0.07)[strength - 1] * min(x.shape[:2]))
    )


def motion(x: U8, strength: int, rng: np.random.Generator) -> U8:
    """The camera moves sideways while the shutter is open."""
    reach = max(1, round((0.06, 0.12, 0.2)[strength - 1] * x.shape[1]))
    return _whole(np.mean([np.roll(x, s, axis=1) for s in range(-reach, reach + 1)], axis=0))


def glare(x: U8, strength: int, rng: np.random.Generator) -> U8:
    """The sun in the picture."""
    h, w = x.shape[:2]
    cy, cx = rng.uniform(0, h), rng.uniform(0, w)
    y, z = np.mgrid[0:h, 0:w]
    width = (0.2, 0.35, 0.6)[strength - 1] * max(h, w)
    light = np.exp(-(((y - cy) ** 2 + (z - cx) ** 2) / (2 * width**2)))[..., None]
    return _whole(x + 300.0 * light)


def rain(x: U8, strength: int, rng: np.random.Generator) -> U8:
    """Bright streaks, and a little veil."""
    h, w = x.shape[:2]
    made = x * 0.9 + 15.0
    for _ in range((6, 14, 30)[strength - 1]):
        at, start = rng.integers(0, w), rng.integers(0, h)
        end = min(h, start + max(2, int(rng.uniform(0.15, 0.5) * h)))
        rows = np.arange(start, end)
        made[rows, (at + (rows - start) // 4) % w] += 90.0
    return _whole(made)


def low_contrast(x: U8, strength: int, rng: np.random.Generator) -> U8:
    """A bleached sign, or haze without structure."""
    return _whole((x - 128.0) * (0.5, 0.3, 0.15)[strength - 1] + 128.0)


def jpeg(x: U8, strength: int, rng: np.random.Generator) -> U8:
    """A link with too little bandwidth."""
    file = io.BytesIO()
    Image.fromarray(x).save(file, "JPEG", quality=(25, 12, 5)[strength - 1])
    return np.asarray(Image.open(file))


def dirt(x: U8, strength: int, rng: np.random.Generator) -> U8:
    """Brown spots on the lens or on the sign."""
    made = x.copy()
    h, w = x.shape[:2]
    y, z = np.mgrid[0:h, 0:w]
    for _ in range((3, 6, 10)[strength - 1]):
        radius = rng.uniform(0.04, 0.12) * max(h, w)
        inside = (y - rng.uniform(0, h)) ** 2 + (z - rng.uniform(0, w)) ** 2 < radius**2
        made[inside] = (70, 55, 40)
    return made


def patch(x: U8, strength: int, rng: np.random.Generator) -> U8:
    """A grey sheet over a part of the sign."""
    made = x.copy()
    h, w = x.shape[:2]
    side = np.sqrt((0.1, 0.2, 0.35)[strength - 1])
    top = int(rng.uniform(0, 1 - side) * h)
    left = int(rng.uniform(0, 1 - side) * w)
    made[top : top + int(side * h), left : left + int(side * w)] = 128
    return made


KINDS: dict[str, Corrupt] = {
    f.__name__: f
    for f in (
        fog, night, noise, defocus, motion, glare, rain, low_contrast, jpeg, dirt, patch
    )
}  # fmt: skip
