# SPDX-License-Identifier: Apache-2.0
"""Risk over time: what is no trip on its own and yet too much to be chance, and security events.

A stream is cut into blocks of ``block_ms``. In each, every detector that was calibrated has a
worst number; its rank among the worst numbers of the calibration blocks and of the blocks before
it gives a conformal p-value, and a bet against chance turns that into an e-value e >= 0 whose mean
is at most 1 (Vovk and Wang, Ann. Stat. 2021). Each detector adds up M = (M + 1) e, an e-detector
(Shin, Ramdas and Rinaldo, 2024), and the risk is the mean of M over the detectors.

**Bound.** An alarm is raised when the mean of M reaches c, and M begins again at 0. For blocks
that are exchangeable with the calibration blocks, p-values of different blocks are independent
(Vovk, Gammerman and Shafer 2005, chapter 8), so the mean of M grows by at most 1 a block on
average, whatever the detectors have to do with each other; an alarm takes at least c out of it.
So the expected number of alarms in N blocks is at most N / c. c is the number of blocks in an hour
divided by ``max_false_trips_per_hour``: that many alarms an hour at level 2, a tenth of it at level
3 (10 c), ten times it at level 1 (c / 10, noted only). Ranks use a bag that is emptied back to the
calibration blocks when it has doubled; the bound holds for each such run, and so for their sum.
What is assumed is exchangeability: neighbouring blocks of a drive are alike, so a block should be
no shorter than what a detector looks at stays in view.

**Levels.** A level stands for ``HOLD_S`` after its alarm. Security events count points over
``WINDOW_S``, each kind once a second: 1 point is level 1, 3 points level 2, 6 points level 3. The
risk level is the higher of the two, and 3 where both are at least 2.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from edgeguard.config.fixed import LEAST, MOST
from edgeguard.config.vocabulary import CAUSES
from edgeguard.evidence.conformal import UNREADABLE

if TYPE_CHECKING:
    from edgeguard.decision import Core

Ints = npt.NDArray[np.int64]

BLOCK_S: Final = 3.0
HOLD_S: Final = 30.0
WINDOW_S: Final = 60.0
LEVELS: Final = {1: 0.1, 2: 1.0, 3: 10.0}  # their share of c
EVENTS: Final = {  # points
    "link_error": 1,
    "failed_authentication": 1,
    "bus_intrusion": 3,
    "refused_file": 3,
    "sandbox_violation": 6,
}
_OF_CAUSES: Final = {"BUS_INTRUSION": "bus_intrusion", "LINK_FAULTY": "link_error"}
_MASKS: Final = tuple((1 << CAUSES.index(c), event) for c, event in _OF_CAUSES.items())
_POINTS: Final = {1: 1, 2: 3, 3: 6}  # from how many on


@dataclass(frozen=True)
class Limits:
    """A detector's limits in Q16.16, None where it has none on that side."""

    below: int | None
    above: int | None

    @classmethod
    def of(cls, least: int, most: int) -> Limits:
        """From the ends of a core's row, which stand at the ends of Q16.16 where there is none."""
        return cls(None if least == LEAST else least, None if most == MOST else most)

    def score(self, least: int, most: int) -> int:
        """How far the worst of these numbers was from, or beyond, the limits; larger is worse."""
        sides = [] if self.above is None else [most - self.above]
        sides += [] if self.below is None else [self.below - least]
        return max(sides)


