# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from edgeguard.streams.vehicle import Car


def drive(car: Car, target: float, seconds: float) -> Car:
    for _ in range(round(seconds / 0.01)):
        car.step(target, 0.01)
    return car


def test_it_reaches_its_target_and_stays() -> None:
    car = drive(Car(speed=10.0), 20.0, 30.0)
    assert car.speed == pytest.approx(20.0, abs=0.01)
    assert car.acceleration == pytest.approx(0.0, abs=0.01)


def test_it_has_dynamics_of_its_own() -> None:
    """It neither jumps nor accelerates at once, and never more than it can."""
    car = Car(speed=10.0)
    first = car.step(30.0, 0.01) - 10.0
    assert 0.0 < first < 0.002
    strongest = 0.0
    for _ in range(500):
        car.step(30.0, 0.01)
        strongest = max(strongest, car.acceleration)
    assert 2.0 < strongest <= car.strongest


def test_braking_has_a_limit_and_ends_at_standstill() -> None:
    car, hardest = Car(speed=20.0), 0.0
    for _ in range(2000):
        car.step(0.0, 0.01)
        hardest = min(hardest, car.acceleration)
    assert -car.hardest_braking <= hardest < -5.0
    assert car.speed == pytest.approx(0.0, abs=0.01)


def test_it_does_not_roll_back() -> None:
    car = drive(Car(speed=0.0), -5.0, 5.0)
    assert car.speed == 0.0
    assert drive(car, 5.0, 20.0).speed == pytest.approx(5.0, abs=0.01)
