# SPDX-License-Identifier: Apache-2.0
"""The rule: pure pursuit (Coulter 1992) on the map's centre line, speed limited by curvature, and
where somebody without a map may have to stop the car, by what that leads to."""

from __future__ import annotations

from math import atan2, hypot, pi, sin

import numpy as np
import numpy.typing as npt
from attrs import define, field, frozen

from edgeguard.streams.loops.sensors import wrapped
from edgeguard.streams.loops.stopping import Stop, fastest
from edgeguard.streams.loops.vehicle import Command, Path, Pose

Array = npt.NDArray[np.float64]
STEP_M = 0.5
NEAR = np.arange(-30, 51)  # points in which the next place is looked for


@frozen
class Style:
    """How it drives."""

    most_mps: float = 60.0
    lateral_mps2: float = 40.0
    """CarRacing's tyres hold about 60; a rule that takes over needs some to spare."""
    look_s: float = 0.4
    look_least_m: float = 8.0
    look_most_m: float = 40.0
    wheelbase_m: float = 3.3
    most_rad: float = 0.4
    """Steering angle at full lock."""
    ahead_m: float = 70.0
    """How far the road is looked at for its curvature."""
    braking_mps2: float = 15.0
    ahead_mps: float = 100.0
    """How far the speed that it asks for may be above its own."""
    stop: Stop | None = None
    """What may stop it at any moment."""


CAREFUL = Style(look_least_m=10.0, braking_mps2=4.0, ahead_mps=0.5, stop=Stop())
"""With a microcontroller behind it, whose stop has no map."""


@define
class Pursuit:
    """Follows a closed centre line. Keeps its place on it, so that each step looks nearby only."""

    path: Path
    style: Style = field(factory=Style)
    _at: int | None = None
    _step_m: float = field(init=False)
    _most_m2ps2: Array = field(init=False)
    """The square of the speed that each point allows."""

    def __attrs_post_init__(self) -> None:
        """Between the map's points it goes straight; a rule that jumped from one to the next would
        steer in jumps."""
        gaps = np.linalg.norm(np.roll(self.path, -1, axis=0) - self.path, axis=1)
        along = np.concatenate([[0.0], np.cumsum(gaps)])
        n = round(along[-1] / STEP_M)
        at = np.arange(n) * along[-1] / n
        bends = curvature(self.path)
        columns = (*self.path.T, bends, np.abs(bends))
        x, y, bends, tight = (np.interp(at, along, np.append(c, c[0])) for c in columns)
        self.path, self._step_m = np.stack([x, y], axis=1), float(along[-1] / n)
        self._most_m2ps2 = self.style.lateral_mps2 / np.maximum(tight, 1e-4)
        if self.style.stop is not None:
            slow_mps = fastest(bends, self._step_m, self.style.stop)
            self._most_m2ps2 = np.minimum(self._most_m2ps2, slow_mps**2)

    def nearest(self, pose: Pose) -> int:
        """Index of the centre line's nearest point, near the last one found."""
        n = len(self.path)
        span = np.arange(n) if self._at is None else (self._at + NEAR) % n
        apart = self.path[span] - (pose.x, pose.y)
        self._at = int(span[np.argmin((apart**2).sum(axis=1))])
        return self._at

    def lateral(self, pose: Pose) -> float:
        """Metres left of the centre line."""
        at = self.nearest(pose)
        behind, ahead = self.path[at - 1], self.path[(at + 1) % len(self.path)]
        along = (ahead - behind) / hypot(*(ahead - behind))
        off = np.array((pose.x, pose.y)) - self.path[at]
        return float(along[0] * off[1] - along[1] * off[0])

    def command(self, pose: Pose) -> Command:
        """What to do where the sensors say that it is."""
        s, at = self.style, self.nearest(pose)
        look_m = min(max(s.look_s * pose.speed, s.look_least_m), s.look_most_m)
        goal = self.path[(at + max(1, round(look_m / self._step_m))) % len(self.path)]
        dx, dy = goal[0] - pose.x, goal[1] - pose.y
        turn = wrapped(atan2(dy, dx) - pose.heading)
        angle = atan2(2 * s.wheelbase_m * sin(turn), max(hypot(dx, dy), 1.0))
        steering = min(max(angle / s.most_rad, -1.0), 1.0)
        return Command(steering, min(self._speed(at), pose.speed + s.ahead_mps))

    def _speed(self, at: int) -> float:
        """As fast as every place within sight can be reached at its own speed."""
        s = self.style
        points = np.arange(int(s.ahead_m / self._step_m))
        there = self._most_m2ps2[(at + points) % len(self.path)]
        reach = np.sqrt(there + 2 * s.braking_mps2 * points * self._step_m)
        return min(s.most_mps, float(reach.min()))


def curvature(path: Path) -> Array:
    """1/m at every point [N], positive to the left, smoothed over a car's length."""
    along = np.roll(path, -2, axis=0) - np.roll(path, 2, axis=0)
    headings = np.arctan2(along[:, 1], along[:, 0])
    turns = (np.roll(headings, -2) - np.roll(headings, 2) + pi) % (2 * pi) - pi
    length = np.linalg.norm(along, axis=1)
    smooth = np.convolve(np.concatenate([turns[-2:], turns, turns[:2]]), np.ones(5) / 5, "valid")
    return np.asarray(smooth / np.maximum(length, 1e-6))
