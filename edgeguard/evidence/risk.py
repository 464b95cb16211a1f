# SPDX-License-Identifier: Apache-2.0
"""Risk over time: what is no trip on its own and yet too much to be chance, and security events.

A stream is cut into blocks of ``BLOCK_S``. In each, every detector that was calibrated has a worst
number; its rank among those of n calibration blocks gives a conformal p-value, and a bet against
chance turns that into an e-value e >= 0 (Vovk and Wang, Ann. Stat. 2021). Each detector adds up
M = (M + 1) e, an e-detector (Shin, Ramdas and Rinaldo, 2024); the risk is the mean of M over them.

**Bound.** An alarm is raised when the mean of M reaches c, and M begins again at 0. Where e has a
mean of at most 1 whatever came before, the mean of M grows by at most 1 a block on average,
however the detectors depend on each other, and an alarm takes at least c out of it: so at most
N / c alarms are expected in N blocks. c is the number of blocks in an hour divided by
``max_false_trips_per_hour``: that many alarms an hour at level 2, a tenth of it at level 3 (10 c),
ten times it at level 1 (c / 10, noted only).

That e has such a mean: the shares of new blocks that fall between n calibration blocks are drawn as
Dirichlet(1, ..., 1), so the mean of the bet, given the calibration blocks, is distributed as known;
e is the bet divided by a quantile of it (``fair_price``), which with CONFIDENCE over the draw of
the calibration blocks, for all detectors at once, makes its mean at most 1. What is assumed is that
blocks of a stream are drawn like the calibration blocks, each for itself: neighbouring blocks of a
drive are alike, so a block should be no shorter than what a detector looks at stays in view.

**Levels.** A level stands for ``HOLD_S`` after its alarm. Security events count points over
``WINDOW_S``, each kind once a second: 1 point is level 1, 3 points level 2, 6 points level 3. The
risk level is the higher of the two, and 3 where both are at least 2.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from edgeguard.config.fixed import LEAST, MOST, whole_ns
from edgeguard.config.vocabulary import CAUSES
from edgeguard.evidence.conformal import UNREADABLE

if TYPE_CHECKING:
    from edgeguard.decision import Core

Ints = npt.NDArray[np.int64]

BLOCK_S: Final = 3.0
HOLD_S: Final = 30.0
WINDOW_S: Final = 60.0
CONFIDENCE: Final = 0.95
_DRAWS: Final = 4000
_RUN: Final = 10  # blocks
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
POINTS: Final = {1: 1, 2: 3, 3: 6}  # of each level: from how many on


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
        """How far the worst of these numbers was from, or beyond, the limits; larger is worse, and
        as far as can be where there are none."""
        sides = [] if self.above is None else [most - self.above]
        sides += [] if self.below is None else [self.below - least]
        return max(sides, default=-UNREADABLE)


def block_scores(tracks: Sequence[Ints], limits: Limits, per_block: int) -> Ints:
    """The scores of all whole blocks of calibration tracks, in their order.

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
    return np.array(found, np.int64)


def e_value(p: float) -> float:
    """The bet: the mean of k p^(k - 1) over k from 0 to 1; its mean over uniform p is 1."""
    if p > 0.999:
        return 0.5
    log = math.log(p)
    return (1.0 - p + p * log) / (p * log * log)


def fair_price(blocks: int, detectors: int) -> float:
    """What a bet on ranks among so many calibration blocks may pay on average, at CONFIDENCE for so
    many detectors at once; by simulation, with a fixed seed."""
    pays = np.array([e_value((i + 1) / (blocks + 1)) for i in range(blocks + 1)])
    shares = np.random.default_rng(0).exponential(size=(_DRAWS, blocks + 1))
    mean = shares @ pays / shares.sum(1)
    return float(np.quantile(mean, 1.0 - (1.0 - CONFIDENCE) / detectors))


@dataclass
class _Detector:
    """One detector's calibration scores, the price of its bet, and M of each level."""

    calibration: list[int]
    price: float
    m: dict[int, float] = field(default_factory=lambda: dict.fromkeys(LEVELS, 0.0))

    def e(self, score: int) -> float:
        """The fair bet on the rank of a new score."""
        n = len(self.calibration)
        at_least = n - bisect_left(self.calibration, score) + 1
        return e_value(at_least / (n + 1)) / self.price


class Evidence:
    """The e-detectors of some detectors, and the level that they give. Times in nanoseconds."""

    def __init__(
        self, calibration: Mapping[str, Sequence[int]], max_false_trips_per_hour: float,
        block_s: float = BLOCK_S,
    ) -> None:  # fmt: skip
        """calibration: block scores by detector; those without any are left out."""
        known = {name: sorted(map(int, s)) for name, s in calibration.items() if len(s)}
        self._detectors = {
            name: _Detector(s, fair_price(len(s), len(known))) for name, s in known.items()
        }
        self._c = 3600.0 / block_s / max_false_trips_per_hour
        self._until = dict.fromkeys(LEVELS, -math.inf)
        self.alarms = dict.fromkeys(LEVELS, 0)

    @property
    def detectors(self) -> tuple[str, ...]:
        """Those with calibration blocks."""
        return tuple(self._detectors)

    @property
    def thresholds(self) -> dict[int, float]:
        """By level: the mean of M that raises its alarm."""
        return {level: share * self._c for level, share in LEVELS.items()}

    def block(self, scores: Mapping[str, int | None], t_ns: int) -> None:
        """Take the scores of one block; None or missing: that detector said nothing."""
        for name, detector in self._detectors.items():
            score = scores.get(name)
            if score is None:
                continue
            e = detector.e(score)
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
        """The highest level whose alarm still stands; none stands for longer than HOLD_S from now,
        also when the clock ran back."""
        latest = t_ns + HOLD_S * 1e9
        self._until = {level: min(until, latest) for level, until in self._until.items()}
        return max((level for level, until in self._until.items() if t_ns < until), default=0)


