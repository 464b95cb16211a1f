# SPDX-License-Identifier: Apache-2.0
"""Odometry and heading as a vehicle has them: late, noisy, a little off, never the truth."""

from __future__ import annotations

from collections import deque
from random import Random

from attrs import define, field, frozen

from edgeguard.streams.loops.vehicle import Pose


@frozen
class Errors:
    """Standard deviations per reading, and what stays for a whole drive."""

    position_m: float = 0.3
    heading_rad: float = 0.02
    speed_mps: float = 0.5
    bias_m: float = 0.3
    """Of the position, drawn once for each axis."""
    bias_rad: float = 0.01
    delay: int = 1
    """Control periods that a reading is old."""


@define
class Odometry:
    """Feed it the truth once a control period, read what the vehicle measures."""

    errors: Errors
    rng: Random
    _held: deque[Pose] = field(init=False)
    _bias: tuple[float, float, float] = field(init=False)

    def __attrs_post_init__(self) -> None:
        e, gauss = self.errors, self.rng.gauss
        self._held = deque(maxlen=e.delay + 1)
        self._bias = (gauss(0, e.bias_m), gauss(0, e.bias_m), gauss(0, e.bias_rad))

    def read(self, true: Pose) -> Pose:
        """What is measured now."""
        self._held.append(true)
        old, e, gauss = self._held[0], self.errors, self.rng.gauss
        return Pose(
            old.x + self._bias[0] + gauss(0, e.position_m),
            old.y + self._bias[1] + gauss(0, e.position_m),
            old.heading + self._bias[2] + gauss(0, e.heading_rad),
            max(0.0, old.speed + gauss(0, e.speed_mps)),
        )