def block_scores(tracks: Sequence[Ints], limits: Limits, per_block: int) -> Ints:
    """The scores of all whole blocks of calibration tracks, sorted.

    tracks: numbers [frames or ticks] in Q16.16, UNREADABLE where there is none to be had, less than
    -UNREADABLE/2 where the detector says nothing; ``per_block`` of them make a block.
    """
    found = []
    for track in tracks:
        for start in range(0, len(track) - per_block + 1, per_block):
            block = track[start : start + per_block]
            block = block[block > -UNREADABLE // 2]
            if (block >= UNREADABLE).any():
                found.append(UNREADABLE)
            elif len(block):
                found.append(limits.score(int(block.min()), int(block.max())))
    return np.sort(np.array(found, np.int64))


def e_value(p: float) -> float:
    """The bet: the mean of k p^(k - 1) over k from 0 to 1; its mean over uniform p is 1."""
    if p > 0.999:
        return 0.5
    log = math.log(p)
    return (1.0 - p + p * log) / (p * log * log)


@dataclass
class _Detector:
    """One detector's calibration scores, its bag, and M of each level."""

    calibration: list[int]
    bag: list[int] = field(default_factory=list)
    m: dict[int, float] = field(default_factory=lambda: dict.fromkeys(LEVELS, 0.0))

    def p_value(self, score: int) -> float:
        """Rank of a new score; it stays in the bag."""
        if not self.bag or len(self.bag) >= 2 * len(self.calibration):
            self.bag = list(self.calibration)
        at_least = len(self.bag) - bisect_left(self.bag, score) + 1
        insort(self.bag, score)
        return at_least / len(self.bag)


class Evidence:
    """The e-detectors of some detectors, and the level that they give. Times in nanoseconds."""

    def __init__(
        self, calibration: Mapping[str, Sequence[int]], max_false_trips_per_hour: float,
        block_s: float = BLOCK_S,
    ) -> None:  # fmt: skip
        """calibration: block scores by detector; those without any are left out."""
        self._detectors = {
            n: _Detector(sorted(map(int, s))) for n, s in calibration.items() if len(s)
        }
        self._c = 3600.0 / block_s / max_false_trips_per_hour
        self._until = dict.fromkeys(LEVELS, -math.inf)
        self.alarms = dict.fromkeys(LEVELS, 0)

    def block(self, scores: Mapping[str, int | None], t_ns: int) -> None:
        """Take the scores of one block; None or missing: that detector said nothing."""
        for name, detector in self._detectors.items():
            score = scores.get(name)
            if score is None:
                continue
            e = e_value(detector.p_value(score))
            for level in LEVELS:
                detector.m[level] = (detector.m[level] + 1.0) * e
        for level, share in LEVELS.items():
            total = sum(d.m[level] for d in self._detectors.values())
            if self._detectors and total / len(self._detectors) >= share * self._c:
                self._alarm(level, t_ns)

    def _alarm(self, level: int, t_ns: int) -> None:
        if t_ns >= self._until[level]:
            self.alarms[level] += 1
        self._until[level] = t_ns + HOLD_S * 1e9
        for detector in self._detectors.values():
            detector.m[level] = 0.0

    def level(self, t_ns: int) -> int:
        """The highest level whose alarm still stands."""
        return max((level for level, until in self._until.items() if t_ns < until), default=0)


def points(name: str) -> int:
    """What a security event counts. Raises ValueError for a name that is not in EVENTS."""
    if name not in EVENTS:
        raise ValueError(f"no security event {name!r}; there are {', '.join(EVENTS)}")
    return EVENTS[name]


class Events:
    """Points of security events; ``happened`` may be called from any thread."""

    def __init__(self) -> None:
        self._new: deque[str] = deque(maxlen=1000)
        self._counted: deque[tuple[int, int]] = deque()  # when, points
        self._last: dict[str, int] = {}

    def happened(self, name: str) -> None:
        """Raises ValueError for a name that is not in EVENTS."""
        points(name)
        self._new.append(name)

    def level(self, t_ns: int) -> int:
        """The level of the events of the last ``WINDOW_S`` seconds."""
        while self._new:
            name = self._new.popleft()
            if t_ns - self._last.get(name, -(10**18)) >= 10**9:
                self._last[name] = t_ns
                self._counted.append((t_ns, EVENTS[name]))
        while self._counted and self._counted[0][0] < t_ns - WINDOW_S * 1e9:
            self._counted.popleft()
        if not self._counted:
            return 0
        total = sum(p for _, p in self._counted)
        return max((level for level, least in _POINTS.items() if total >= least), default=0)


def combined(evidence: int, events: int) -> int:
    """The risk level of both."""
    return 3 if min(evidence, events) >= 2 else max(evidence, events)


@dataclass
class Watch:
    """The risk of a running guard: reads the core's detectors block by block, gives it the level.

    ``rows``: position and limits of each watched detector in the core's table; ``level_rows``: the
    rows that get the level. One thread.
    """

    core: Core
    evidence: Evidence
    rows: Mapping[str, tuple[int, Limits]]
    level_rows: Sequence[int]
    block_ns: int = int(BLOCK_S * 1e9)
    events: Events = field(default_factory=Events)
    level: int = 0
    _end_ns: int | None = None

    def tick(self, t_ns: int) -> None:
        """Before each decision. A clock that stood or jumped begins a new block."""
        if type(t_ns) is not int:
            return  # the level grows too old, which the core does not take for good
        if self._end_ns is None or not 0 <= self._end_ns - t_ns <= self.block_ns:
            if self._end_ns is not None and 0 <= t_ns - self._end_ns < self.block_ns:
                self.evidence.block(self._scores(), t_ns)
            else:
                self.core.extremes()
            self._end_ns = t_ns + self.block_ns
        self.level = combined(self.evidence.level(t_ns), self.events.level(t_ns))
        for row in self.level_rows:
            self.core.measure(row, self.level, t_ns)

    def noticed(self, present: int) -> None:
        """After each decision: some of its causes are security events, too."""
        for mask, event in _MASKS:
            if present & mask:
                self.events.happened(event)

    def _scores(self) -> dict[str, int | None]:
        seen = self.core.extremes()
        scores: dict[str, int | None] = {}
        for name, (row, limits) in self.rows.items():
            found = seen[row]
            if isinstance(found, tuple):
                scores[name] = limits.score(*found)
            else:
                scores[name] = UNREADABLE if found is False else None
        return scores
