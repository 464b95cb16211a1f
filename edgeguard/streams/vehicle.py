# SPDX-License-Identifier: Apache-2.0
"""A car that follows a speed target with its own dynamics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Car:
    """Straight ahead only: a speed controller, its limits, and a drivetrain that lags.

    Units: m, m/s, m/s2, s. `lag` is the time constant from the acceleration asked for to the one
    that the wheels give; `gain` that of the speed controller, per second.
    """

    speed: float = 0.0
    acceleration: float = 0.0
    position: float = 0.0
    lag: float = 0.25
    gain: float = 1.2
    strongest: float = 2.5
    hardest_braking: float = 6.0

    def step(self, target: float, seconds: float) -> float:
        """Drive for `seconds` towards a speed target; returns the speed."""
        asked = self.gain * (target - self.speed)
        asked = min(max(asked, -self.hardest_braking), self.strongest)
        self.acceleration += (asked - self.acceleration) * min(seconds / self.lag, 1.0)
        self.speed = max(self.speed + self.acceleration * seconds, 0.0)
        if self.speed == 0.0:
            self.acceleration = max(self.acceleration, 0.0)
        self.position += self.speed * seconds
        return self.speed
