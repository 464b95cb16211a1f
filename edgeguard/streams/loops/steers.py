# SPDX-License-Identifier: Apache-2.0
"""What turns frames and signals into commands: a guard, or its members alone. The microcontroller
behind a guard is in behind.py."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from attrs import define, evolve

from edgeguard._core import Mode
from edgeguard.errors import ConfigError
from edgeguard.guard import Guard
from edgeguard.streams.loops.fault import Fault, Moment, Scores
from edgeguard.streams.loops.vehicle import U8, Command

if TYPE_CHECKING:
    from edgeguard.config import GuardConfig

CAMERA, CRUISE = "front", "cruise"
CHANNELS = "steering", "speed"
SIGNALS = "speed", "lateral", "drift", "aim", "rule", "rule_speed"
PERIOD_MS = 20.0  # CarRacing's own step
PATIENT_MS = 10_000.0


class Said(NamedTuple):
    """One step's command, and who gave it."""

    command: Command
    ruled: bool
    """By the rule, or by who stops the vehicle."""
    causes: tuple[str, ...] = ()
    detectors: tuple[str, ...] = ()
    stops: bool = False
    """The vehicle is being stopped."""


class Steers(Protocol):
    """One that can be asked on every step."""

    def step(self, frame: U8 | None, moment: Moment, fault: Fault, t_ns: int) -> Said:
        """frame: as it arrived; fault: what is done to members and link, from the onset on."""


def check(loaded: GuardConfig) -> None:
    """Raises ConfigError for a policy of another vehicle, which would fail on every drive."""
    external = {name for name, m in loaded.members.items() if m.runtime == "external"}
    frames = [(c.frame.width, c.frame.height, c.frame.format) for c in loaded.cameras.values()
              if c.frame is not None]  # fmt: skip
    wrong = {
        f"camera: want {CAMERA} alone": set(loaded.cameras) != {CAMERA},
        f"camera.{CAMERA}.frame: want 96 x 84, RGB": frames not in ([], [(96, 84, "RGB")]),
        f"channel: want {' and '.join(CHANNELS)}": set(loaded.channels) != set(CHANNELS),
        f"member: want {CRUISE} external, and no other": external != {CRUISE},
        f"signal: this car has {', '.join(SIGNALS)}": not set(loaded.signals) <= set(SIGNALS),
        f"guard.period_ms: want {PERIOD_MS:g}": loaded.guard.period_ms != PERIOD_MS,
    }
    for what, is_wrong in wrong.items():
        if is_wrong:
            raise ConfigError(f"{loaded.source}: {what}; this policy is none of the racing car")


def patient(loaded: GuardConfig) -> GuardConfig:
    """The same policy for a loop whose clock stands while it computes: what a busy machine takes
    for an inference or a rule is no fault of the vehicle that is simulated."""
    members = {n: evolve(m, deadline_ms=PATIENT_MS) for n, m in loaded.members.items()}
    return evolve(
        loaded, members=members, controller=evolve(loaded.controller, budget_ms=PATIENT_MS)
    )


def see(guard: Guard, frame: U8 | None, moment: Moment, fault: Fault, t_ns: int) -> None:
    """A frame to the members, and what they say through the fault to the guard; the speed is not
    a network's."""
    if frame is not None:
        guard.observe(CAMERA, frame, t_ns)
        if fault.member is not None and moment.since >= 0:
            for name, member in guard.members.items():
                if member.alive:
                    said = fault.member(member.card, member.scores.copy(), moment)
                    _hear(guard, name, said, t_ns)
    pace = np.array([moment.signals["rule_speed"]], np.float32)
    guard.suggest(CRUISE, pace, t_ns, t_ns)


def _hear(guard: Guard, name: str, said: Scores | None, t_ns: int) -> None:
    if said is None:
        guard.members[name].close()
    else:
        guard.suggest(name, said, t_ns, t_ns)


@define
class Guarded:
    """A guard, with its members in this process."""

    guard: Guard

    def step(self, frame: U8 | None, moment: Moment, fault: Fault, t_ns: int) -> Said:
        see(self.guard, frame, moment, fault, t_ns)
        made = self.guard.decide(dict(moment.signals), t_ns)
        command = Command(made.command["steering"], made.command["speed"])
        ruled, stops = made.mode >= Mode.FALLBACK, made.mode >= Mode.SAFE_STOP
        return Said(command, ruled, made.causes, made.detectors, stops)


@define
class Bare:
    """The same members without a guard: the mid value of the numbers that they say, whatever it is.
    Where nobody says any, the actuator holds its last command, as after a link's end."""

    guard: Guard
    """Opened for its members alone."""
    _last: float = 0.0

    def step(self, frame: U8 | None, moment: Moment, fault: Fault, t_ns: int) -> Said:
        pace = moment.signals["rule_speed"]
        if frame is None or fault.is_cut(moment):
            return Said(Command(self._last, pace), False)
        self.guard.observe(CAMERA, frame, t_ns)
        said = [v for v in map(self._value, *self._heard(moment, fault)) if isfinite(v)]
        if said:
            self._last = min(max(float(np.median(said)), -1.0), 1.0)
        return Said(Command(self._last, pace), False)

    def _heard(self, moment: Moment, fault: Fault) -> tuple[list[str], list[Scores]]:
        names, scores = [], []
        for name, member in self.guard.members.items():
            said: Scores | None = member.scores
            if fault.member is not None and moment.since >= 0:
                said = fault.member(member.card, member.scores.copy(), moment)
            if said is not None:
                names.append(name)
                scores.append(said)
        return names, scores

    def _value(self, name: str, scores: Scores) -> float:
        spec = self.guard.members[name].card.scores
        return (float(scores.reshape(-1)[0]) - (spec.zero_point or 0)) * (spec.scale or 1.0)


def opened(loaded: GuardConfig, mode: str, seed: int) -> tuple[Guard, Steers]:
    """A guard that is armed, and who steers: "off" its members alone, "mcu" the firmware's twin
    behind it, else the guard."""
    if mode == "mcu":
        from edgeguard.streams.loops import behind

        return behind.opened(loaded, seed)
    guard = Guard(patient(loaded))
    guard.arm()
    return guard, Bare(guard) if mode.startswith("off") else Guarded(guard)
