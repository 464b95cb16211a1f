# SPDX-License-Identifier: Apache-2.0
"""One injection into a guard: a road with signs, a fault at a random moment, what came of it."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import define, field

from edgeguard._core import Decision, Mode
from edgeguard.config import GuardConfig, bounds
from edgeguard.guard import Guard
from edgeguard.streams.campaign.fault import Fault
from edgeguard.streams.campaign.judge import Judge
from edgeguard.streams.campaign.puppets import Answer, Scores, meaning, puppet_guard, say
from edgeguard.streams.vehicle import Car

MS = 1_000_000
TOKEN = "campaign"
WARM_MS = 30_000.0  # until a guard without a fault has to be NOMINAL
SETTLES_MS = 5000.0  # at most, until the command is at its limit
REARMED = 0.1  # of the stops, for they take long
PASSING = {"DISAGREEMENT", "OPERATION_DENIED"}  # present, too, while members read a new sign
FRAME = (12, 16, 3)  # what a camera sees: small, for nobody looks at it


@define(slots=False)
class Case:
    """What a fault works with. It says `kind`, and what must follow: `must` or nothing."""

    fault: Fault
    index: int
    config: GuardConfig
    rng: Random
    runs: GuardConfig
    """What the guard has in truth; `config` is what was promised."""
    kind: str = ""
    now_ns: int = 10_000 * MS
    period_ms: float = field(init=False)
    why: list[str] = field(factory=list)
    """Wrong, each of them, beside what the judge finds."""
    notes: list[str] = field(factory=list)
    false_trips: int = 0
    engaged: bool = True
    signals: dict[str, Any] = field(factory=dict)
    """Beside the true ones, or instead of them."""
    frames: bool = True
    """Cameras deliver."""
    pictures: list[npt.NDArray[np.uint8]] = field(factory=list)
    """What they see, in turn; none: something new each time."""
    picture: npt.NDArray[np.uint8] = field(factory=lambda: np.zeros(FRAME, np.uint8))
    """The last that they saw."""
    noted: int = 0
    """Causes that somebody else finds, on every tick: see `Guard.note`."""
    speak: Callable[[str, Scores], tuple[Any, float] | None] | None = None
    """What a member really delivers, and ms after capture; None: nothing at all."""
    stamp: Callable[[int], int] = lambda t_ns: t_ns
    """The clock that is passed to the guard."""
    decision: Decision = field(init=False)
    worst: Mode = Mode.NOMINAL
    """Since the fault began."""
    safe_us: int | None = None
    named: bool | None = None
    """Whether the first cause fits; None: there was none, nor had there to be one."""
    must_be_named: bool = False
    recovered_ms: float | None = None
    outside_ms: float | None = None
    """In FALLBACK or SAFE_STOP since the fault began."""

    def __attrs_post_init__(self) -> None:
        self.period_ms = self.config.guard.period_ms
        self.means = meaning(self.config)
        self.guard: Guard = self._open()
        self.cards = self.guard._parts.cards
        self.members = tuple(self.config.members)
        self.bounds = bounds(self.config)
        rates = [camera.rate_hz for camera in self.config.cameras.values()]
        self.frame_ms = 1000 / min(rates) if rates else 100.0
        member = next(iter(self.config.members.values()))
        self.latest_ms = 0.5 * min(member.deadline_ms, self.frame_ms)
        # A sign is seen in the next frame, answered, and acted on two ticks later; what the policy
        # gives a fault before it acts comes on top, since until then the last command holds. Only
        # raising can be denied while lowering is not.
        slow = max(
            b.evidence_ms + b.constant_ms
            for name, b in self.bounds.items()
            if self._acts(name) and name != "OPERATION_DENIED"
        )
        self.judge = Judge(self.config, self.means.channel, self.frame_ms + slow + self.latest_ms)
        self.car = Car(speed=0.0)
        self._answers: list[Answer] = []
        self._order = 0
        self._next_frame_ms = self._next_sign_ms = 0.0
        self._sign = self.means.labels[0][0]
        self._fault_ms: float | None = None
        self._must: tuple[float, float, Mode] | None = None
        self._right = self.fault.causes

    def _open(self) -> Guard:
        return puppet_guard(self.runs, TOKEN)

    def _acts(self, cause: str) -> bool:
        return self.config.causes[cause].severity in ("FALLBACK", "SAFE_STOP")

    # ----------------------------------------------------------------- time

    @property
    def now_ms(self) -> float:
        return self.now_ns / MS

    @property
    def mode(self) -> Mode:
        return self.decision.mode

    @property
    def command(self) -> float:
        return float(self.decision.command[self.means.channel])

    @property
    def sign(self) -> int:
        """The label of what stands at the road."""
        return self._sign

    @property
    def clock_ms(self) -> float:
        """What the time is now; in a simulated one that of the last tick."""
        return self.now_ms

    def start(self) -> None:
        """Arm, and drive until the members command; then on for a random while."""
        self.guard.arm()
        self._set_out()
        end_ms = self.now_ms + WARM_MS
        self._next_sign_ms = end_ms
        while self.now_ms < end_ms:
            self.turn()
            if self.mode <= Mode.DEGRADED and not self.decision.present:
                break
        else:
            self.wrong(f"is not in NOMINAL after {WARM_MS / 1000:g} s: {self.decision.causes}")
        self._next_sign_ms = self.now_ms
        self._drive_on()
        if self.mode >= Mode.FALLBACK:
            self.trips_falsely("before the fault")

    def _set_out(self) -> None:
        """A sign that is not the most daring one, and a car at its limit or slower."""
        sign = self.rng.choice(self.means.labels[:-1])
        self.car.speed = self.rng.choice((1.0, self.rng.uniform(0.2, 1.0))) * sign[1]
        self._sign = sign[0]
        self.judge.start(sign[1])

    def _drive_on(self) -> None:
        """Mostly until the command is at the limit, where a daring one is seen at once; else signs
        change, and it may be on its way up or down."""
        if self.rng.random() < 0.75:
            self._settle()
            self._next_sign_ms = self.now_ms + self.rng.uniform(800, 3000)
        self.go(self.rng.uniform(100, 1500))

    def _settle(self) -> None:
        """Without another sign, until the command is at the limit."""
        self._next_sign_ms = float("inf")
        end_ms = self.now_ms + SETTLES_MS
        while self.command < self.judge.top - 0.1 and self.now_ms < end_ms:
            self.turn()

    def go(self, ms: float) -> None:
        """Let time pass."""
        for _ in range(max(1, round(ms / self.period_ms))):
            self.turn()

    def last(self) -> None:
        """Let the fault go on for a random while, and longer than it may take until it acts."""
        bound_ms = 0.0 if self._must is None else self._must[1]
        self.go(max(self.rng.uniform(1000, 2500), bound_ms + 500))

    def hold(self) -> None:
        """Until the fault has passed no other sign comes, and all have seen the last one."""
        self._next_sign_ms = float("inf")
        self.go(2 * self.frame_ms)

    def turn(self) -> Decision:
        """One control step of guard, car and judge."""
        before_ms = self.now_ms
        self._tick()
        if self.now_ms >= self._next_sign_ms:
            self._next_sign_ms = self.now_ms + self.rng.uniform(800, 3000)
            self._show(self.rng.choice(self.means.labels))
        if self.now_ms >= self._next_frame_ms:
            self._next_frame_ms = self.now_ms + self.frame_ms
            self._look()
        while self._answers and self._answers[0].ready_ns <= self.now_ns:
            a = heapq.heappop(self._answers)
            self.guard.suggest(a.member, a.scores, a.capture_ns, self.stamp(a.ready_ns))
        if self.noted:
            self.guard.note(self.noted)
        self.decision = self._decide(self._signals())
        step_ms = min(self.now_ms - before_ms, self.period_ms)
        self.judge.tick(self.now_ms, self.command, step_ms)
        self.car.step(self.command, self.period_ms / 1000)
        self._watch()
        return self.decision

    def _tick(self) -> None:
        """To the next tick."""
        self.now_ns += int(self.period_ms * MS)

    def _decide(self, given: dict[str, Any]) -> Decision:
        return self.guard.decide(given, self.stamp(self.now_ns))

    def _signals(self) -> dict[str, Any]:
        """The middle of each range, and how fast the car is; then what the fault says."""
        given: dict[str, Any] = {
            name: (signal.range.low + signal.range.high) / 2
            for name, signal in self.config.signals.items()
        }
        measured = self.config.channels[self.means.channel].measured
        if measured is not None:
            given[measured] = self.car.speed
        given["engaged"] = self.engaged
        return {**given, **self.signals}

    def _show(self, sign: tuple[int, float]) -> None:
        self._sign = sign[0]
        self.judge.limit(self.now_ms, sign[1])

    def _look(self) -> None:
        """A frame: the cameras see it, and the members answer some time later."""
        for camera in self.config.cameras if self.frames else ():
            if self.pictures:
                picture = self.pictures.pop(0)
                self.pictures.append(picture)
            else:
                picture = np.frombuffer(self.rng.randbytes(576), np.uint8).reshape(FRAME)
            self.picture = picture
            self.guard.observe(camera, picture, self.stamp(self.now_ns))
        if not self.frames:
            return
        for member in self.members:
            true = say(self.cards[member], self._sign, self.rng)
            late_ms = self.rng.uniform(0.05, 1.0) * self.latest_ms
            said = (true, late_ms) if self.speak is None else self.speak(member, true)
            if said is not None:
                self._deliver(member, *said)

    def _deliver(self, member: str, scores: Any, late_ms: float) -> None:
        self._order += 1
        ready_ns = self.now_ns + int(late_ms * MS)
        capture_ns = self.stamp(self.now_ns)
        heapq.heappush(self._answers, Answer(ready_ns, self._order, member, scores, capture_ns))

    # ---------------------------------------------------------------- fault

    def begin(
        self, kind: str, must_be_named: bool = False, causes: frozenset[str] | None = None
    ) -> None:
        """The fault is there from now on; must_be_named: until `end` a cause has to be there;
        causes: which the first one has to be among, if not those of the fault."""
        self.kind, self._fault_ms = kind, self.now_ms
        self.must_be_named = must_be_named
        self._right = self.fault.causes if causes is None else causes
        self._before, self.outside_ms = self._causes(), 0.0

    def _causes(self) -> set[str]:
        """Those that count as named."""
        return set(self.decision.present) - (PASSING - set(self.decision.causes))

    def must(self, bound_ms: float, at_least: Mode = Mode.FALLBACK) -> None:
        """That mode must follow within the bound, counted from now."""
        self._must = (self.clock_ms, bound_ms, at_least)

    def bound_ms(self, *causes: str, silence: bool = False) -> float:
        """The printed bound: of several causes the first one counts that acts."""
        found = [self.bounds[c] for c in causes if self._acts(c)]
        return min(b.constant_ms + (b.evidence_ms if silence else 0.0) for b in found)

    def frames_ms(self, n: int) -> float:
        """Until the cameras deliver the n-th frame from now on."""
        first, each = (
            max(1, math.ceil(ms / self.period_ms)) * self.period_ms
            for ms in (self._next_frame_ms - self.now_ms, self.frame_ms)
        )
        return first + (n - 1) * each

    def _watch(self) -> None:
        """Which cause came first, and when the mode was reached."""
        if self.outside_ms is not None and self.mode >= Mode.FALLBACK:
            self.outside_ms += self.period_ms
        if self._fault_ms is None:
            return
        self.worst = max(self.worst, self.mode)
        if self.named is None and self._right:
            self._name(self._causes() - self._before)
        if self._must is None or self.safe_us is not None:
            return
        _, bound_ms, at_least = self._must
        if self.mode >= at_least:
            self.safe_us = max(0, round((self.clock_ms - self._evidence_ms()) * 1000))
            if self.safe_us > bound_ms * 1000 + self._slack_us():
                self.wrong(f"acts {self.safe_us / 1000:.0f} ms after, bound {bound_ms:.0f} ms")

    def _name(self, new: set[str]) -> None:
        """Whether the first cause fits, once there is one."""
        if new:
            self.named = bool(new & self._right)

    def _evidence_ms(self) -> float:
        """Since when the mode has to follow."""
        assert self._must is not None
        return self._must[0]

    def _slack_us(self) -> float:
        """By how much the machine was late, not the guard; and rounding."""
        return 1.0

    def end(self) -> None:
        """The fault is gone: everything is as it was before."""
        if self._must is not None and self.safe_us is None:
            self.wrong("does not act")
        if self.must_be_named and self.named is None:
            self.named = False
            self.notes.append("names no cause")
        self._fault_ms = None
        self.speak, self.frames, self.engaged = None, True, True
        self.pictures, self.noted = [], 0
        self._next_sign_ms = min(self._next_sign_ms, self.now_ms + 1000)
        self.signals.clear()
        self.judge.measured = None

    def recover(self, ms: float = 15_000.0) -> None:
        """Back to the members' commands, without a person where nothing latched."""
        start_ms = self.now_ms
        while self.now_ms < start_ms + ms and self.mode is not Mode.SAFE_STOP:
            self.turn()
            if self.mode <= Mode.DEGRADED:
                self.recovered_ms = self.now_ms - start_ms
                return
        if self.mode is not Mode.SAFE_STOP:
            self.wrong(f"does not recover: {self.decision.causes}")
        elif self.rng.random() < REARMED:
            self._rearm()

    def _rearm(self) -> None:
        """Nobody gets it going again while it moves; at standstill a person does."""
        if self.car.speed > 1.0 and self.guard.rearm(TOKEN) is None:
            self.wrong("re-arms while it moves")
        end_ms = self.now_ms + WARM_MS
        while self.now_ms < end_ms and self.guard.rearm(TOKEN) is not None:
            self.go(100)
        self.go(2 * self.period_ms)
        if self.mode is Mode.SAFE_STOP:
            self.wrong(f"cannot be re-armed: {self.decision.causes}")

    def trips_falsely(self, when: str) -> None:
        """A fallback or a stop for nothing."""
        self.false_trips += 1
        self.notes.append(f"trips {when}: {self.decision.causes}")

    def wrong(self, text: str) -> None:
        """Something that must not be, beside what the judge finds."""
        self.why.append(text)

    @property
    def disturbed(self) -> bool:
        """Whether the machine held it up; time that is simulated, it cannot."""
        return False

    def close(self) -> None:
        """End the guard."""
        self.guard.close()

    def row(self) -> dict[str, Any]:
        """As it is stored; see `firmware_bridge.campaign.case.Result`."""
        bad = {t for t, _ in self.judge.wrong}
        texts = [f"{t / 1000:.2f} s: {text}" for t, text in self.judge.wrong[:3]]
        short = {
            "f": self.fault.id, "i": self.index, "k": self.kind, "w": len(bad) + len(self.why),
            "t": self.safe_us, "c": self.named, "x": self.false_trips,
            "b": None if self._must is None else round(self._must[1] * 1000),
            "r": None if self.recovered_ms is None else round(self.recovered_ms),
            "o": None if self.outside_ms is None else round(self.outside_ms), **self._more(),
        }  # fmt: skip
        why = (self.notes + self.why + texts)[:4]
        return {**short, "why": why} if why else short

    def _more(self) -> dict[str, Any]:
        """What only some worlds measure."""
        return {}
