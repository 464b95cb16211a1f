# SPDX-License-Identifier: Apache-2.0
"""The car behind: what a takeover or a stop makes somebody else do.

It follows by the Intelligent Driver Model (Treiber, Hennecke and Helbing 2000) and drives along the
same road, so only speeds matter.
"""

from __future__ import annotations

from attrs import define, field, frozen


@frozen
class Driver:
    """Of the car behind."""

    wish_mps: float = 60.0
    headway_s: float = 1.0
    gap_m: float = 2.0
    """At a standstill."""
    gas_mps2: float = 8.0
    comfort_mps2: float = 4.0
    """What it brakes with where nothing surprises it."""
    most_mps2: float = 40.0
    """What its brakes can do."""


@define
class Follower:
    """Feed it the speed of the car in front once a control period."""

    period_s: float
    driver: Driver = field(factory=Driver)
    gap_m: float = 2.0
    speed: float = 0.0
    braking_mps2: float = 0.0
    """Now; negative while it gives gas."""

    def follow(self, front_mps: float) -> None:
        """One period."""
        d, gap = self.driver, max(self.gap_m, 0.1)
        closing = self.speed * (self.speed - front_mps) / (2 * (d.gas_mps2 * d.comfort_mps2) ** 0.5)
        wanted = d.gap_m + max(0.0, self.speed * d.headway_s + closing)
        gas = d.gas_mps2 * (1 - (self.speed / d.wish_mps) ** 4 - (wanted / gap) ** 2)
        self.braking_mps2 = min(-gas, d.most_mps2)
        before, self.speed = self.speed, max(0.0, self.speed - self.braking_mps2 * self.period_s)
        self.gap_m += (front_mps - (before + self.speed) / 2) * self.period_s
