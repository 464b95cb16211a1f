# SPDX-License-Identifier: Apache-2.0
"""The driving loop on a vehicle without slip: the rule, its sensors, the budget of a takeover."""

from __future__ import annotations

from collections.abc import Callable
from math import atan2, cos, pi, sin, tan
from pathlib import Path as FilePath
from random import Random
from statistics import fmean, pstdev

import numpy as np
import pytest

from edgeguard import Guard, config
from edgeguard.errors import EdgeguardError
from edgeguard.streams.loops.clean import record_one
from edgeguard.streams.loops.drive import MOST_STOOD, ONSET, drive
from edgeguard.streams.loops.fault import Fault, Moment
from edgeguard.streams.loops.follower import Follower
from edgeguard.streams.loops.pursuit import CAREFUL, Pursuit, curvature
from edgeguard.streams.loops.sensors import Errors, Odometry, Tracker
from edgeguard.streams.loops.steers import Said, patient
from edgeguard.streams.loops.stopping import Stop
from edgeguard.streams.loops.takeover import Wrong
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
        self.heading, self.speed, self.lap = atan2(along[1], along[0]), 0.0, 0.0

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


def hard_over(steps: int) -> Wrong:
    return Wrong("hard over", steps, ONSET, -1.0)


def test_the_curvature_of_a_circle_is_one_over_its_radius() -> None:
    assert curvature(circle(50.0)) == pytest.approx(np.full(200, 0.02), rel=0.01)


@pytest.mark.parametrize(
    ("lap", "steps", "complaint"),
    [(1.0, 700, "were off the road for 100 steps"), (0.5, 5, "did not end their lap")],
)
def test_a_drive_that_was_not_clean_sets_no_limit(
    lap: float, steps: int, complaint: str, tmp_path: FilePath
) -> None:
    """The networks see black frames, and steer this car off its circle."""
    loaded = config.load(models_dir("drive") / "guard.toml")
    car = Bicycle(circle(), steps)
    car.lap = lap
    with Guard(patient(loaded)) as guard:
        guard.arm()
        with pytest.raises(EdgeguardError, match=f"track 7: .* {complaint}"):
            record_one(guard, car, 7, tmp_path / "7.csv")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("way", [1, -1])
def test_the_rule_keeps_to_the_middle_both_ways_round(way: int) -> None:
    found = drive(Bicycle(circle()[::way], 1500), hard_over(0), 0, errors=EXACT)
    assert found.off == 0
    assert found.deviation_m < 1.0
    assert found.ruled == 1500


def test_the_rule_steers_without_jumps_between_the_points_of_its_map() -> None:
    rule = Pursuit(circle())
    turns = np.arange(0.0, 0.2, 0.001)  # 20 m along the circle, points of the map every 3 m
    said = [
        rule.command(Pose(RADIUS * cos(a), RADIUS * sin(a), a + pi / 2, 20.0)).steering
        for a in turns
    ]
    assert np.abs(np.diff(said)).max() < 0.02


def test_the_rule_drives_on_what_sensors_say_and_not_on_the_truth() -> None:
    far = Errors(0.0, 0.0, 0.0, 30.0, 0.0, 0)  # 30 m off, for the whole drive
    assert drive(Bicycle(circle(), 1500), hard_over(0), 1, errors=far).off > 0


def test_a_short_hard_over_is_caught_and_a_long_one_is_not() -> None:
    """The car goes 48 m/s here: 2 steps are 40 ms."""
    short = drive(Bicycle(circle(), 900), hard_over(2), 0, errors=EXACT)
    assert short.off == 0
    assert short.trip == 2  # the first step on which the rule commands again
    assert drive(Bicycle(circle(), 900), hard_over(60), 0, errors=EXACT).off > 0


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


def test_the_tracker_halves_noise_and_sees_where_a_turning_vehicle_goes() -> None:
    tracker, rng, rate = Tracker(), Random(1), 0.5
    apart, ahead = [], []
    for i in range(1000):
        angle = rate * i * 0.02
        x, y = 40 * cos(angle) + rng.gauss(0, 0.3), 40 * sin(angle) + rng.gauss(0, 0.3)
        now = tracker.update(Pose(x, y, angle + pi / 2, 20.0))
        soon = tracker.ahead(0.25)
        if i > 100:
            apart.append(now.x - 40 * cos(angle))
            ahead.append(np.hypot(soon.x, soon.y) - 40)
    assert pstdev(apart) < 0.2
    assert abs(fmean(ahead)) < 0.6  # straight on would be 0.31 m out, and the filter lags by some


