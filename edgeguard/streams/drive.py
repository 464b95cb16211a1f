# SPDX-License-Identifier: Apache-2.0
"""Step a guard, a car and the truth together along a stream: the only loop that does.

Time is simulated and runs as fast as the machine does, in lockstep: after each camera frame the
loop waits for the members, whose real latencies count. While a member's process is stopped, killed
or starting, simulated time keeps pace with the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from attrs import evolve

from edgeguard.config import GuardConfig
from edgeguard.streams.faults import Event, Subject
from edgeguard.streams.run import Recorder, Run
from edgeguard.streams.stream import PERIOD_MS, SignStream
from edgeguard.streams.vehicle import Car

CAMERA, SIGNAL, CHANNEL = "front", "speed", "target_speed"
PERIOD_NS = PERIOD_MS * 1_000_000
START_NS = 1_000_000_000
ANSWER_S = 2.0  # a member that takes longer than that is late in lockstep, too


@dataclass(frozen=True)
class Moment:
    """What a spectator sees after a tick."""

    tick: int
    frame: int
    decision: Any
    speed: float
    events: tuple[Event, ...]


Watch = Callable[[Moment], None]


def drive(
    subject: Subject,
    stream: SignStream,
    *events: Event,
    twin: Run | None = None,
    watch: Watch | None = None,
) -> Run:
    """Drive `subject` along `stream` while `events` happen, and judge its commands.

    A command is wrong where it leaves the safe set and the clean twin, the same stream without
    events, stays inside. The twin is driven once for each policy and stream; or it is given. A
    guard can be driven once: its clock cannot run back.
    """
    if twin is None and events:
        twin = _twin(subject, stream)
    run = _Drive(subject, stream, events, watch).run()
    return run.beside(twin)


_twins: dict[tuple[str, str, str, int], Run] = {}


def _twin(subject: Subject, stream: SignStream) -> Run:
    road = repr(([track.key for track in stream.tracks], stream.initial_kmh, stream.initial_speed))
    key = (type(subject).__name__, repr(subject.config), road, stream.seed)
    if key not in _twins:
        other: Subject = type(subject)(in_process(subject.config))  # type: ignore[call-arg]
        try:
            _twins[key] = _Drive(other, stream, (), None).run()
        finally:
            other.close()
    return _twins[key]


def in_process(config: GuardConfig) -> GuardConfig:
    """The same policy with its members in this process: the same answers, no processes to start."""
    members = {name: evolve(member, isolation="none") for name, member in config.members.items()}
    return evolve(config, members=members)


class _Pace:
    """Keeps simulated time from running ahead of the clock while it has to."""

    def __init__(self) -> None:
        self._ahead_ns: int | None = None

    def keep(self, t_ns: int) -> None:
        now_ns = time.monotonic_ns()
        if self._ahead_ns is None:
            self._ahead_ns = t_ns - now_ns
        time.sleep(max(0, t_ns - self._ahead_ns - now_ns) / 1e9)

    def free(self) -> None:
        self._ahead_ns = None


class _Drive:
    def __init__(
        self, subject: Subject, stream: SignStream, events: Sequence[Event], watch: Watch | None
    ) -> None:
        self.subject, self.stream, self.watch = subject, stream, watch
        self.events = tuple(sorted(events, key=lambda event: event.start))
        self.car = Car(speed=stream.initial_speed)
        self.pace = _Pace()
        self.capture_ns = START_NS

    def run(self) -> Run:
        self.subject.arm()
        recorder = Recorder(self.stream.ticks)
        for tick in range(self.stream.ticks):
            moment = self.tick(tick)
            recorder.record(tick, moment.decision, moment.speed)
            if self.watch:
                self.watch(moment)
        for event in self.events:
            if event.start < self.stream.frames <= event.stop:
                event.fault.end(self.subject)
        return Run(self.stream, self.events, recorder, self.subject.config)

    def tick(self, tick: int) -> Moment:
        t_ns = START_NS + tick * PERIOD_NS
        frame, rest = divmod(tick, self.stream.ticks_per_frame)
        if rest == 0:
            self.turn(frame)
        active = tuple(event for event in self.events if event.start <= frame < event.stop)
        if rest == 0:
            self.look(frame, active, t_ns)
        self.keep_time(active, t_ns, rest == 0)
        for event in active:
            event.fault.speak(self.subject, self.capture_ns, t_ns)
        decision = self.subject.decide({SIGNAL: self.car.speed}, t_ns)
        self.car.step(decision.command[CHANNEL], PERIOD_MS / 1000)
        return Moment(tick, frame, decision, self.car.speed, active)

    def turn(self, frame: int) -> None:
        """Let events end and begin."""
        for event in self.events:
            if event.stop == frame:
                event.fault.end(self.subject)
            if event.start == frame:
                event.fault.begin(self.subject)

    def look(self, frame: int, active: tuple[Event, ...], t_ns: int) -> None:
        shots: Sequence[Any] = [self.stream.shot(frame, t_ns)]
        for event in active:
            faulty = event.fault.shots(self.stream, frame, frame - event.start, t_ns)
            shots = shots if faulty is None else faulty
        for shot in shots:
            self.subject.observe(CAMERA, shot.frame, shot.t_ns, shot.box)
            self.capture_ns = shot.t_ns

    def keep_time(self, active: tuple[Event, ...], t_ns: int, new_frame: bool) -> None:
        """Wait for the members, or keep pace with them when one of them is not itself."""
        members = self.subject.members.values()
        if any(event.fault.real_time for event in active) or not all(m.alive for m in members):
            self.pace.keep(t_ns)
            return
        self.pace.free()
        if new_frame:
            self.subject.wait(ANSWER_S)
