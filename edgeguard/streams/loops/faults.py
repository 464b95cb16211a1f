# SPDX-License-Identifier: Apache-2.0
"""What happens to the frames of a drive from the onset on: light, weather, cables, a stuck camera.

Each is made for one drive from its seed, and called with a frame and the moment.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeguard.streams.loops.fault import Fault, Make, Moment, Transform
from edgeguard.streams.loops.vehicle import U8

FLASHES, CUTS = 100, 1500  # steps from one to the next


def _whole(x: npt.NDArray[np.floating[Any]]) -> U8:
    return np.asarray(np.clip(np.rint(x), 0, 255), np.uint8)


def dark(share: float, seed: int) -> Transform:
    """Less light."""
    return lambda frame, moment: _whole(frame * share)


def blackout(seed: int) -> Transform:
    """None at all."""
    return lambda frame, moment: np.zeros_like(frame)


def flash(seed: int) -> Transform:
    """White for half a second, again and again."""
    return lambda frame, moment: np.full_like(frame, 255) if moment.since % FLASHES < 25 else frame


def fog(seed: int) -> Transform:
    """A grey veil, thicker far ahead."""

    def made(frame: U8, moment: Moment) -> U8:
        veil = np.linspace(0.9, 0.4, frame.shape[0])[:, None, None]
        return _whole(frame * (1 - veil) + 190.0 * veil)

    return made


def glare(seed: int) -> Transform:
    """The sun in the middle of the picture."""

    def made(frame: U8, moment: Moment) -> U8:
        y, x = np.mgrid[0 : frame.shape[0], 0 : frame.shape[1]]
        light = np.exp(-((y - 42) ** 2 + (x - 48) ** 2) / (2 * 24.0**2))
        return _whole(frame + 300.0 * light[..., None])

    return made


def rain(seed: int) -> Transform:
    """Streaks that are elsewhere in every frame."""
    rng = np.random.default_rng(seed)

    def made(frame: U8, moment: Moment) -> U8:
        x = frame.astype(np.float64)
        for _ in range(40):
            at, top = rng.integers(0, frame.shape[1]), rng.integers(0, frame.shape[0] - 15)
            x[top : top + 15, at] += 110.0
        return _whole(x)

    return made


def noise(strength: float, seed: int) -> Transform:
    """Gaussian, of so many grey levels."""
    rng = np.random.default_rng(seed)
    return lambda frame, moment: _whole(frame + rng.normal(0, strength, frame.shape))


def freeze(seed: int) -> Transform:
    """The same picture from now on."""
    held: list[U8] = []

    def made(frame: U8, moment: Moment) -> U8:
        if moment.since >= 0 and not held:
            held.append(frame)
        return held[0] if held else frame

    return made


def late(steps: int, seed: int) -> Transform:
    """Pictures come that many steps after they were taken, with the stamps of their arrival; until
    the first of them is there, none comes."""
    held: deque[U8] = deque(maxlen=steps + 1)

    def made(frame: U8, moment: Moment) -> U8 | None:
        held.append(frame)
        return None if 0 <= moment.since < steps else held[0]

    return made


def lost(seed: int) -> Transform:
    """No frame any more."""
    return lambda frame, moment: None


def sparse(kept: int, of: int, seed: int) -> Transform:
    """So many frames arrive of so many, in a row, then the others do not."""
    return lambda frame, moment: frame if moment.since % of < kept else None


def cable_cut(seed: int) -> Fault:
    """The cable to the microcontroller is cut for five seconds, again and again; a microcontroller
    may be armed three times a minute."""
    return Fault(cut=lambda moment: moment.since % CUTS < 250, period=CUTS)


def framed(make: Any, *settings: float, period: int | None = None) -> Make:
    """A fault of frames alone; settings come before the seed."""
    return lambda seed: Fault(frame=make(*settings, seed), period=period)


FRAMES: dict[str, Make] = {
    "dark 0.5": framed(dark, 0.5),
    "dark 0.2": framed(dark, 0.2),
    "dark 0.05": framed(dark, 0.05),
    "fog": framed(fog),
    "glare": framed(glare),
    "rain": framed(rain),
    "noise 16": framed(noise, 16.0),
    "noise 32": framed(noise, 32.0),
    "freeze": framed(freeze),
    "blackout": framed(blackout),
    "flash": framed(flash, period=FLASHES),
    "late 3": framed(late, 3),
    "late 10": framed(late, 10),
    "no frames": framed(lost),
    "every second": framed(sparse, 1, 2),
    "five of ten": framed(sparse, 5, 10),
}
