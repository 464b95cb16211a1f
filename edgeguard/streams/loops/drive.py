# SPDX-License-Identifier: Apache-2.0
"""One drive: a vehicle, what steers it, and what is done to its frames, members or link.

The networks steer; the rule gives the speed, also without a guard, and knows only what the sensors
measure. The judge knows the truth.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from attrs import define, field

from edgeguard.streams.loops.fault import Fault, Moment
from edgeguard.streams.loops.follower import Follower
from edgeguard.streams.loops.pursuit import Pursuit, Style
from edgeguard.streams.loops.sensors import Errors, Odometry, Tracker, wrapped
from edgeguard.streams.loops.steers import Said, Steers
from edgeguard.streams.loops.vehicle import U8, Command, Pose, Vehicle

PERIOD_S = 0.02
PERIOD_NS = 20_000_000
DRIFT_S = 0.25  # how far ahead a drift off the road is seen
LOCK_RAD_PER_M = 0.28
"""How far CarRacing's car turns with the wheels at full lock, by clean drives; it slides where that
is more than its tyres give."""
ONSET = 150
"""Steps before a fault begins: three seconds."""
SAME = 0.05
"""A command this near to the rule's is the rule's: the envelope moves there at its own rate."""
SOON = 3
"""Steps after the onset: a rule that commanded before and still does had nothing to take over."""
DENIED = "OPERATION_DENIED"
STANDS_MPS, MOST_STOOD = 0.5, 500
"""Whoever stands for ten seconds will not drive on."""
NOTHING = Fault()


@define
class Onset:
    """From an onset of a fault to its next: who took over, and when."""

    by_stop: bool
    """The vehicle has to be stopped; else the rule has to take over."""
    steps: int = 0
    already: bool = False
    """It was stopped, or ruled, before the onset and went on: nothing was taken over."""
    trip: int | None = None
    """Steps from the onset to the rule's first command, or to the stop."""
    safe: int | None = None
    """Steps from the onset until the command was the rule's."""

    def note(self, said: Said, wanted: float, before: Said) -> None:
        """One step's command; before: that of the last step."""
        since, self.steps = self.steps, self.steps + 1
        took, had = (s.stops if self.by_stop else s.ruled for s in (said, before))
        if since == 0:
            self.already = had
        if since <= SOON and not took:
            self.already = False
        if self.already or not took:
            return
        if self.trip is None:
            self.trip = since
        same = said.stops or abs(said.command.steering - wanted) <= SAME
        if same and self.safe is None:
            self.safe = since

    @property
    def unanswered(self) -> bool:
        """Nobody took over, and there was time to."""
        return self.safe is None and not self.already and self.steps > SOON


@define
class Outcome:
    """What a drive came to."""

    fault: Fault = NOTHING
    lap: float = 0.0
    steps: int = 0
    reward: float = 0.0
    off: int = 0
    """Steps with the centre of the car off the road."""
    deviation_m: float = 0.0
    """The largest distance from the centre line after the onset."""
    ruled: int = 0
    """Steps on which the rule commanded, of all."""
    held: int = 0
    """Steps on which the command stayed as it was: the networks' was not taken, and the rule not
    yet in command."""
    trips: int = 0
    """How often it took over from the networks."""
    onsets: list[Onset] = field(factory=list)
    jerk_mps3: float = 0.0
    """Mean lateral jerk."""
    causes: set[str] = field(factory=set)
    detectors: set[str] = field(factory=set)
    stops: int = 0
    """How often it was brought to a standstill."""
    behind_mps2: float = 0.0
    """The hardest braking of a car that follows, after the onset."""

    @property
    def finished(self) -> bool:
        """The lap, to the tile or two that a wide line leaves out."""
        return self.lap > 0.97

    @property
    def trip(self) -> int | None:
        """The longest of its onsets."""
        return max((o.trip for o in self.onsets if o.trip is not None), default=None)

    @property
    def safe(self) -> int | None:
        """As `trip`."""
        return max((o.safe for o in self.onsets if o.safe is not None), default=None)

    def note(self, since: int, said: Said, wanted: float, before: Said) -> None:
        """One step's command; before: that of the last step."""
        self.steps += 1
        self.ruled += said.ruled
        self.held += DENIED in said.causes and not said.ruled
        self.trips += said.ruled and not before.ruled
        if since < 0:
            return
        self.causes |= set(said.causes)
        self.detectors |= set(said.detectors)
        if since == 0 or (self.fault.period and since % self.fault.period == 0):
            self.onsets.append(Onset(self.fault.cut is not None))
        self.onsets[-1].note(said, wanted, before)


