# SPDX-License-Identifier: Apache-2.0
"""What happens to the frames of a drive from the onset on: light, weather, cables, a stuck camera.

Each is made for one drive from its seed, and called with (frame, steps since onset).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeguard.streams.loops.drive import Transform
from edgeguard.streams.loops.vehicle import U8

Make = Callable[[int], Transform]
"""seed -> transform"""


def _whole(x: npt.NDArray[np.floating[Any]]) -> U8:
    return np.asarray(np.clip(np.rint(x), 0, 255), np.uint8)


def dark(share: float, seed: int) -> Transform:
    """Less light."""
    return lambda frame, since: _whole(frame * share)


def blackout(seed: int) -> Transform:
    """None at all."""
    return lambda frame, since: np.zeros_like(frame)


def flash(seed: int) -> Transform:
    """White for half a second, again and again."""
    return lambda frame, since: np.full_like(frame, 255) if since % 100 < 25 else frame


def fog(seed: int) -> Transform:
    """A grey veil, thicker far ahead."""

    def made(frame: U8, since: int) -> U8:
        veil = np.linspace(0.9, 0.4, frame.shape[0])[:, None, None]
        return _whole(frame * (1 - veil) + 190.0 * veil)

    return made


def glare(seed: int) -> Transform:
    """The sun in the middle of the picture."""

    def made(frame: U8, since: int) -> U8:
        y, x = np.mgrid[0 : frame.shape[0], 0 : frame.shape[1]]
        light = np.exp(-((y - 42) ** 2 + (x - 48) ** 2) / (2 * 24.0**2))
        return _whole(frame + 300.0 * light[..., None])

    return made


def rain(seed: int) -> Transform:
    """Streaks that are elsewhere in every frame."""
    rng = np.random.default_rng(seed)

    def made(frame: U8, since: int) -> U8:
        x = frame.astype(np.float64)
        for _ in range(40):
            at, top = rng.integers(0, frame.shape[1]), rng.integers(0, frame.shape[0] - 15)
            x[top : top + 15, at] += 110.0
        return _whole(x)

    return made


def noise(strength: float, seed: int) -> Transform:
    """Gaussian, of so many grey levels."""
    rng = np.random.default_rng(seed)
    return lambda frame, since: _whole(frame + rng.normal(0, strength, frame.shape))


def freeze(seed: int) -> Transform:
    """The same picture from now on."""
    held: list[U8] = []

    def made(frame: U8, since: int) -> U8:
        if since >= 0 and not held:
            held.append(frame)
        return held[0] if held else frame

    return made


def late(steps: int, seed: int) -> Transform:
    """Pictures come that many steps after they were taken, with the stamps of their arrival."""
    held: deque[U8] = deque(maxlen=steps + 1)

    def made(frame: U8, since: int) -> U8:
        held.append(frame)
        return held[0]

    return made


def lost(seed: int) -> Transform:
    """No frame any more."""
    return lambda frame, since: None


def sparse(seed: int) -> Transform:
    """Every second frame is dropped."""
    return lambda frame, since: frame if since % 2 else None


CELLS: dict[str, Make | None] = {
    "clean": None,
    "dark 0.5": partial(dark, 0.5),
    "dark 0.2": partial(dark, 0.2),
    "dark 0.05": partial(dark, 0.05),
    "blackout": blackout,
    "flash": flash,
    "fog": fog,
    "glare": glare,
    "rain": rain,
    "noise 32": partial(noise, 32.0),
    "freeze": freeze,
    "late 10": partial(late, 10),
    "no frames": lost,
    "every second": sparse,
}
