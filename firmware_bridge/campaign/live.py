# SPDX-License-Identifier: Apache-2.0
"""The host of a campaign as a process of its own, on a real port in real time.

It does what `drive.Drive` and `case.Case` do in the twin, so that the same faults can be injected,
and tells the process that judges what it did, a JSON line at a time: that line is written before
the bytes are, so that nothing is lost when it is killed.
"""

from __future__ import annotations

import heapq
import json
import os
import time
from collections.abc import Iterable, Mapping
from math import isfinite
from random import Random
from typing import Any

import serial

from firmware_bridge.campaign.case import Case, Fault
from firmware_bridge.campaign.drive import Drive, Piece, clean
from firmware_bridge.campaign.judge import Judge, Limits
from firmware_bridge.host import HostLink, Phase
from firmware_bridge.keys import Keys
from firmware_bridge.native import ONE, lib
from firmware_bridge.plant import Vehicle

ARM_S = 4.0
FULL_S = 5.0  # a port takes no more for as long as a host that babbled has to wait
SECOND_US = 1_000_000
LATE_US = 5_000  # a tick that comes later than this was held up by the machine


class Disturbed(Exception):
    """The machine was too busy, or did not arm: this attempt does not count."""


class Held(Disturbed):
    """The firmware's turns came late from the fault on and in time before it: of one attempt the
    machine may be to blame, of many the fault."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self.kind = kind


class Remote:
    """What the host knows of the microcontroller."""

    def __init__(self, host: HostLink) -> None:
        self._host = host

    @property
    def mode(self) -> str:
        """As it said last."""
        return self._host.state.mode if self._host.state else "SAFE_STOP"

    @property
    def causes(self) -> tuple[str, ...]:
        """As it said last."""
        return self._host.state.causes if self._host.state else ()

    @property
    def resets(self) -> int:
        """Those that it told."""
        return self._host.boot.resets if self._host.boot else 0

    @property
    def counts(self) -> dict[str, int]:
        """It does not tell."""
        return {}


class Live(Drive):
    """`Drive` on a port. Times are those of the machine's monotonic clock, microseconds."""

    slack_us = 40_000

    def __init__(
        self, table: Mapping[str, Any], keys: Keys, rng: Random, port: str, tell: int,
        host_clock: int = 0,
    ) -> None:  # fmt: skip
        """port: a device; tell: file descriptor of the judging process."""
        self.rng = rng
        self.period_us = int(table["link"]["period_us"])
        self.phase_us, self.up_us, self.down_us = 0, 0, 0
        self.channels = len(table["policy"]["channels"])
        self.host = HostLink(table, keys)  # its nonces are no part of the fault
        self.twin = Remote(self.host)  # type: ignore[assignment]
        self.vehicle = Vehicle()
        self.judge = Judge(Limits(table))
        self.decided = {}
        self.number, self.want = 0, [0, 0]
        self.engaged = self.alive = True
        self.change, self.up, self.down = None, clean, bytes
        self.stamp = lambda us: us
        self.asked_us = self._asked = self.answered = 0
        self.late_us = 0
        """The worst delay so far, of a tick or of a STATE on its way."""
        self._stamp_us, self._way_us = -1, 1 << 32
        self._host_clock, self._ppm = host_clock, 0
        self._flying, self._order = [], 0
        self._sensed = (True, True)
        self._tell = tell
        self._said: tuple[str, tuple[str, ...]] | None = None
        self._port = serial.Serial(port, 1_000_000, timeout=0, write_timeout=FULL_S, exclusive=True)
        self.us = now_us()

    def tell(self, *row: Any) -> None:
        """To the judge."""
        os.write(self._tell, (json.dumps(row) + "\n").encode())

    def close_port(self) -> None:
        """It is gone; the process lives on."""
        self._port.close()
        self.alive = False

    def turn(self, moves: bool = True) -> None:
        """Until the next tick, and the tick."""
        self.us += self.period_us
        while True:
            self._listen()
            self.arrive(now_us())
            left_us = self.us - now_us()
            if left_us <= 0:
                break
            next_us = self._flying[0][0] - now_us() if self._flying else left_us
            time.sleep(max(0, min(left_us, next_us, 1000)) / 1e6)
        self.late_us = max(self.late_us, -left_us)
        if left_us < -self.period_us:  # no second tick to make up for one
            self.us = now_us()
        if self.alive:
            self.tick(now_us())
            self.arrive(now_us())

    def _listen(self) -> None:
        if not self.alive:
            return
        data = self._port.read(4096)
        if data:
            self._hear(data, now_us())
            self._wire()
        said = self.twin.mode, self.twin.causes
        if said != self._said:
            self._said = said
            self.tell("c", now_us(), *said)

    def _wire(self) -> None:
        """How much longer than the fastest the newest STATE took: what the machine did to it."""
        state = self.host.state
        if state is None or state.stamp_us == self._stamp_us:
            return
        self._stamp_us = state.stamp_us
        way_us = (now_us() - state.stamp_us) & 0xFFFFFFFF
        self._way_us = min(self._way_us, way_us)
        if way_us - self._way_us < SECOND_US:  # else its clock began anew
            self.late_us = max(self.late_us, way_us - self._way_us)

    def arrive(self, until_us: int) -> None:
        """Write what is due."""
        while self.alive and self._flying and self._flying[0][0] <= until_us:
            piece = heapq.heappop(self._flying)[2]
            if piece.number:
                self.tell("a", now_us(), piece.number, *self.decided[piece.number])
            self._port.write(piece.data)

    def put(self, pieces: Iterable[Piece]) -> None:
        """What is due at once is written at once."""
        super().put(pieces)
        self.arrive(now_us())

    def arm(self) -> bool:
        """Raises Disturbed when it takes too long."""
        end_us = now_us() + int(ARM_S * 1e6)
        while self.host.state is None and now_us() < end_us:
            self.turn()
        self.host.arm(self.host_us(now_us()))
        self.send(now_us())
        while self.host.phase is not Phase.ARMED and now_us() < end_us:
            self.turn()
        if self.host.phase is not Phase.ARMED:
            raise Disturbed(f"does not arm: {self.host.refusal or 'no answer'}")
        return True

    @property
    def measured(self) -> tuple[int, int]:
        """As it said last; 0 where it cannot measure."""
        state = self.host.state
        said = (state.speed, state.steering) if state else (0.0, 0.0)
        return round(_known(said[0]) * ONE), round(_known(said[1]) * ONE)


