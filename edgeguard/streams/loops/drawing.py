# SPDX-License-Identifier: Apache-2.0
"""CarRacing's picture as the game draws it, without what is not in sight: 4 times as fast.

The game turns and tests 800 shapes for each picture, one at a time, and writes its score below the
part that a camera sees. Here all are turned at once and only those in sight are drawn. The rows
that `Racing` shows are the same to the last bit (tests/streams/loops compares them).
"""

from __future__ import annotations

import importlib
from math import cos, sin
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]
EDGE = 3.0  # pixels that the smoothing of an edge may reach


class Drawing:
    """Stands in for the game's own `_render`, for pictures that a network sees."""

    def __init__(self, game: Any) -> None:
        """game: a CarRacing that was reset, so that its track is there."""
        self._game: Any = game
        self._rules: Any = importlib.import_module(type(game).__module__)
        self._pygame: Any = importlib.import_module("pygame")
        self._gfxdraw: Any = importlib.import_module("pygame.gfxdraw")
        roads = [polygon for polygon, _ in game.road_poly]
        lawn = self._rules.PLAYFIELD * np.array([[[1, 1], [1, -1], [-1, -1], [-1, 1]]], np.float64)
        shapes = [lawn, grass(self._rules.GRASS_DIM), np.array(roads, np.float64)]
        self._shapes = np.concatenate(shapes)
        self._before = len(self._shapes) - len(roads)
        size = self._rules.WINDOW_W, self._rules.WINDOW_H
        self._upright, self._drawn = (self._pygame.Surface(size) for _ in range(2))
        pixels: Any = importlib.import_module("pygame.surfarray").pixels2d
        self._from, self._to = pixels(self._drawn)[:, ::-1], pixels(self._upright)

    def __call__(self, mode: str) -> Picture:
        """RGB [96, 96, 3]; the game's gauges are black."""
        game, rules = self._game, self._rules
        zoom, moved, angle = self._view()
        self._draw(self._turned(zoom, moved, angle))
        game.car.draw(self._drawn, zoom, tuple(moved), angle, False)
        seen = rules.WINDOW_H * 7 // 8  # below, the game shows its gauges
        np.copyto(self._to[:, :seen], self._from[:, :seen])
        made: Picture = game._create_image_array(self._upright, (rules.STATE_W, rules.STATE_H))
        return made

    def _view(self) -> tuple[float, Array, float]:
        """Zoom, where the origin lies on the surface, and its turn: as the game has them."""
        game, rules = self._game, self._rules
        hull, close = game.car.hull, min(game.t, 1)
        zoom = 0.1 * rules.SCALE * max(1 - game.t, 0) + rules.ZOOM * rules.SCALE * close
        angle = -hull.angle
        centre = np.array([rules.WINDOW_W / 2, rules.WINDOW_H / 4])
        there = self._pygame.math.Vector2((-hull.position[0] * zoom, -hull.position[1] * zoom))
        return zoom, np.array(there.rotate_rad(angle)) + centre, angle

    def _turned(self, zoom: float, moved: Array, angle: float) -> Array:
        """Every shape in pixels [K, 4, 2]."""
        x, y = self._shapes[..., 0], self._shapes[..., 1]
        c, s = cos(angle), sin(angle)
        return np.stack([x * c - y * s, x * s + y * c], axis=-1) * zoom + moved

    def _draw(self, shapes: Array) -> None:
        surface, rules = self._drawn, self._rules
        surface.fill((0, 0, 0))
        low, high = shapes.min(axis=1), shapes.max(axis=1)
        size = np.array([rules.WINDOW_W, rules.WINDOW_H])
        for k in np.flatnonzero(((high >= -EDGE) & (low <= size + EDGE)).all(axis=1)):
            corners = shapes[k].tolist()
            colour = self._colour(int(k))
            self._gfxdraw.aapolygon(surface, corners, colour)
            self._gfxdraw.filled_polygon(surface, corners, colour)

    def _colour(self, k: int) -> Any:
        """Of the lawn, its patches, or a tile, which changes when it was driven over."""
        if k == 0:
            return self._game.bg_color
        if k < self._before:
            return self._game.grass_color
        return [int(c) for c in self._game.road_poly[k - self._before][1]]


def grass(size: float) -> Array:
    """The lighter squares of the lawn [400, 4, 2]."""
    corner = np.array([[1, 0], [0, 0], [0, 1], [1, 1]], np.float64)
    at = np.array([(x, y) for x in range(-20, 20, 2) for y in range(-20, 20, 2)], np.float64)
    return size * (at[:, None] + corner)
