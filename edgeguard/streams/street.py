# SPDX-License-Identifier: Apache-2.0
"""The picture around a sign: a street drawn from a seed, so that frames look like camera frames.

Nothing reads it but people; the members get the sign by its box.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]

WIDTH, HEIGHT = 640, 480
_HORIZON = 230
_SPARE = 320  # columns beyond the frame, so that the view can drift


class Street:
    """A street scene in BGR that drifts a little from frame to frame."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._scene = _scene(rng)
        self._phase = float(rng.uniform(0, 2 * np.pi))

    def frame(self, index: int, sign: U8, box: Box) -> U8:
        """Camera frame number `index`, [480, 640, 3] BGR, with a sign [h, w, 3] RGB in its box."""
        drift = int(_SPARE / 2 * (1 + np.sin(index / 40 + self._phase)))
        frame = np.ascontiguousarray(self._scene[:, drift : drift + WIDTH])
        x, y, width, height = box
        pole = x + width // 2
        frame[y + height : _HORIZON + 60, pole - 1 : pole + 2] = (120, 124, 122)
        frame[y : y + height, x : x + width] = sign[:, :, ::-1]
        return frame


def place(track_seed: int, progress: float, width: int, height: int) -> Box:
    """Where the sign stands: near the middle when far (progress 0), at the side when passed (1)."""
    rng = np.random.default_rng(track_seed)
    side = 1 if rng.random() < 0.8 else -1
    reach, lift = rng.uniform(130, 230), rng.uniform(40, 110)
    x = WIDTH / 2 + side * (30 + reach * progress**2) - width / 2
    y = _HORIZON - 40 - lift * progress**2 - height / 2
    return int(x), int(y), width, height


def _scene(rng: np.random.Generator) -> U8:
    wide = WIDTH + _SPARE
    rows = np.arange(HEIGHT)[:, None, None]
    sky = np.array([205, 180, 150]) + (rows / _HORIZON) * np.array([30, 40, 60])
    road = np.array([88, 88, 92]) + (rows - _HORIZON) / 250 * np.array([18, 18, 18])
    scene = np.broadcast_to(np.where(rows < _HORIZON, sky, road), (HEIGHT, wide, 3)).copy()
    _hills(scene, rng)
    x = -40
    while x < wide:
        x += _house(scene, rng, x) + int(rng.integers(0, 70))
    _verge_and_lines(scene)
    scene += rng.normal(0, 3.0, scene.shape[:2])[..., None]
    drawn: U8 = scene.clip(0, 255).astype(np.uint8)
    return drawn


def _hills(scene: npt.NDArray[np.float64], rng: np.random.Generator) -> None:
    columns = np.arange(scene.shape[1])
    top = _HORIZON - 35 - 18 * np.sin(columns / 90 + rng.uniform(0, 6)) - 9 * np.sin(columns / 31)
    hill = (np.arange(HEIGHT)[:, None] > top) & (np.arange(HEIGHT)[:, None] < _HORIZON)
    scene[hill] = (96, 128, 104)


def _house(scene: npt.NDArray[np.float64], rng: np.random.Generator, x: int) -> int:
    """Draw a house with its windows; returns its width."""
    width, height = int(rng.integers(50, 130)), int(rng.integers(45, 130))
    top, left = _HORIZON - height, max(x, 0)
    if rng.random() < 0.35 or x + width <= 0:
        return width  # a gap: the hills show
    wall = np.array([130, 140, 152]) + rng.uniform(-35, 45) + rng.uniform(-12, 12, 3)
    scene[top:_HORIZON, left : x + width] = wall
    for row in range(top + 10, _HORIZON - 14, 24):
        for column in range(left + 8, x + width - 12, 20):
            scene[row : row + 13, column : column + 9] = wall * rng.uniform(0.45, 0.75)
    return width


def _verge_and_lines(scene: npt.NDArray[np.float64]) -> None:
    rows, columns = np.mgrid[_HORIZON:HEIGHT, 0 : scene.shape[1]]
    middle, depth = scene.shape[1] / 2, (rows - _HORIZON) / (HEIGHT - _HORIZON)
    off = np.abs(columns - middle) - depth * 420
    ground = scene[_HORIZON:]
    ground[off > 14] = (78, 120, 92)
    ground[(off > -6 - 10 * depth) & (off < 2)] = (208, 208, 210)
    painted = (1 / (depth + 0.05)).astype(int) % 2 == 0
    dashes = (np.abs(columns - middle) < 1 + 5 * depth) & painted
    ground[dashes] = (208, 208, 210)
