# SPDX-License-Identifier: Apache-2.0
"""The driving loop on a vehicle without slip, and, where it is installed, in CarRacing."""

from __future__ import annotations

from math import atan2, cos, pi, sin, tan
from random import Random
from statistics import fmean, pstdev

import numpy as np
import pytest

from edgeguard import Guard
from edgeguard.streams.loops.drive import (
    ONSET,
    Bare,
    Guarded,
    Outcome,
    Steers,
    Transform,
    drive,
)
from edgeguard.streams.loops.pursuit import Pursuit, curvature
from edgeguard.streams.loops.sensors import Errors, Odometry
from edgeguard.streams.loops.vehicle import U8, Command, Path, Pose
from edgeguard.zoo import models_dir

RADIUS = 100.0
EXACT = Errors(0.0, 0.0, 0.0, 0.0, 0.0, 0)


def circle(radius: float = RADIUS) -> Path:
    at = np.linspace(0, 2 * pi, 200, endpoint=False)
    return radius * np.stack([np.cos(at), np.sin(at)], axis=1)


class Bicycle:
    """A kinematic one, 3.3 m between its axles."""

    half_width = 6.67

    def __init__(self, path: Path, steps: int) -> None:
        self.path, self.left = path, steps
        self.x, self.y = path[0]
        along = path[1] - path[0]
        self.heading, self.speed = atan2(along[1], along[0]), 0.0

    def frame(self) -> U8:
        return np.zeros((84, 96, 3), np.uint8)

    def true_pose(self) -> Pose:
        return Pose(self.x, self.y, self.heading, self.speed)

    def apply(self, command: Command) -> bool:
        self.speed += min(max(command.target_speed - self.speed, -0.5), 0.3)
        self.heading += self.speed * tan(0.4 * command.steering) / 3.3 * 0.02
        self.x += self.speed * cos(self.heading) * 0.02
        self.y += self.speed * sin(self.heading) * 0.02
        self.left -= 1
        return self.left > 0


class Rule:
    """What the rule says, or hard over for some steps after the onset."""

    def __init__(self, hard_over: int = 0) -> None:
        self.step_number, self.hard_over = 0, hard_over

    def step(self, frame: U8 | None, signals: dict[str, float], t_ns: int) -> tuple[float, bool]:
        since = self.step_number - ONSET
        self.step_number += 1
        over = 0 <= since < self.hard_over
        return (-1.0 if over else signals["rule"]), not over and since >= 0


def test_the_curvature_of_a_circle_is_one_over_its_radius() -> None:
    assert curvature(circle(50.0)) == pytest.approx(np.full(200, 0.02), rel=0.01)


@pytest.mark.parametrize("way", [1, -1])
def test_the_rule_keeps_to_the_middle_both_ways_round(way: int) -> None:
    found = drive(Bicycle(circle()[::way], 1500), Rule(), 0, errors=EXACT)
    assert found.off == 0
    assert found.deviation_m < 1.0
    assert found.ruled == 1500 - ONSET


def test_the_rule_drives_on_what_sensors_say_and_not_on_the_truth() -> None:
    far = Errors(0.0, 0.0, 0.0, 30.0, 0.0, 0)  # 30 m off, for the whole drive
    assert drive(Bicycle(circle(), 1500), Rule(), 1, errors=far).off > 0


def test_a_short_hard_over_is_caught_and_a_long_one_is_not() -> None:
    """The car goes 48 m/s here: 5 steps are 100 ms."""
    assert drive(Bicycle(circle(), 900), Rule(2), 0, errors=EXACT).off == 0
    assert drive(Bicycle(circle(), 900), Rule(60), 0, errors=EXACT).off > 0


def test_sensors_are_late_noisy_and_off_as_declared() -> None:
    errors = Errors(
        position_m=0.5, heading_rad=0.0, speed_mps=0.0, bias_m=2.0, bias_rad=0.0, delay=3
    )
    sensors = Odometry(errors, Random(4))
    read = [sensors.read(Pose(float(i), 0.0, 0.0, 10.0)) for i in range(2000)]
    apart = [r.x - (i - 3) for i, r in enumerate(read) if i > 3]
    assert pstdev(apart) == pytest.approx(0.5, rel=0.1)
    assert abs(fmean(apart)) > 0.05  # what it is off by stays for the whole drive
    assert all(r.heading == 0.0 and r.speed == 10.0 for r in read)


def test_the_lateral_distance_is_positive_to_the_left() -> None:
    rule = Pursuit(circle())
    assert rule.lateral(Pose(RADIUS - 2.0, 0.0, pi / 2, 1.0)) == pytest.approx(2.0, abs=0.05)
    assert rule.lateral(Pose(RADIUS + 2.0, 0.0, pi / 2, 1.0)) == pytest.approx(-2.0, abs=0.05)
    assert rule.road(Pose(RADIUS, 0.0, 0.0, 1.0)) == pytest.approx(pi / 2, abs=0.01)


# ------------------------------------------------------------------- CarRacing


@pytest.fixture
def guard() -> Guard:
    pytest.importorskip("gymnasium", reason="the extra drive")
    pytest.importorskip("Box2D", reason="the extra drive")
    made = Guard.load(models_dir("drive") / "guard.toml")
    made.arm()
    return made


def test_the_networks_finish_a_lap_and_darkness_is_caught(guard: Guard) -> None:
    from edgeguard.streams.loops.racing import Racing

    def dark(frame: U8, since: int) -> U8:
        return frame // 20

    def lap(steers: Steers, transform: Transform | None = None) -> Outcome:
        vehicle = Racing(0)
        found = drive(vehicle, steers, 0, transform)
        vehicle.close()
        return found

    with guard:
        bare = lap(Bare(guard))
        lost = lap(Bare(guard), dark)
    with Guard.load(models_dir("drive") / "guard.toml") as fresh:
        fresh.arm()
        kept = lap(Guarded(fresh), dark)
    assert bare.finished and bare.off == 0
    assert not lost.finished and lost.off > 0
    assert kept.finished and kept.off == 0
    assert kept.trip is not None and kept.trip <= 3
    assert "IMAGE_UNHEALTHY" in kept.causes
