# SPDX-License-Identifier: Apache-2.0
"""What a host in real time tells the process that judges it (`live.Live.tell`)."""

from __future__ import annotations

from typing import Any

from attrs import define, field

from firmware_bridge.campaign.live import LATE_US


@define
class Told:
    """What the host told, in order."""

    kind: str = ""
    begin_us: int = 0
    on_us: int = 0
    must: bool | None = None
    evidence_us: int | None = None
    causes: frozenset[str] = frozenset()
    arrivals: list[tuple[int, int, int, tuple[int, ...], bool]] = field(factory=list)
    said: set[str] = field(factory=set)
    stops: list[tuple[int, bool]] = field(factory=list)
    """From when on it said that it stops, or that it does not."""
    wrong: list[str] = field(factory=list)
    disturbed: str = ""
    done: list[tuple[int, str]] = field(factory=list)
    """What was done from here, and when."""
    late_us: int = 0
    """By how much the latest tick of the host, or STATE on its way to it, came late."""
    locked: bool = False
    """The processor locked up, and QEMU ended."""

    def hear(self, row: list[Any]) -> None:
        """One line."""
        what, *rest = row
        if what == "a":
            at_us, number, decided_us, command, engaged = rest
            self.arrivals.append((at_us, number, decided_us, tuple(command), engaged))
        elif what == "begin":
            self.begin_us, self.kind = rest
            self.said.clear()
        elif what == "on":
            self.on_us = rest[0]
        elif what == "must":
            self.must, self.evidence_us = rest[0], rest[1]
            self.causes = frozenset(rest[2])
        elif what == "c":
            at_us, mode, causes = rest
            self.said |= set(causes)
            self._stops(at_us, mode == "SAFE_STOP")
        elif what == "wrong":
            self.wrong.append(rest[0])
        elif what == "disturbed":
            self.disturbed = rest[0]
        elif what == "gone" and not self.done:
            self.disturbed = f"the port is gone: {rest[0]}"
        elif what == "end":
            self.late_us = rest[0]

    def _stops(self, at_us: int, now: bool) -> None:
        if self.begin_us and not now and self.stops and self.stops[-1][1]:
            self.wrong.append("leaves SAFE_STOP by itself")
        self.stops.append((at_us, now))

    @property
    def disturbance(self) -> str:
        """What the machine did to the host; empty: nothing that matters."""
        if not self.disturbed and self.late_us > LATE_US and self.must is False:
            return f"a tick or a frame came {self.late_us / 1000:.0f} ms late"
        return self.disturbed

    @property
    def flips(self) -> list[int]:
        """When bits were flipped."""
        return [at for at, what in self.done if what == "flip"]

    def evident_us(self, until_us: int) -> int | None:
        """Since when it can be known: what was done from here last, since a processor that is reset
        again begins again; else what the host said."""
        done = [at for at, what in self.done if what in ("reset", "flip") and at <= until_us]
        return done[-1] if done else self.evidence_us

    @property
    def deaf(self) -> bool:
        """It could not hear how the microcontroller calls what followed."""
        return bool(self.must) and "LINK_LOST" in self.causes - self.said
