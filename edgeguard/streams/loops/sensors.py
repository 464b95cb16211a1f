# SPDX-License-Identifier: Apache-2.0
"""Odometry and heading as a vehicle has them: late, noisy, a little off, never the truth; and the
filter between them and whoever drives by them."""

from __future__ import annotations

from collections import deque
from math import atan2, cos, sin
from random import Random

from attrs import define, field, frozen

from edgeguard.streams.loops.vehicle import Pose


@frozen
class Errors:
    """Standard deviations per reading, and what stays for a whole drive."""

    position_m: float = 0.3
    heading_rad: float = 0.02
    speed_mps: float = 0.5
    """While it moves; wheels that stand are known to."""
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
            max(0.0, old.speed + gauss(0, e.speed_mps) * min(1.0, old.speed)),
        )


PLACE = 0.3, 0.05  # alpha and beta: position, heading
TURN = 0.4, 0.1


@define
class Tracker:
    """Alpha-beta filters (Kalata 1984) over position and heading: what is measured, smoothed, and
    where it moves. A constant error or delay of the sensors passes through."""

    period_s: float = 0.02
    _place: complex | None = None
    _velocity: complex = 0j
    _heading: float = 0.0
    turn_radps: float = 0.0
    """Rate of the heading."""

    def update(self, measured: Pose) -> Pose:
        """The pose now; its heading is where the vehicle points, its speed is that measured."""
        at = complex(measured.x, measured.y)
        if self._place is None:
            self._place, self._heading = at, measured.heading
            self._velocity = measured.speed * complex(cos(self._heading), sin(self._heading))
        dt = self.period_s
        self._place += self._velocity * dt
        self._heading += self.turn_radps * dt
        off, turned = at - self._place, wrapped(measured.heading - self._heading)
        self._place += PLACE[0] * off
        self._velocity += PLACE[1] * off / dt
        self._heading += TURN[0] * turned
        self.turn_radps += TURN[1] * turned / dt
        return Pose(self._place.real, self._place.imag, self._heading, measured.speed)

    def ahead(self, seconds: float, turn_radps: float | None = None) -> Pose:
        """Where it will be if it goes on turning as it does, or turns as is given."""
        assert self._place is not None
        middle = (self.turn_radps if turn_radps is None else turn_radps) * seconds / 2
        gone = self._velocity * seconds * complex(cos(middle), sin(middle))
        there = self._place + gone
        return Pose(there.real, there.imag, self._heading + 2 * middle, abs(self._velocity))


def wrapped(angle: float) -> float:
    """Between -pi and pi."""
    return atan2(sin(angle), cos(angle))