def _known(value: float) -> float:
    return value if isfinite(value) else 0.0


def now_us() -> int:
    """The plant logs with the same clock."""
    return time.monotonic_ns() // 1000


class LiveCase(Case):
    """`Case` on a port: it is judged elsewhere, from what it tells and what the plant logs."""

    live = True

    def __init__(
        self, fault: Fault, index: int, table: Mapping[str, Any], rng: Random, keys: Keys,
        port: str, tell: int,
    ) -> None:  # fmt: skip
        super().__init__(fault, index, table, rng)
        self._keys, self._port, self._fd = keys, port, tell

    def start(
        self,
        speed: tuple[float, float] = (2.0, 4.0),
        *,
        sessions: int = 1,
        clocks: Mapping[str, int] | None = None,
    ) -> Drive:
        """Arm, speed up, and go on for a while."""
        clock = (clocks or {}).get("host_clock", self.rng.getrandbits(32) - now_us())
        self.live_drive = Live(self.table, self._keys, self.rng, self._port, self._fd, clock)
        self.drive = self.live_drive
        for _ in range(sessions):
            self.drive.arm()
            self.drive.turns(8 if sessions > 1 else 0)
        self.drive.want[0] = round(self.rng.uniform(2.0, 3.5) * ONE)
        self.drive.turns(self.rng.randint(110, 170))
        self.live_drive.tell("on", now_us())
        self.go(self.rng.randint(16, 35))
        if self.tripped_us is not None:
            raise Disturbed(f"stopped before the fault: {sorted(self.seen)}")
        self.live_drive.late_us = 0
        return self.drive

    def go(self, turns: int, *, wish: bool = True, moves: bool = True) -> None:
        """Let time pass."""
        for _ in range(turns):
            if wish:
                self.wish()
            self.drive.turn()
            self.seen |= set(self.drive.twin.causes)
            if self.tripped_us is None and self.drive.twin.mode == "SAFE_STOP":
                self.tripped_us = now_us()

    def begin(self, kind: str) -> None:
        """The fault is there from now on."""
        super().begin(kind)
        self.live_drive.tell("begin", now_us(), kind)

    def stop(self, evidence_us: int | None = None) -> None:
        """Tell what must follow."""
        self.live_drive.tell("must", True, evidence_us, sorted(self.causes))

    def no_stop(self) -> None:
        """Tell what must not follow."""
        self.live_drive.tell("must", False, None, sorted(self.causes))

    def wrong(self, text: str) -> None:
        """Tell what must not be."""
        self.live_drive.tell("wrong", text)

    def ask(self, what: str, *more: Any) -> None:
        """The judging process kills, stops, resets or flips; within a few ms."""
        self.live_drive.tell("do", what, *more)

    def end(self) -> None:
        """All is told."""
        self.live_drive.tell("end", self.live_drive.late_us)


__all__ = ["Disturbed", "Live", "LiveCase", "lib"]
