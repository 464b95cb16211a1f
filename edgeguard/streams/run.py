# SPDX-License-Identifier: Apache-2.0
"""What happened on a drive, tick by tick, and what it is worth: wrong commands and times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from edgeguard.decision import CAUSES, Mode
from edgeguard.streams.faults import Event
from edgeguard.streams.stream import PERIOD_MS, SignStream

Bools = npt.NDArray[np.bool_]
CHANNEL = "target_speed"


class Recorder:
    """What is kept of every tick: arrays [N]; commands and speeds in m/s."""

    def __init__(self, ticks: int) -> None:
        self.command = np.zeros(ticks)
        self.speed = np.zeros(ticks)
        self.mode = np.zeros(ticks, np.int8)
        self.label = np.full(ticks, -1, np.int16)
        self.votes = np.zeros(ticks, np.int8)
        self.voters = np.zeros(ticks, np.int8)
        self.causes = np.zeros(ticks, np.uint32)
        self.present = np.zeros(ticks, np.uint32)

    def record(self, tick: int, decision: Any, speed: float) -> None:
        """Keep a decision and the car's speed after it."""
        said = decision.evidence[CHANNEL]
        self.command[tick] = decision.command[CHANNEL]
        self.speed[tick] = speed
        self.mode[tick] = decision.mode
        self.label[tick], self.votes[tick] = said["label"], said["votes"]
        self.voters[tick] = said["voters"]
        self.causes[tick] = _bits(decision.causes)
        self.present[tick] = _bits(decision.present)


class Wrong(NamedTuple):
    """A command at the actuator outside the safe set, where the clean twin stays inside."""

    seconds: float
    command: float
    top: float


class Verdict(NamedTuple):
    """What one event did to a run. Times in ms; None where it never happened."""

    event: Event
    wrong: int
    """Ticks with a wrong command from its onset to that of the next event."""
    cause: str | None
    """The first cause that acted, among those that did not act before."""
    to_safe_ms: float | None
    """From the first evidence to the command that no longer follows the fault."""
    away_ms: float
    """Time outside NOMINAL and DEGRADED."""
    recover_ms: float | None
    """From the end of the fault to where the guard is back in NOMINAL."""
    lowest: float
    highest: float
    """Commands from the onset to the next event."""


@dataclass(frozen=True)
class Run:
    """One drive. A command is wrong where the clean twin stays in the safe set and it does not."""

    stream: SignStream
    events: tuple[Event, ...]
    timeline: Recorder
    config: Any
    twin: Run | None = field(default=None, repr=False)

    def beside(self, twin: Run | None) -> Run:
        """This run judged beside its clean twin."""
        return replace(self, twin=twin)

    @cached_property
    def outside(self) -> Bools:
        """Ticks whose command lies outside the safe set."""
        return self.stream.safe.outside(self.timeline.command)

    @cached_property
    def wrong(self) -> Bools:
        """Ticks with a wrong command: outside, and inside on the clean twin."""
        return self.outside & ~self.twin.outside if self.twin else np.zeros_like(self.outside)

    @property
    def wrong_commands(self) -> list[Wrong]:
        """All wrong commands, in order."""
        t, top = self.timeline, self.stream.safe.top
        return [
            Wrong(i * PERIOD_MS / 1000, float(t.command[i]), float(top[i]))
            for i in np.flatnonzero(self.wrong).tolist()
        ]

    @property
    def first_cause(self) -> str | None:
        """The first cause that acted because of the first event."""
        return self.verdicts[0].cause if self.events else None

    @property
    def time_to_safe_ms(self) -> float:
        """Of the first event. Raises ValueError when no safe command followed."""
        found = self.verdicts[0].to_safe_ms if self.events else None
        if found is None:
            raise ValueError("no safe command followed the first evidence")
        return found

    @property
    def safe_stops(self) -> int:
        """How often SAFE_STOP was entered after arming."""
        stopped = self.timeline.mode == Mode.SAFE_STOP
        return int(np.count_nonzero(stopped[1:] & ~stopped[:-1]) + stopped[0])

    @cached_property
    def counted(self) -> Bools:
        """Ticks that count for availability: outside [onset, end + declared recovery bound]."""
        counted = np.ones(self.stream.ticks, bool)
        for event in self.events:
            end = self.tick(event.stop) + round(event.fault.recovery_ms(self.config) / PERIOD_MS)
            counted[self.tick(event.start) : end] = False
        return counted

    @property
    def availability(self) -> float:
        """Share of the counted ticks in NOMINAL or DEGRADED."""
        available = self.timeline.mode <= Mode.DEGRADED
        return float(available[self.counted].mean()) if self.counted.any() else 0.0

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """What each event did, in order."""
        ends = [*(self.tick(event.start) for event in self.events[1:]), self.stream.ticks]
        return [self._verdict(event, end) for event, end in zip(self.events, ends, strict=True)]

    def tick(self, frame: int) -> int:
        """The tick on which a camera frame arrives."""
        return frame * self.stream.ticks_per_frame

    def _verdict(self, event: Event, end: int) -> Verdict:
        start, stop = self.tick(event.start), self.tick(event.stop)
        timeline = self.timeline
        span = slice(start, end)
        near = min(stop + self.stream.ticks_per_frame, end)  # later causes are not of this event
        return Verdict(
            event,
            int(self.wrong[span].sum()),
            self._cause(event, start, near),
            self._to_safe(event, start, near, end),
            float(np.count_nonzero(timeline.mode[span] > Mode.DEGRADED) * PERIOD_MS),
            self._recover(stop, end),
            float(timeline.command[span].min()),
            float(timeline.command[span].max()),
        )

    def _cause(self, event: Event, start: int, end: int) -> str | None:
        """The first one that acts anew; of several on one tick, the one that the fault expects."""
        causes = self.timeline.causes
        new = causes[start:end] & ~(causes[start - 1] if start else np.uint32(0))
        at = np.flatnonzero(new)
        if not len(at):
            return None
        names = [name for i, name in enumerate(CAUSES) if int(new[at[0]]) >> i & 1]
        return min(names, key=lambda name: name not in event.fault.causes)

    def _to_safe(self, event: Event, start: int, near: int, end: int) -> float | None:
        """Until a cause of the fault acts and the command is in the safe set; 0 when the vote alone
        kept every command there."""
        mask = _bits(event.fault.causes)
        acts = (self.timeline.causes[start:near] & mask) != 0
        acts |= self.timeline.mode[start:near] >= Mode.FALLBACK
        found = np.flatnonzero(acts & ~self.wrong[start:near])
        if len(found):
            return max(float(found[0] * PERIOD_MS) - event.fault.evidence_ms(self.config), 0.0)
        return None if self.wrong[start:end].any() else 0.0

    def _recover(self, stop: int, end: int) -> float | None:
        found = np.flatnonzero(self.timeline.mode[stop:end] == Mode.NOMINAL)
        return float(found[0] * PERIOD_MS) if len(found) else None


def _bits(names: Sequence[str]) -> int:
    return sum(1 << CAUSES.index(name) for name in names)
