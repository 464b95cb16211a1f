# SPDX-License-Identifier: Apache-2.0
"""One injection: a drive, a fault at a random moment, and what was seen of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any, ClassVar

from attrs import define, field, frozen

from edgeguard.errors import EdgeguardError
from firmware_bridge.campaign.drive import SAFE_STOP, Drive
from firmware_bridge.keys import Keys
from firmware_bridge.native import ONE

KEYS = Keys(bytes(range(16)), bytes(range(16, 32)))
"""Of the twin alone, which nobody else talks to."""


@frozen
class Fault:
    """A row of the catalogue, and how it is made to happen."""

    id: str
    title: str
    mechanism: str
    """What really happens, in words."""
    causes: frozenset[str]
    """What the microcontroller may call it."""
    inject: Callable[[Case], None]
    steers: bool = False
    """Only for a vehicle that does."""


@define
class Result:
    """What one injection led to."""

    fault: str
    index: int
    kind: str
    wrong: int
    """Turns with a wrong command at the actuator; a stop that did not come counts as one."""
    why: list[str]
    """What was wrong, the first few."""
    safe_us: int | None
    """From the last good frame, or the first evidence, to the start of the ramp."""
    named: bool | None
    """Whether the cause was called by its name; None: there was nothing to name."""
    false_trips: int

    def row(self) -> dict[str, Any]:
        """As it is stored."""
        short = {
            "f": self.fault, "i": self.index, "k": self.kind, "w": self.wrong, "t": self.safe_us,
            "c": self.named, "x": self.false_trips,
        }  # fmt: skip
        return {**short, "why": self.why} if self.why else short


@define(slots=False)
class Case:
    """What a fault works with. It says `kind`, and what must follow: `stop` or `no_stop`."""

    fault: Fault
    index: int
    table: Mapping[str, Any]
    rng: Random
    firmware: Mapping[str, Any] | None = None
    live: ClassVar[bool] = False
    """On a port, in real time: what is not a matter of the wire cannot be reached."""
    kind: str = ""
    drive: Drive = field(init=False)
    causes: frozenset[str] = field(init=False)
    counts: tuple[str, ...] = ()
    """Of the link: one of these must have grown, if not empty."""
    seen: set[str] = field(factory=set)
    why: list[str] = field(factory=list)
    false_trips: int = 0
    onset_us: int = 0
    tripped_us: int | None = None
    _must: bool | None = None
    _evidence_us: int | None = None
    _before: dict[str, int] = field(factory=dict)
    _hold: int = 0
    _mask: int = -1
    _safe_us: int | None = None
    _closed: bool = False

    def __attrs_post_init__(self) -> None:
        self.causes = self.fault.causes

    # ------------------------------------------------------------- before it

    def start(
        self,
        speed: tuple[float, float] = (2.0, 30.0),
        *,
        sessions: int = 1,
        clocks: Mapping[str, int] | None = None,
    ) -> Drive:
        """Arm, get to a random speed of this range (m/s), and drive on for a while."""
        drive = Drive(self.table, KEYS, self.rng, firmware=self.firmware, **clocks or {})
        self.drive = drive
        drive.turns(self.rng.randint(1, 4))
        for _ in range(sessions):
            if not drive.arm():
                why = drive.host.refusal or "no answer"
                raise EdgeguardError(f"{self.fault.id} {self.index}: does not arm: {why}")
            drive.turns(8 if sessions > 1 else 0)
        limits = drive.judge.limits
        fastest = self.table["policy"]["channels"][0]["rows"][0]["max"] / ONE
        v = self.rng.uniform(speed[0], min(speed[1], fastest))
        angle = 0.0
        if drive.channels > 1:
            angle = self.rng.uniform(-0.7, 0.7) * limits.at(1, (round(v * ONE), 0)).high / ONE
        drive.roll(v, angle)
        drive.judge.on = True
        self.go(self.rng.randint(6, 25))
        if self.tripped_us is not None:
            self.false_trips += 1
            self.why.append(f"stopped before the fault: {sorted(self.seen)}")
        return drive

    def wish(self) -> None:
        """The host goes on along a random course."""
        self._hold -= 1
        if self._hold > 0:
            return
        self._hold = self.rng.randint(4, 25)
        drive = self.drive
        limits = drive.judge.limits
        speed = drive.want[0] / ONE + self.rng.choice((-9.0, -1.0, 0.0, 0.5, 3.0, 30.0))
        speed = max(1.0, min(speed, self.table["policy"]["channels"][0]["rows"][0]["max"] / ONE))
        drive.want[0] = round(speed * ONE)
        if drive.channels > 1:
            most = limits.at(1, drive.measured).high
            drive.want[1] = round(self.rng.uniform(-0.9, 0.9) * most)

    def go(self, turns: int, *, wish: bool = True, moves: bool = True) -> None:
        """Let time pass, and look at what the microcontroller says."""
        twin = self.drive.twin
        for _ in range(turns):
            if wish:
                self.wish()
            issued = twin.actuations
            self.drive.turn(moves)
            if self.drive.booted:
                continue
            if twin.actuations == issued:
                self.wrong("no command is issued")
            self._look()

    def _look(self) -> None:
        """What it says of itself after a turn."""
        twin = self.drive.twin
        mask = int(twin.raw.mcu.out.causes)
        if mask != self._mask:
            self._mask = mask
            self.seen |= set(twin.causes)
        if int(twin.raw.mcu.out.mode) == SAFE_STOP:
            if self.tripped_us is None:
                self.tripped_us = self.drive.us - self.drive.period_us
        elif self.tripped_us is not None and not self._closed:
            self.wrong("leaves SAFE_STOP by itself")

    # ------------------------------------------------------------- what follows

    def begin(self, kind: str) -> None:
        """The fault is there from now on."""
        self.kind = kind
        self.onset_us = self.drive.us
        self._before = self.drive.twin.counts
        self.seen.clear()
        self._mask = -1

    def stop(self, evidence_us: int | None = None) -> None:
        """The vehicle must stop. Time counts from the evidence; without one, from the last good
        frame of a command."""
        self._must, self._evidence_us = True, evidence_us
        if evidence_us is not None:
            self.drive.judge.must_stop(evidence_us)

    def no_stop(self) -> None:
        """The vehicle must drive on."""
        self._must = False

    def wrong(self, text: str) -> None:
        """Something that must not be, beside what the judge finds."""
        self.why.append(text)

    def close(self) -> None:
        """The stop is over: look at it now; the case may go on with arming again."""
        if self._closed:
            return
        self._closed = True
        judge = self.drive.judge
        moving = judge.trace[-1].speed > 0
        ramp_us = judge.ramp_us(self.onset_us)
        if self._must and ramp_us is None and moving:
            self.wrong("does not stop")
        if self._must is False and self.tripped_us is not None and self.tripped_us >= self.onset_us:
            self.false_trips += 1
            self.why.append(f"stops although it need not: {sorted(self.seen)}")
        if ramp_us is None or (self.tripped_us is None and not self._must):
            return
        start_us = self._evidence_us
        if start_us is None:
            before = [at for at in judge.arrivals if at <= ramp_us]
            start_us = before[-1] if before else None
        if start_us is not None:
            self._safe_us = max(0, ramp_us - start_us)
            if self._safe_us > judge.limits.safe_us:
                self.wrong(f"begins to stop {self._safe_us} us after the last good frame")

    def result(self) -> Result:
        """What was found."""
        self.close()
        wrong = self.drive.judge.wrong
        others = [w for w in self.why if not w.startswith("stop")]
        texts = [f"{(t - self.onset_us) / 1000:.0f} ms: {text}" for t, text in wrong[:3]]
        return Result(
            fault=self.fault.id,
            index=self.index,
            kind=self.kind,
            wrong=len({t for t, _ in wrong}) + len(others),
            why=(self.why + texts)[:4],
            safe_us=self._safe_us,
            named=self._named(),
            false_trips=self.false_trips,
        )

    def _named(self) -> bool | None:
        """The cause among those that are meant, and the frames in the class that is meant."""
        after = self.drive.twin.counts
        counted = any(after[name] > self._before[name] for name in self.counts)
        asked = self._must is True or (self._must is None and self.tripped_us is not None)
        if not asked and not self.counts:
            return None
        named = not asked or bool(self.seen & self.causes)
        return named and (counted or not self.counts)
