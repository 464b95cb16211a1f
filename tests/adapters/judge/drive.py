# SPDX-License-Identifier: Apache-2.0
"""The loop: a car sends its frames, a network suggests, the guard decides or does not, the adapter
sends, and opendbc's transmit hook says whether it would have let that through.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import isnan
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import can
import numpy as np
from attrs import define, field

from edgeguard import Guard
from edgeguard.adapters.can import Commands
from edgeguard.adapters.card import number
from edgeguard.config import load
from edgeguard.config.schema import Channel
from tests.adapters.judge.brands import HERE, Brand
from tests.adapters.judge.car import Car, Network
from tests.adapters.judge.hooks import Hooks

TOKEN = "a person"
BLIND_S = 40.0  # so often a signal is lost for a while


@define
class Outcome:
    """What became of the frames that were sent."""

    sent: int = 0
    blocked: int = 0
    active: int = 0
    """Of those sent, with the request to act on them."""
    modes: Counter[str] = field(factory=Counter)
    first: str | None = None
    """What was blocked first, in words."""


class Bare:
    """The network's word is the command, as far as a frame can carry it."""

    def __init__(self, brand: Brand) -> None:
        self._channels = {"network": "steering", "cruise": "accel"}
        self._last = {self._channels[name]: 0.0 for name in brand.most}
        self._most = {"steering": 1000.0, "accel": 5.4}

    def decide(self, said: Mapping[str, float], signals: dict[str, float], t_ns: int) -> Any:
        for member, value in said.items():
            channel = self._channels[member]
            if not isnan(value):
                most = self._most[channel]
                self._last[channel] = min(max(value, -most), most)
        active = signals["engaged"] == 1.0
        command = dict(self._last) if active else {**self._last, "steering": signals["angle"]}
        return SimpleNamespace(command=command, active=active, mode=SimpleNamespace(name="BARE"))


class Guarded:
    """The guard with the brand's limits as its policy; a person re-arms it at every standstill."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        guard.arm()

    def decide(self, said: Mapping[str, float], signals: dict[str, float], t_ns: int) -> Any:
        for member, value in said.items():
            self._guard.suggest(member, np.float32([value]), t_ns - 5_000_000, t_ns)
        decision = self._guard.decide(signals, t_ns)
        if decision.mode.name == "SAFE_STOP" and signals["speed"] == 0.0:
            self._guard.rearm(TOKEN)
        return decision


def policy(brand: Brand, folder: Path) -> Path:
    """Its guard.toml, with the cards of what suggests."""
    number("angle", -1000.0, 1000.0, "deg").save(folder / "angle.card.json")
    number("accel", -20.0, 20.0, "m/s2").save(folder / "accel.card.json")
    path = folder / f"{brand.name}.toml"
    path.write_text((HERE / path.name).read_text())
    return path


def within(channel: Channel, car: Car) -> bool:
    """Whether commands could begin where the wheel stands; they begin where it stood in the last
    period. A driver who turns it further than the policy allows at this speed is not relieved: no
    command would be right."""
    most = np.interp(
        car.speed_seen, [r.speed for r in channel.table], [r.range.high for r in channel.table]
    )
    return bool(abs(car.angle_seen) <= most)


def signals_of(
    car: Car, brand: Brand, rng: Random, accel: float, engaged: bool
) -> dict[str, float]:
    """What the guard is told: what the car's frames say, and a rule that has no sense either."""
    lane = 0.9 * car.angle_seen if rng.random() < 0.98 else rng.uniform(-300.0, 300.0)
    found = {
        "speed": car.speed_seen, "angle": car.angle_seen, "lane": lane, "engaged": float(engaged),
    }  # fmt: skip
    if "cruise" in brand.most:
        found["accel"] = min(max(accel, -3.48), 2.0)
    return found


def drive(brand: Brand, commands: int, seed: int, guarded: bool, folder: Path) -> Outcome:
    """Drive until that many frames were sent. folder: for the compiled hooks and the policy."""
    rng, says, hooks = Random(seed), Random(seed + 1), Hooks(folder, brand.mode, brand.param)
    car = Car(rng, brand.period_s, brand.most_mps, brand.angle_grid, brand.speed_grid)
    networks = {name: Network(says, most) for name, most in brand.most.items()}
    config = load(policy(brand, folder))
    judged, found, accel = Reader(hooks), Outcome(), 0.0
    with can.Bus(brand.name, "virtual") as bus, can.Bus(brand.name, "virtual") as other:
        send = Commands(bus, brand.database, config, brand.messages)
        driver = Guarded(Guard(config, TOKEN)) if guarded else Bare(brand)
        tick, engaged, inside = 0, False, False
        while found.sent < commands:
            tick += 1
            t_us = int((tick + rng.uniform(0.0, 0.4)) * brand.period_s * 1e6)
            hooks.clock(t_us)
            for frame in brand.frames(car, tick):
                hooks.received(*frame)
            was, inside = inside, within(config.channels["steering"], car)
            engaged = car.cruise and (engaged or (was and inside))
            signals = signals_of(car, brand, rng, accel, engaged)
            if engaged and tick * brand.period_s % BLIND_S > BLIND_S - 0.3:
                signals["speed"] = np.nan
            said = {name: network() for name, network in networks.items() if says.random() < 0.9}
            decision = driver.decide(said, signals, t_us * 1000)
            send(decision, t_us * 1000)
            passed = judged.judge(other, found, decision)
            acts = decision.active and passed and hooks.controls_allowed
            car.stopping, before = decision.mode.name == "SAFE_STOP", car.speed
            car.step(
                decision.command["steering"] if acts else None,
                decision.command.get("accel") if acts else None,
            )
            accel = (car.speed - before) / brand.period_s
    return found


class Reader:
    """The other end of the bus: it hands every frame to the hooks."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks

    def judge(self, bus: can.BusABC, found: Outcome, decision: Any) -> bool:
        """Whether all of them passed."""
        passed = True
        found.modes[decision.mode.name] += 1
        while (frame := bus.recv(timeout=0)) is not None:
            ok = self._hooks.lets_through(frame.arbitration_id, bytes(frame.data), 0)
            found.sent += 1
            found.blocked += not ok
            found.active += decision.active
            if not ok and found.first is None:
                found.first = (
                    f"frame {found.sent}: {frame.arbitration_id:#x} {bytes(frame.data).hex()}"
                    f" {decision.command} active={decision.active} {decision.mode.name}"
                )
            passed = passed and ok
        return passed
