# SPDX-License-Identifier: Apache-2.0
"""From calibration tracks to everything that a guard.toml leaves as "calibrated".

Every fourth track fits the temperatures and says where to start looking; thresholds that depend on
them are set on the other tracks, so that these stay exchangeable with new ones. Image features
depend on no fit and use all tracks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeguard.config.fixed import LEAST, MOST, ONE
from edgeguard.evidence import temperature as scaling
from edgeguard.evidence.conformal import (
    UNREADABLE,
    Debounce,
    Limit,
    UnsupportedWishError,
    upper_limit,
)
from edgeguard.evidence.selective import Side, Threshold, Votes, certainty_threshold, vote
from edgeguard.evidence.tracks import Stream, Tracks

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Array = npt.NDArray[Any]

FEWEST_TRACKS = 10
SIDES = ("above", "below")


@dataclass(frozen=True)
class Member:
    """One member's raw scores on all frames: scores [N, n] in the dtype of its file.

    ``limits`` are max_rail, min_distinct, sum_min and sum_max of the policy; beyond them it
    abstains, as in the core.
    """

    name: str
    scores: Array
    kind: str
    scale: float = 1.0
    zero_point: int = 0
    sha256: str = ""
    limits: Mapping[str, int] = field(default_factory=dict)

    def evidence(self, temperature: float) -> Array:
        """The evidence kernel on all frames: a structured array [N]."""
        from edgeguard import _kernels

        scored: Array = _kernels.evidence_batch(
            self.scores,
            kind=self.kind,
            scale=self.scale,
            zero_point=self.zero_point,
            temperature=temperature,
        )
        return scored

    def real(self) -> npt.NDArray[np.float64]:
        """What the scores stand for [N, n]."""
        if self.scores.dtype == np.float32:
            return self.scores.astype(np.float64)
        return self.scale * (self.scores.astype(np.float64) - self.zero_point)

    def label(self, evidence: Array) -> Ints:
        """The label that the core would count on each frame [N]; -1 where the member abstains."""
        top = np.iinfo(np.int32).max
        sane = (evidence["bad"] == 0) & (evidence["out_of_range"] == 0)
        sane &= evidence["rail"] <= self.limits.get("max_rail", top)
        sane &= evidence["distinct"] >= self.limits.get("min_distinct", 0)
        sane &= evidence["sum"] >= self.limits.get("sum_min", -top)
        sane &= evidence["sum"] <= self.limits.get("sum_max", top)
        return np.where(sane, evidence["label"], -1).astype(np.int64)


@dataclass(frozen=True)
class Operation:
    """A threshold to find: which members are heard on the channel, which may ask for this."""

    channel: str
    operation: str
    quorum: int
    heard: Sequence[str]
    granted: Sequence[str]


@dataclass(frozen=True)
class Detector:
    """A limit to find: ``sides`` of SIDES; none where its numbers alone are wanted.

    ``source`` is a member and ``feature`` a field of its evidence, or ``measure`` makes numbers of
    that evidence (embeddings), or ``values`` are given (image features); all [N] in Q16.16.
    """

    name: str
    sides: tuple[str, ...]
    debounce: Debounce
    max_false_trips_per_hour: float
    source: str = ""
    feature: str = ""
    values: Ints | None = None
    measure: Callable[[Array], Ints] | None = None


@dataclass(frozen=True)
class Wishes:
    """What the user can bear: ``target_accuracy`` when accepted, promised but for a chance of
    ``delta`` for each operation; the detectors carry their own rates."""

    operations: Sequence[Operation] = ()
    detectors: Sequence[Detector] = ()
    target_accuracy: float = 0.95
    delta: float = 0.05


@dataclass(frozen=True)
class Frames:
    """The calibration data: labels [N], tracks, and how frames become decisions."""

    y: Ints
    tracks: Tracks
    stream: Stream


@dataclass
class Calibration:
    """What was found. Keys: member; (channel, operation); (detector, side).

    ``reliability`` holds that of temperature 1 and that of the fitted one, on the tracks that were
    not fitted on; ``votes`` and true labels are of the same tracks. ``asked`` says for whom
    each threshold was found. ``line`` is what was fitted of an association, ``tracks`` the numbers
    of each detector on the tracks that its limits stand on.
    """

    temperature: dict[str, float] = field(default_factory=dict)
    reliability: dict[str, tuple[scaling.Reliability, scaling.Reliability]] = field(
        default_factory=dict
    )
    threshold: dict[tuple[str, str], Threshold] = field(default_factory=dict)
    asked: dict[tuple[str, str], Operation] = field(default_factory=dict)
    votes: dict[tuple[str, str], tuple[Votes, Ints]] = field(default_factory=dict)
    limit: dict[tuple[str, str], Limit] = field(default_factory=dict)
    line: dict[str, dict[str, float]] = field(default_factory=dict)
    tracks: dict[str, list[Ints]] = field(default_factory=dict)


def calibrate(frames: Frames, members: Sequence[Member], wishes: Wishes) -> Calibration:
    """Fit temperatures, then find every threshold and limit.

    Raises UnsupportedWishError with one line for each wish that the tracks cannot support, and
    ValueError if there are fewer than FEWEST_TRACKS tracks.
    """
    if len(frames.tracks) < FEWEST_TRACKS:
        raise ValueError(f"{len(frames.tracks)} tracks; give at least {FEWEST_TRACKS}")
    fit, held = frames.tracks.halves()
    found = Calibration()
    evidence = {m.name: _fit_member(found, m, frames.y, fit, held) for m in members}
    labels = {m.name: m.label(evidence[m.name]) for m in members}
    refused: list[UnsupportedWishError] = []
    for wish in wishes.operations:
        key = (wish.channel, wish.operation)
        votes = _votes(wish, labels, evidence)
        found.asked[key] = wish
        found.votes[key] = (_where(votes, held), frames.y[held])
        sides = _side(frames, votes, fit), _side(frames, votes, held)
        with _collected(refused, f"channel.{wish.channel}.{wish.operation}.certainty"):
            found.threshold[key] = certainty_threshold(*sides, wishes.target_accuracy, wishes.delta)
    for detector in wishes.detectors:
        tracks = found.tracks[detector.name] = _detector_tracks(frames, detector, evidence, held)
        if len(detector.sides) == 2:
            sample = _numbers(detector, evidence)[fit]
            with _collected(refused, f"detector.{detector.name}"):
                found.limit.update(_both_limits(tracks, sample, detector, frames.stream))
        for side in detector.sides if len(detector.sides) == 1 else ():
            with _collected(refused, f"detector.{detector.name}.{side}"):
                found.limit[detector.name, side] = _limit(tracks, detector, side, frames.stream)
    if refused:
        raise UnsupportedWishError("\n".join(str(r) for r in refused), refused[0].supported)
    return found


@contextmanager
def _collected(refused: list[UnsupportedWishError], where: str) -> Iterator[None]:
    try:
        yield
    except UnsupportedWishError as error:
        refused.append(UnsupportedWishError(f"{where}: {error}", error.supported))


def _fit_member(found: Calibration, member: Member, y: Ints, fit: Bools, held: Bools) -> Array:
    """Fit a classifier's temperature; returns its evidence [N] with it."""
    if member.kind == "value":
        return member.evidence(1.0)
    before = member.evidence(1.0)
    usable = fit & (before["bad"] == 0)
    if not usable.any():
        raise ValueError(f"member {member.name} gave no usable scores on the tracks to fit on")
    z = scaling.exponents(member.real()[usable], member.kind)
    # rounded first, so that the file repeats exactly what the thresholds were set with
    fitted = round(scaling.fit_temperature(z, y[usable]), 4)
    found.temperature[member.name] = fitted
    after = member.evidence(fitted)
    found.reliability[member.name] = (
        _reliability(before[held], y[held]),
        _reliability(after[held], y[held]),
    )
    return after