def test_the_lateral_distance_is_positive_to_the_left() -> None:
    rule = Pursuit(circle())
    assert rule.lateral(Pose(RADIUS - 2.0, 0.0, pi / 2, 1.0)) == pytest.approx(2.0, abs=0.05)
    assert rule.lateral(Pose(RADIUS + 2.0, 0.0, pi / 2, 1.0)) == pytest.approx(-2.0, abs=0.05)


# ------------------------------------------------------- a stop without a map


def winding() -> Path:
    """A kilometre of bends of 20 to 200 m, to both sides."""
    at = np.linspace(0, 2 * pi, 400, endpoint=False)
    radius = 150 + 25 * np.sin(5 * at)
    return np.stack([radius * np.cos(at), radius * np.sin(at)], axis=1)


def stopped(path: Path, at: int, speed: float, wheels: float, stop: Stop) -> float:
    """m from the middle at most, of a car that was there: wheels (1/m) held, then straight."""
    judge = Pursuit(path)
    along = path[(at + 1) % len(path)] - path[at - 1]
    (x, y), heading, far, t_s = path[at], atan2(along[1], along[0]), 0.0, 0.0
    while speed > 0:
        speed, t_s = speed - stop.braking_mps2 * 0.01, t_s + 0.01
        heading += speed * 0.01 * (wheels if t_s <= stop.held_s else 0.0)
        x, y = x + speed * 0.01 * cos(heading), y + speed * 0.01 * sin(heading)
        far = max(far, abs(judge.lateral(Pose(x, y, heading, speed))))
    return far


def test_from_a_careful_pace_a_stop_with_the_wheels_held_ends_on_the_road() -> None:
    path, stop = winding(), CAREFUL.stop
    assert stop is not None
    rule, bends = Pursuit(path, CAREFUL), curvature(path)
    near = round(0.8 * stop.near_m / 2.5)  # points of this road, 2.5 m apart
    ends, faster = [], []
    for at in range(0, len(path), 9):
        along = path[(at + 1) % len(path)] - path[at - 1]
        pace = rule.command(Pose(*path[at], atan2(along[1], along[0]), 30.0)).target_speed
        for place in (at - near, at, (at + near) % len(path)):
            for astray in (-stop.astray_per_m, stop.astray_per_m):
                ends.append(stopped(path, at, pace, bends[place] + astray, stop))
                faster.append(stopped(path, at, 1.7 * pace, bends[place] + astray, stop))
    assert max(ends) < stop.room_m + 0.5  # the map is straight between its points
    assert fmean(end > Bicycle.half_width for end in faster) > 0.2, "and it is no slower than that"


def test_a_careful_rule_asks_for_little_more_than_its_own_speed() -> None:
    """Or a stop would begin above it; and from a standstill the car would spin its wheels."""
    rule = Pursuit(circle(), CAREFUL)
    for speed in (0.0, 3.0, 6.0):
        want = rule.command(Pose(RADIUS, 0.0, pi / 2, speed)).target_speed
        assert want == pytest.approx(speed + CAREFUL.ahead_mps)
    assert Pursuit(circle()).command(Pose(RADIUS, 0.0, pi / 2, 0.0)).target_speed > 40


class Stands:
    """Stops the car at once, for good."""

    def step(self, frame: U8 | None, moment: Moment, fault: Fault, t_ns: int) -> Said:
        return Said(Command(moment.signals["rule"], 0.0), True, stops=True)


class Scripted:
    """Networks that steer as the rule does; at these steps from the onset the rule commands, or
    somebody stops the car."""

    def __init__(self, ruled: Callable[[int], bool], stops: Callable[[int], bool]) -> None:
        self.ruled, self.stops = ruled, stops

    def step(self, frame: U8 | None, moment: Moment, fault: Fault, t_ns: int) -> Said:
        wish = Command(moment.signals["rule"], moment.signals["rule_speed"])
        stops = self.stops(moment.since)
        return Said(wish, stops or self.ruled(moment.since), stops=stops)


def never(since: int) -> bool:
    return False


