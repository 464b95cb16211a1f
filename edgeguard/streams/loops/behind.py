# SPDX-License-Identifier: Apache-2.0
"""The microcontroller behind a guard: the firmware's twin, whose output is the command, and whose
cable may be cut. When that is mended and the car stands, a person agrees to go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, evolve, field

from edgeguard._core import Mode
from edgeguard.guard import Guard
from edgeguard.output.mcu import Behind, InTwin
from edgeguard.streams.loops.fault import Fault, Moment
from edgeguard.streams.loops.steers import Said, patient, see
from edgeguard.streams.loops.vehicle import U8, Command
from firmware_bridge.host import Phase
from firmware_bridge.keys import make_keys
from firmware_bridge.links import Unit

if TYPE_CHECKING:
    from edgeguard.config import GuardConfig

PERIOD_NS, DECISIONS = 10_000_000, 2
"""A link that is lost after 36 ms wants more than two commands in that time: the guard decides
twice a frame."""
STANDS_MPS = 0.1  # the firmware's own, where the policy says nothing


class OnCable(InTwin):
    """A twin on a cable."""

    is_cut = False

    def _hear(self, data: bytes, now_us: int) -> None:
        super()._hear(b"" if self.is_cut else data, now_us)

    def _give(self, units: list[Unit], now_us: int) -> None:
        super()._give([] if self.is_cut else units, now_us)


@define
class BehindMcu:
    """The twin between a guard and the actuators."""

    guard: Guard
    mcu: OnCable
    _behind: Behind = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._behind = Behind(self.guard, self.mcu)
        self.mcu.arm()

    def step(self, frame: U8 | None, moment: Moment, fault: Fault, t_ns: int) -> Said:
        """See `steers.Steers`."""
        self.mcu.is_cut = fault.is_cut(moment)
        if self._may_go_on(moment):
            self.mcu.rearm()
        see(self.guard, frame, moment, fault, t_ns)
        for k in range(DECISIONS):
            made = self._behind.decide(dict(moment.signals), t_ns + k * PERIOD_NS)
        twin = self.mcu.twin
        speed, steering = twin.actuator
        stops = twin.mode == "SAFE_STOP"
        ruled, causes = stops or made.mode >= Mode.FALLBACK, made.causes + twin.causes
        return Said(Command(steering, speed), ruled, causes, made.detectors, stops)

    def _may_go_on(self, moment: Moment) -> bool:
        """A session ended, and nothing is wrong any more: time for a person to agree."""
        lost = self.mcu.host.phase in (Phase.IDLE, Phase.REFUSED)
        stands = moment.signals["speed"] < STANDS_MPS and self.mcu.twin.actuator[0] == 0.0
        return moment.since >= 0 and lost and stands and not self.mcu.is_cut


def opened(loaded: GuardConfig, seed: int) -> tuple[Guard, BehindMcu]:
    """A guard that is armed, with a twin of its own behind it."""
    guard = Guard(patient(evolve(loaded, guard=evolve(loaded.guard, period_ms=PERIOD_NS / 1e6))))
    guard.arm()
    return guard, BehindMcu(guard, OnCable(guard.config, make_keys(), bytes([seed % 256] * 16)))
