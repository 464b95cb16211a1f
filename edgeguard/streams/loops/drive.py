# SPDX-License-Identifier: Apache-2.0
"""One drive: a vehicle, what steers it, and what is done to its frames.

The networks steer; the rule gives the speed, also without a guard, and knows only what the sensors
measure. The judge knows the truth.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sin
from random import Random
from typing import Protocol

import numpy as np
from attrs import define, field

from edgeguard._core import Mode
from edgeguard.guard import Guard
from edgeguard.streams.loops.pursuit import Pursuit
from edgeguard.streams.loops.sensors import Errors, Odometry
from edgeguard.streams.loops.vehicle import U8, Command, Pose, Vehicle

PERIOD_NS = 20_000_000
DRIFT_S = 0.25  # how far ahead a drift off the road is seen
ONSET = 150
"""Steps before a fault begins: three seconds."""


class Steers(Protocol):
    """What turns frames and signals into a steering command."""

    def step(self, frame: U8 | None, signals: dict[str, float], t_ns: int) -> tuple[float, bool]:
        """(steering, whether the rule commands)."""


@define
class Guarded:
    """The guard, with its members in this process."""

    guard: Guard
    camera: str = "front"
    channel: str = "steering"
    causes: tuple[str, ...] = ()

    def step(self, frame: U8 | None, signals: dict[str, float], t_ns: int) -> tuple[float, bool]:
        decision = self.guard.step(self.camera, frame, signals, t_ns)
        self.causes = decision.causes
        return decision.command[self.channel], decision.mode >= Mode.FALLBACK


@define
class Bare:
    """The same members without a guard: the mid value of what they say, whatever it is."""

    guard: Guard
    """Opened for its members alone; its policy lets everything pass."""
    camera: str = "front"
    _last: float = 0.0

    def step(self, frame: U8 | None, signals: dict[str, float], t_ns: int) -> tuple[float, bool]:
        if frame is not None:
            self.guard.observe(self.camera, frame, t_ns)
            said = [
                self.guard.evidence(name)["value"]
                for name, member in self.guard.members.items() if member.alive
            ]  # fmt: skip
            if said:
                self._last = float(np.clip(np.median(said), -1.0, 1.0))
        return self._last, False


Transform = Callable[[U8, int], U8 | None]
"""What is done to a frame: (frame, steps since onset). Before the onset, where steps are negative,
what it returns is not used."""
Steal = Callable[[float, int], float]
"""What is done to a network's command on its way: (steering, steps since onset)."""


@define
class Outcome:
    """What a drive came to."""

    lap: float = 0.0
    steps: int = 0
    reward: float = 0.0
    off: int = 0
    """Steps with the centre of the car off the road."""
    deviation_m: float = 0.0
    """The largest distance from the centre line after the onset."""
    ruled: int = 0
    """Steps on which the rule commanded."""
    trip: int | None = None
    """Steps from the onset to the rule's first command."""
    jerk: float = 0.0
    """Mean change of steering from step to step."""
    causes: set[str] = field(factory=set)

    @property
    def finished(self) -> bool:
        """The lap, to the tile or two that a wide line leaves out."""
        return self.lap > 0.97


def drive(
    vehicle: Vehicle,
    steers: Steers,
    seed: int,
    transform: Transform | None = None,
    errors: Errors | None = None,
    most_off: int = 100,
) -> Outcome:
    """Drive until the lap is over, time is up, or the car has been off the road for two seconds."""
    sensors = Odometry(errors or Errors(), Random(seed))
    rule, judge = Pursuit(vehicle.path), Pursuit(vehicle.path)
    found = Outcome()
    last, t_ns, gone = 0.0, 1_000_000_000, 0
    while True:
        measured = sensors.read(vehicle.true_pose())
        want = rule.command(measured)
        frame: U8 | None = vehicle.frame()
        since = found.steps - ONSET
        if transform is not None:
            spoilt = transform(vehicle.frame(), since)
            frame = spoilt if since >= 0 else frame
        signals = _signals(rule, measured, want)
        steering, ruled = steers.step(frame, signals, t_ns)
        _note(found, since, ruled, getattr(steers, "causes", ()))
        found.jerk += abs(steering - last)
        last, t_ns = steering, t_ns + PERIOD_NS
        going = vehicle.apply(Command(steering, want.target_speed))
        found.steps += 1
        apart = abs(judge.lateral(vehicle.true_pose()))
        off = apart > vehicle.half_width
        found.off += off
        gone = gone + 1 if off else 0
        if since >= 0:
            found.deviation_m = max(found.deviation_m, apart)
        if not going or gone >= most_off:
            break
    found.lap = getattr(vehicle, "lap", 0.0)
    found.reward = getattr(vehicle, "reward", 0.0)
    found.jerk /= found.steps
    return found


def _signals(rule: Pursuit, measured: Pose, want: Command) -> dict[str, float]:
    """What the vehicle knows besides its frames, all of it measured."""
    drift_mps = measured.speed * sin(measured.heading - rule.road(measured))
    return {
        "speed": measured.speed,
        "lateral": rule.lateral(measured),
        "drift": DRIFT_S * drift_mps,
        "rule": want.steering,
    }


def _note(found: Outcome, since: int, ruled: bool, causes: tuple[str, ...]) -> None:
    if since < 0:
        return
    found.ruled += ruled
    found.causes |= set(causes)
    if ruled and found.trip is None:
        found.trip = since