@pytest.mark.parametrize(
    ("ruled", "unanswered", "safe"),
    [
        (lambda since: since >= 2, False, 2),
        (lambda since: since >= -5, False, None),  # it was driving and went on
        (lambda since: since < 0 or since >= 2, False, 2),  # it gave back as the fault began
        (lambda since: -5 <= since < 20 or since >= 60, False, None),
        (never, True, None),
    ],
)
def test_a_takeover_counts_where_the_rule_did_not_drive_already(
    ruled: Callable[[int], bool], unanswered: bool, safe: int | None
) -> None:
    found = drive(Bicycle(circle(), 300), Scripted(ruled, never), 0, errors=EXACT)
    assert [onset.unanswered for onset in found.onsets] == [unanswered]
    assert (found.trip, found.safe) == (safe, safe)


def test_of_a_fault_that_comes_back_every_onset_counts() -> None:
    """The rule gives the wheel back in between; the longest is told, and who was never there."""
    answers = {0: 2, 50: 5, 100: 1}

    def ruled(since: int) -> bool:
        return any(at + after <= since < at + 40 for at, after in answers.items())

    fault = Fault(frame=lambda frame, moment: frame, period=50)
    found = drive(Bicycle(circle(), 352), Scripted(ruled, never), 0, fault, errors=EXACT)
    assert [(o.safe, o.unanswered) for o in found.onsets] == [
        (2, False), (5, False), (1, False), (None, True), (None, False)
    ]  # fmt: skip
    assert found.safe == 5


def test_of_a_cut_link_the_stop_counts_whoever_drove() -> None:
    cut = Fault(cut=lambda moment: True)
    by = Scripted(lambda since: True, lambda since: since >= 2)
    found = drive(Bicycle(circle(), 300), by, 0, cut, errors=EXACT)
    assert (found.onsets[0].already, found.trip, found.safe) == (False, 2, 2)
    by = Scripted(lambda since: True, never)
    assert drive(Bicycle(circle(), 300), by, 0, cut, errors=EXACT).safe is None


def test_the_film_shows_the_truth_and_not_what_odometry_says() -> None:
    from edgeguard.streams.loops.picture import GONE, NETWORKS, WINDOW, Film

    car, film = Bicycle(circle(), 10), Film("")
    said = Said(Command(0.0, 0.0), False)
    film(Moment(WINDOW[0], {"lateral": 20.0}), said, car)
    car.x += 10.0
    film(Moment(WINDOW[1], {"lateral": 0.0}), said, car)
    assert film.who == [NETWORKS, GONE]


def test_a_drive_ends_when_the_car_has_stood_for_ten_seconds() -> None:
    found = drive(Bicycle(circle(), 2000), Stands(), 0, errors=EXACT)
    assert (found.steps, found.stops, found.finished) == (ONSET + MOST_STOOD, 1, False)


# ------------------------------------------------------------- the car behind


def behind(front: Callable[[float], float], seconds: float) -> Follower:
    """front: m/s of the car in front at each second. The hardest braking is kept."""
    follower = Follower(0.02)
    most = 0.0
    for step in range(round(seconds / 0.02)):
        follower.follow(front(step * 0.02))
        assert follower.gap_m > 0.5, "no collision"
        most = max(most, follower.braking_mps2)
    follower.braking_mps2 = most
    return follower


def test_who_follows_keeps_the_distance_of_the_model() -> None:
    """IDM's own equilibrium: (2 m + 1 s v) / sqrt(1 - (v / 60)^4)."""
    found = behind(lambda t_s: 20.0, 120)
    assert found.speed == pytest.approx(20.0, abs=0.05)
    assert found.gap_m == pytest.approx(22.0 / (1 - (20 / 60) ** 4) ** 0.5, abs=0.2)


@pytest.mark.parametrize("braking_mps2", [2.0, 4.0, 15.0])
def test_who_follows_brakes_about_as_hard_as_the_car_in_front(braking_mps2: float) -> None:
    found = behind(lambda t_s: 30.0 if t_s < 60 else max(0.0, 30 - braking_mps2 * (t_s - 60)), 90)
    assert 0.7 * braking_mps2 < found.braking_mps2 < 1.1 * braking_mps2
    assert found.speed < 0.01 and found.gap_m == pytest.approx(2.0, abs=0.5)
