# SPDX-License-Identifier: Apache-2.0
"""Black and white stickers on a sign, as in Eykholt et al. (2018): rectangles that stay in place.

Their places and sizes are found by random search on the model's scores; the attack needs no
gradients and could be cut from tape.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

U8 = npt.NDArray[np.uint8]
Score = Callable[[list[U8]], float]

MOST_COVER = 0.22  # share of the sign's box that stickers may cover
BLACK, WHITE = (24, 24, 24), (232, 232, 232)


@dataclass(frozen=True)
class Sticker:
    """A rectangle: centre, width and height as shares of the picture."""

    x: float
    y: float
    width: float
    height: float
    white: bool

    def on(self, picture: U8) -> None:
        """Stick it on a picture, in place."""
        rows, columns = picture.shape[:2]
        left, right = (round((self.x + s * self.width / 2) * columns) for s in (-1, 1))
        top, bottom = (round((self.y + s * self.height / 2) * rows) for s in (-1, 1))
        colour = WHITE if self.white else BLACK
        picture[max(top, 0) : max(bottom, top + 1), max(left, 0) : max(right, left + 1)] = colour


@dataclass(frozen=True)
class Layout:
    """Stickers on a sign."""

    stickers: tuple[Sticker, ...]

    @property
    def cover(self) -> float:
        """Share of the picture under stickers."""
        return sum(s.width * s.height for s in self.stickers)

    def on(self, picture: U8) -> U8:
        """The picture [h, w, 3] with the stickers on it."""
        marked = picture.copy()
        for sticker in self.stickers:
            sticker.on(marked)
        return marked


def _random(rng: np.random.Generator) -> Sticker:
    x, y = 0.5 + rng.uniform(-0.3, 0.3, 2)
    width, height = rng.uniform(0.08, 0.34, 2)
    return Sticker(float(x), float(y), float(width), float(height), bool(rng.random() < 0.5))


def _changed(layout: Layout, rng: np.random.Generator) -> Layout:
    """One sticker more, less or elsewhere."""
    stickers = list(layout.stickers)
    if stickers and (len(stickers) == 4 or rng.random() < 0.6):
        stickers.pop(int(rng.integers(len(stickers))))
    if len(stickers) < 4:
        stickers.append(_random(rng))
    return Layout(tuple(stickers))


def search(frames: list[U8], score: Score, rng: np.random.Generator, tries: int = 400) -> Layout:
    """The layout with the highest score: random starts, then changes that help."""
    best, value = Layout(()), -np.inf
    starts = (Layout(tuple(_random(rng) for _ in range(3))) for _ in range(tries // 4))
    climbs = (None for _ in range(tries - tries // 4))
    for start in tqdm(chain(starts, climbs), total=tries, desc="stickers", disable=None):
        layout = start or _changed(best, rng)
        if layout.cover > MOST_COVER:
            continue
        found = score([layout.on(frame) for frame in frames])
        if found > value:
            best, value = layout, found
    return best
