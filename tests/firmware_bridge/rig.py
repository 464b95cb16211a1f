# SPDX-License-Identifier: Apache-2.0
"""A guard, the host's end of the link and the firmware's twin on one simulated clock."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard import config
from edgeguard.decision import Decision
from edgeguard.guard import Guard
from firmware_bridge.host import HostLink, Phase
from firmware_bridge.keys import Keys
from firmware_bridge.links import Unit
from firmware_bridge.twin import McuTwin
from tests.faults.bench import LABELS, MEMBERS, write_policy

PERIOD_US = 10_000
KEYS = Keys(bytes(range(16)), bytes(range(16, 32)))
Wire = Callable[[list[Unit]], list[Unit]]


def one_to_one(units: list[Unit]) -> list[Unit]:
    """A wire that does nothing to what passes."""
    return units


class Rig:
    """The host ticks at 0, 10, 20 ms ...; the twin's turns lie half a period later."""

    def __init__(self, folder: Path, *, host_keys: Keys = KEYS, mcu: Any = None) -> None:
        self.guard = Guard.load(write_policy(folder))
        self.table = config.mcu_dict(self.guard.config)
        self.twin = McuTwin(mcu or self.table, KEYS, entropy=bytes(16))
        self.host = HostLink(self.table, host_keys, nonce=lambda n: bytes(n - 1) + b"\x01")
        self.now_us = 1_000_000
        self.twin.power_cycle(self.now_us)
        self.speed = 0.0
        self.label = "twenty"
        self.up: Wire = one_to_one  # host to microcontroller
        self.down = True  # microcontroller to host
        self.heard: Callable[[bytes], bytes] = lambda data: data  # what of it arrives
        self.down_us = 500
        self.alive = True  # the host's process
        self.decision: Decision | None = None
        self.guard.arm()

    def tick(self) -> None:
        """One control period: the host decides, then the microcontroller takes its turn."""
        if self.alive:
            self._decide()
        self._turn(self.now_us + PERIOD_US // 2)
        self.now_us += PERIOD_US

    def _decide(self) -> None:
        scores = np.full(len(LABELS), 0.0025, np.float32)
        scores[LABELS.index(self.label)] = 0.99
        for name in MEMBERS:
            self.guard.suggest(name, scores, self.now_us * 1000 - 5_000_000, self.now_us * 1000)
        self.guard.note(self.host.tick(self.now_us))
        self.guard.ask(self.host.question(self.now_us))
        self.decision = self.guard.decide({"speed": self.speed}, self.now_us * 1000)
        self.host.decided(self.decision, self.now_us)
        self._send(self.now_us + 500)

    def _send(self, at_us: int) -> None:
        for unit in self.up(self.host.take()):
            self.twin.receive(unit.data)
        self.twin.listen(at_us)

    def _turn(self, at_us: int) -> None:
        self.twin.sense(self.speed)
        data = self.twin.step(at_us)
        self.speed += (self.twin.actuator[0] - self.speed) * 0.05
        if self.alive and self.down:
            self.host.receive(self.heard(data), at_us + self.down_us)
            self._send(at_us + self.down_us + 500)

    def ticks(self, n: int) -> None:
        for _ in range(n):
            self.tick()

    def arm(self) -> None:
        """As `ticks`, until the handshake has come to an end."""
        self.host.arm(self.now_us)
        for _ in range(30):
            self.tick()
            if self.host.phase in (Phase.ARMED, Phase.REFUSED):
                return

    def drive(self, seconds: float) -> None:
        """Arm and drive towards 20 m/s."""
        self.arm()
        assert self.host.phase is Phase.ARMED, self.host.refusal
        self.ticks(round(seconds * 100))
        assert self.twin.mode == "NOMINAL"
        assert self.twin.actuator[0] > 1.0