def _reliability(evidence: Array, y: Ints) -> scaling.Reliability:
    return scaling.reliability(evidence["certainty"] / ONE, evidence["label"] == y)


def _votes(wish: Operation, labels: Mapping[str, Ints], evidence: Mapping[str, Array]) -> Votes:
    label = np.stack([labels[name] for name in wish.heard], axis=1)
    certainty = np.stack([evidence[name]["certainty"] for name in wish.heard], axis=1)
    granted = np.array([name in wish.granted for name in wish.heard])
    return vote(label, certainty.astype(np.int64), granted, wish.quorum)


def _where(votes: Votes, mask: Bools) -> Votes:
    return Votes(votes.winner[mask], votes.level[mask])


def _side(frames: Frames, votes: Votes, mask: Bools) -> Side:
    return _where(votes, mask), frames.y[mask], frames.tracks.number()[mask]


def _numbers(detector: Detector, evidence: Mapping[str, Array]) -> Ints:
    """The detector's numbers in Q16.16 [N], UNREADABLE where the core sees an invalid one."""
    if detector.values is not None:
        return detector.values
    scored = evidence[detector.source]
    measured = detector.measure(scored) if detector.measure else scored[detector.feature]
    return np.where(scored["bad"] == 0, measured.astype(np.int64), UNREADABLE)


def _detector_tracks(
    frames: Frames, detector: Detector, evidence: Mapping[str, Array], held: Bools
) -> list[Ints]:
    """Its numbers per track: of all tracks where nothing was fitted before, else of the held."""
    free = detector.values is not None and len(detector.sides) < 2
    values = _numbers(detector, evidence)
    return [values[s] for s in frames.tracks.slices() if free or held[s.start]]


def _limit(tracks: Sequence[Ints], detector: Detector, side: str, stream: Stream) -> Limit:
    """A lower limit is an upper limit of the negated numbers."""
    sign = 1 if side == "above" else -1
    signed = [np.where(t == UNREADABLE, UNREADABLE, sign * t) for t in tracks]
    found = upper_limit(signed, stream, detector.debounce, detector.max_false_trips_per_hour)
    return replace(found, value=sign * found.value)


def _both_limits(
    tracks: Sequence[Ints], sample: Ints, detector: Detector, stream: Stream
) -> dict[tuple[str, str], Limit]:
    """Both limits as one, so many spreads from the middle: a number that swings from beyond one to
    beyond the other keeps the cause present all the same. ``sample`` [M] says where the middle is
    and how far the numbers spread on either side of it."""
    readable = sample[sample != UNREADABLE]
    if len(readable) == 0:
        raise UnsupportedWishError("there is no readable number; mend the model or the data", 0.0)
    low, middle, high = (int(q) for q in np.quantile(readable, (0.01, 0.5, 0.99)))
    up, down = max(high - middle, 1), max(middle - low, 1)

    def away(t: Ints) -> Ints:
        spread = np.where(t >= middle, up, down)
        spreads = np.minimum(-(-np.abs(t - middle) * ONE // spread), UNREADABLE - 1)
        return np.where(t == UNREADABLE, t, spreads)

    rate = detector.max_false_trips_per_hour
    found = upper_limit([away(t) for t in tracks], stream, detector.debounce, rate)
    ends = {"above": middle + found.value * up // ONE, "below": middle - found.value * down // ONE}
    return {
        (detector.name, side): replace(found, value=_clipped(end), alpha=found.alpha / 2)
        for side, end in ends.items()
    }


def _clipped(limit: int) -> int:
    return min(max(limit, LEAST), MOST)