@define
class Sense:
    """What the vehicle knows of itself, by sensors, a filter and a map; and what the rule makes of
    it."""

    sensors: Odometry
    rule: Pursuit
    scout: Pursuit
    tracker: Tracker = field(factory=Tracker)

    @classmethod
    def of(cls, vehicle: Vehicle, errors: Errors, seed: int, style: Style) -> Sense:
        """Of this vehicle; seed: of the sensors' noise; style: of the rule."""
        rule = Pursuit(vehicle.path, style)
        return cls(Odometry(errors, Random(seed)), rule, Pursuit(vehicle.path))

    def signals(self, true: Pose, steering: float) -> dict[str, float]:
        """One step on; the truth goes into the sensors and no further. steering: the last command,
        which leads somewhere before odometry shows it."""
        now = self.tracker.update(self.sensors.read(true))
        want, lateral = self.rule.command(now), self.rule.lateral(now)
        drift = self.scout.lateral(self.tracker.ahead(DRIFT_S)) - lateral
        turn_radps = LOCK_RAD_PER_M * steering * now.speed
        aim = self.scout.lateral(self.tracker.ahead(DRIFT_S, turn_radps)) - lateral
        return {
            "speed": now.speed, "lateral": lateral, "drift": drift, "aim": aim,
            "rule": want.steering, "rule_speed": want.target_speed,
        }  # fmt: skip


@define
class Judge:
    """Where the car really is."""

    found: Outcome
    path: Pursuit
    half_width: float
    gone: int = 0
    """Steps that it has been off the road without a pause."""
    stood: int = 0
    """Steps that it has stood, once the onset was over."""
    behind: Follower = field(factory=lambda: Follower(PERIOD_S))
    _last: Pose | None = None
    _sideways: float | None = None
    _jerks: float = 0.0

    def look(self, pose: Pose, since: int) -> None:
        """After a step."""
        apart = abs(self.path.lateral(pose))
        off = apart > self.half_width
        self.found.off += off
        self.gone = self.gone + 1 if off else 0
        self.behind.follow(pose.speed)
        if since >= 0:
            self.found.deviation_m = max(self.found.deviation_m, apart)
            self.found.behind_mps2 = max(self.found.behind_mps2, self.behind.braking_mps2)
            self.stood = self.stood + 1 if pose.speed < STANDS_MPS else 0
            self.found.stops += self.stood == 1
        if self._last is not None:
            sideways = pose.speed * wrapped(pose.heading - self._last.heading) / PERIOD_S
            if self._sideways is not None:
                self._jerks += abs(sideways - self._sideways) / PERIOD_S
            self._sideways = sideways
        self._last = pose
        self.found.jerk_mps3 = self._jerks / max(1, self.found.steps)


Watch = Callable[[Moment, Said, Vehicle], None]
"""Called after each step."""


def drive(
    vehicle: Vehicle, steers: Steers, seed: int, fault: Fault = NOTHING,
    errors: Errors | None = None, most_off: int = 100, watch: Watch | None = None,
    style: Style | None = None,
) -> Outcome:  # fmt: skip
    """Drive until the lap is over, time is up, or the car has been off the road for two seconds, or
    stood for ten. style: of the rule, which gives the speed whoever steers."""
    sense = Sense.of(vehicle, errors or Errors(), seed, style or Style())
    found = Outcome(fault)
    judge = Judge(found, Pursuit(vehicle.path), vehicle.half_width)
    before, t_ns, going = Said(Command(0.0, 0.0), True), 1_000_000_000, True
    while going and judge.gone < most_off and judge.stood < MOST_STOOD:
        signals = sense.signals(vehicle.true_pose(), before.command.steering)
        moment = Moment(found.steps - ONSET, signals)
        said = steers.step(_arriving(vehicle, fault, moment), moment, fault, t_ns)
        found.note(moment.since, said, moment.signals["rule"], before)
        before, t_ns = said, t_ns + PERIOD_NS
        going = vehicle.apply(said.command)
        judge.look(vehicle.true_pose(), moment.since)
        if watch is not None:
            watch(moment, said, vehicle)
    found.lap = getattr(vehicle, "lap", 0.0)
    found.reward = getattr(vehicle, "reward", 0.0)
    return found


def _arriving(vehicle: Vehicle, fault: Fault, moment: Moment) -> U8 | None:
    if fault.frame is None:
        return vehicle.frame()
    spoilt = fault.frame(vehicle.frame(), moment)
    return spoilt if moment.since >= 0 else vehicle.frame()
