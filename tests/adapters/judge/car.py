# SPDX-License-Identifier: Apache-2.0
"""A car that drives about, a driver who takes over now and then, a network without sense."""

from __future__ import annotations

from math import nan
from random import Random

from attrs import define, field


@define
class Car:
    """What its sensors say is what its frames say: already on the grid of the DBC file."""

    rng: Random
    period_s: float
    most_mps: float
    angle_grid: float
    speed_grid: float
    most_angle: float = 90.0
    speed: float = 0.0
    angle: float = 0.0
    cruise: bool = False
    brake: bool = False
    gas: bool = False
    stopping: bool = False
    """The guard asked him to: he brakes to a standstill."""
    _aim_mps: float = 10.0
    _driver: float = 0.0  # where he turns the wheel to
    _phase_s: float = 0.0

    def step(self, angle: float | None, accel: float | None) -> None:
        """One period. angle, accel: what reached the actuators, None: the driver drives."""
        self._phase_s -= self.period_s
        if self._phase_s <= 0:
            self._next_phase()
        if angle is None:
            self._driver += self.rng.gauss(0, 300) * self.period_s
            self._driver = min(max(self._driver, -self.most_angle), self.most_angle)
            angle = self._driver
        else:
            self._driver = self.angle
        lag = min(1.0, self.period_s / 0.15)
        self.angle += (angle - self.angle) * lag + self.rng.gauss(0, self.angle_grid / 2)
        pulls = 1.5 * (self._aim_mps - self.speed) if accel is None else accel
        pulls = min(max(pulls, -8.0), 4.0)
        self.speed = min(max(0.0, self.speed + pulls * self.period_s), self.most_mps)

    def _next_phase(self) -> None:
        """Seconds of the one, then of the other: cruising, braking, with a foot on the gas."""
        rng = self.rng
        self._phase_s = rng.uniform(0.5, 12.0)
        self.brake = self.stopping or rng.random() < 0.15
        self.gas = not self.brake and rng.random() < 0.15
        self.cruise = not self.brake and not self.gas and rng.random() < 0.85
        self._aim_mps = 0.0 if self.brake else rng.uniform(0.0, self.most_mps)

    @property
    def angle_seen(self) -> float:
        return round(self.angle / self.angle_grid) * self.angle_grid

    @property
    def speed_seen(self) -> float:
        return round(self.speed / self.speed_grid) * self.speed_grid


@define
class Network:
    """Steady, drifting, jumping, hard over one way and the other, noise, and no number at all."""

    rng: Random
    most: float
    _says: float = 0.0
    _how: str = "steady"
    _left: int = field(default=0)

    def __call__(self) -> float:
        """Its next suggestion."""
        rng = self.rng
        if self._left == 0:
            self._how = rng.choice(("steady", "drift", "jump", "bang", "noise", "nan", "beyond"))
            self._left = rng.randint(1, 200)
            self._says = rng.uniform(-self.most, self.most)
        self._left -= 1
        if self._how == "drift":
            self._says += rng.gauss(0, self.most / 50)
        elif self._how == "jump" and rng.random() < 0.05:
            self._says = rng.uniform(-self.most, self.most)
        elif self._how == "bang":
            self._says = -self._says if abs(self._says) == self.most else self.most
        elif self._how == "noise":
            self._says = rng.uniform(-self.most, self.most)
        self._says = min(max(self._says, -self.most), self.most)
        if self._how == "nan" and rng.random() < 0.3:
            return nan
        return self._says * (3.0 if self._how == "beyond" else 1.0)