def points(name: str) -> int:
    """What a security event counts. Raises ValueError for a name that is not in EVENTS."""
    if name not in EVENTS:
        raise ValueError(f"no security event {name!r}; there are {', '.join(EVENTS)}")
    return EVENTS[name]


def measured(
    blocks: Mapping[str, Ints], max_false_trips_per_hour: float, splits: int = 40
) -> tuple[float | None, float]:
    """Alarms of level 2 per hour on clean blocks, and how many hours these are. None: they are so
    few that no alarm could be, whatever they held.

    One random half of the blocks calibrates and the other is the stream, ``splits`` times. Blocks
    of detectors with as many of them are of the same seconds, and stay so. Runs of ``_RUN`` blocks
    stay whole and in their order, so that the rate also shows what neighbouring blocks that are
    alike do to the bound. Where tracks begin is not stored: what stays alike for longer than such a
    run, or differs only from one drive to another, is not seen here.
    """
    hours = min(len(scores) for scores in blocks.values()) * BLOCK_S / 3600
    alarms, seen = 0, 0
    for seed in range(splits):
        halves = {name: _halves(scores, seed) for name, scores in blocks.items()}
        calibration = {name: h[0].tolist() for name, h in halves.items()}
        evidence = Evidence(calibration, max_false_trips_per_hour)
        count = min(len(h[1]) for h in halves.values())
        if seed == 0 and not _can_alarm(Evidence(calibration, max_false_trips_per_hour), count):
            return None, hours
        for i in range(count):
            now = i * int(BLOCK_S * 1e9)
            evidence.block({n: int(h[1][i]) for n, h in halves.items()}, now)
        alarms, seen = alarms + evidence.alarms[2], seen + count
    return alarms * 3600 / (seen * BLOCK_S), hours


def _can_alarm(evidence: Evidence, blocks: int) -> bool:
    """Whether so many blocks bring level 2 where each of them is the worst there was."""
    for _ in range(blocks):
        evidence.block(dict.fromkeys(evidence.detectors, UNREADABLE + 1), 0)
    return evidence.alarms[2] > 0


def _halves(scores: Ints, seed: int) -> tuple[Ints, Ints]:
    """Random runs of blocks, one half of them and the other."""
    runs = np.array_split(scores, max(2, len(scores) // _RUN))
    order = np.random.default_rng(seed).permutation(len(runs))
    half = len(order) // 2
    first, second = (np.concatenate([runs[i] for i in o]) for o in (order[:half], order[half:]))
    return first, second


class Events:
    """Points of security events; ``happened`` may be called from any thread."""

    def __init__(self) -> None:
        self._new: deque[str] = deque(maxlen=1000)
        self._counted: deque[tuple[int, int]] = deque()  # when, points
        self._last: dict[str, int] = {}
        self.noted: Callable[[str, int], object] | None = None
        """Is told of each event that counts, and of the tick from which on it does."""

    def happened(self, name: str) -> None:
        """Raises ValueError for a name that is not in EVENTS."""
        points(name)
        self._new.append(name)

    def uncounted(self) -> tuple[str, ...]:
        """Take those that no tick has counted, each kind once."""
        names = dict.fromkeys(self._new)
        self._new.clear()
        return tuple(names)

    def level(self, t_ns: int) -> int:
        """The level of the events of the last ``WINDOW_S`` seconds. What was stamped later than
        now, before the clock ran back, counts as of now."""
        self._last = {name: then for name, then in self._last.items() if then <= t_ns}
        if self._counted and self._counted[-1][0] > t_ns:
            self._counted = deque((min(then, t_ns), p) for then, p in self._counted)
        while self._new:
            name = self._new.popleft()
            if t_ns - self._last.get(name, -(10**18)) >= 10**9:
                self._last[name] = t_ns
                self._counted.append((t_ns, EVENTS[name]))
                if self.noted is not None:
                    self.noted(name, t_ns)
        while self._counted and self._counted[0][0] < t_ns - WINDOW_S * 1e9:
            self._counted.popleft()
        if not self._counted:
            return 0
        total = sum(p for _, p in self._counted)
        return max((level for level, least in POINTS.items() if total >= least), default=0)


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
        now_ns = whole_ns(t_ns)
        if now_ns is None:  # the level grows too old, which the core does not take for good
            return
        t_ns = now_ns
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
