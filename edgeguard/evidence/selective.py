# SPDX-License-Identifier: Apache-2.0
"""Certainty thresholds with a promise on accuracy when accepted.

What an operation accepts is decided as the core decides it: plurality of the members that did not
abstain, then enough granted members behind the winner with enough certainty. The error is the
share of wrong frames among a track's accepted frames, averaged over the tracks with an accepted
frame. Thresholds are walked from high to low, each tested at the same level, and the walk ends at
the first that fails: fixed-sequence testing keeps the chance of any false promise at delta
(Learn-then-Test, Angelopoulos et al. 2021). Risk-coverage: Geifman & El-Yaniv 2017. Assumes that
calibration tracks and later tracks are drawn alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeguard.config.fixed import ONE
from edgeguard.evidence.binomial import log_cdf
from edgeguard.evidence.conformal import UnsupportedWishError

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def _threshold_grid() -> list[int]:
    """Thresholds to walk, Q0.16, from high to low; dense near 1. Fixed before any data is seen."""
    logits = np.linspace(math.log(0.9999 / 0.0001), math.log(0.05 / 0.95), 240)
    return sorted({round(ONE / (1.0 + math.exp(-x))) for x in logits}, reverse=True)


GRID = _threshold_grid()
_MORE = "give more tracks"
_FEWER = "lower the quorum, or give more tracks"
_WRONG = (
    "see whether the models are fed and read rightly: the order of y and of the card's labels, and"
    " the colour, mean, std, fit and layout of its input"
)


@dataclass(frozen=True)
class Votes:
    """What an operation would have done on N frames: winner [N] label or -1, level [N] Q0.16.

    ``level`` is the highest threshold at which the winner still has its quorum; -1: at none.
    """

    winner: Ints
    level: Ints


def vote(label: Ints, certainty: Ints, granted: Bools, quorum: int) -> Votes:
    """The joint decision of M members on N frames, for one operation.

    label [N, M], -1 where a member abstains; certainty [N, M] Q0.16; granted [M] says which members
    may ask for this operation. A tie of the plurality has no winner.
    """
    same = (label[:, :, None] == label[:, None, :]) & (label >= 0)[:, :, None]
    count = same.sum(axis=2)  # [N, M] members that say the same, itself included
    most = count.max(axis=1)
    leads = (count == most[:, None]) & (label >= 0)
    first = np.argmax(leads, axis=1)
    winner = label[np.arange(len(label)), first]
    tied = (leads & (label != winner[:, None])).any(axis=1)
    winner = np.where(tied | (most == 0), -1, winner)
    behind = (label == winner[:, None]) & (winner >= 0)[:, None] & granted
    ranked = -np.sort(-np.where(behind, certainty, -1), axis=1)
    level = ranked[:, quorum - 1] if quorum <= label.shape[1] else np.full(len(label), -1)
    return Votes(winner.astype(np.int64), level.astype(np.int64))


def p_value(mean_loss: float, n: int, alpha: float) -> float:
    """Hoeffding-Bentkus p-value of "the mean of n losses in [0, 1] is above alpha".

    Bates et al., JACM 2021, as used by Learn-then-Test. Without a single loss it is (1 - alpha)^n,
    the same as Clopper-Pearson; unlike that it also holds for losses between 0 and 1.
    """
    if n == 0 or mean_loss >= alpha:
        return 1.0
    kl = math.log((1.0 - mean_loss) / (1.0 - alpha)) * (1.0 - mean_loss)
    kl += mean_loss * math.log(mean_loss / alpha) if mean_loss > 0.0 else 0.0
    bentkus = 1.0 + log_cdf(math.ceil(n * mean_loss - 1e-9), n, alpha)
    return math.exp(min(0.0, -n * kl, bentkus))


def best_target(n_tracks: int, delta: float) -> float:
    """The highest accuracy that n accepted tracks without a single error support."""
    return float(delta ** (1.0 / n_tracks)) if n_tracks else 0.0


Side = tuple[Votes, Ints, Ints]  # votes, true labels [N], track numbers [N]


@dataclass(frozen=True)
class Accepted:
    """What one threshold accepts: tracks with an accepted frame, mean error of those, frames."""

    tracks: int
    error: float
    frames: int
    wrong: int


def accepted_at(votes: Votes, y: Ints, track: Ints, threshold: int) -> Accepted:
    """Count what a threshold accepts; y [N] true labels, track [N] track numbers."""
    taken = votes.level >= threshold
    wrong = taken & (votes.winner != y)
    size = int(track.max()) + 1 if len(track) else 0
    per_track = np.bincount(track[taken], minlength=size)
    errors = np.bincount(track[wrong], minlength=size)
    some = per_track > 0
    share = errors[some] / per_track[some]
    mean = float(share.mean()) if len(share) else 0.0
    return Accepted(int(some.sum()), mean, int(taken.sum()), int(wrong.sum()))


@dataclass(frozen=True)
class Threshold:
    """A certified certainty threshold, Q0.16, and what it was set on.

    ``alpha`` is 1 - target accuracy; ``delta`` the chance that the promise is false; ``coverage``
    and ``accuracy`` are over the frames it was set on.
    """

    value: int
    n_tracks: int
    alpha: float
    delta: float
    coverage: float
    accuracy: float


def _accepted_by_grid(side: Side) -> list[Accepted]:
    return [accepted_at(*side, threshold) for threshold in GRID]


def certainty_threshold(
    fit: Side, calibration: Side, target_accuracy: float, delta: float = 0.05
) -> Threshold:
    """The smallest threshold whose error when accepted is below 1 - target, surely but for delta.

    fit and calibration: votes, labels [N], track numbers [N] of disjoint tracks; the first only
    says where the walk starts. Raises UnsupportedWishError with the highest target supported.
    """
    sides = _accepted_by_grid(fit), _accepted_by_grid(calibration)
    sizes = len(np.unique(fit[2])), len(np.unique(calibration[2]))
    alpha, n = 1.0 - target_accuracy, sizes[1]
    at = _walk(sides, sizes, alpha, delta)
    if at is not None:
        taken = sides[1][at]
        accuracy = 1.0 - taken.wrong / max(1, taken.frames)
        coverage = taken.frames / len(calibration[1])
        return Threshold(GRID[at], n, alpha, delta, coverage, accuracy)
    most = best_target(n, delta)
    supported = 0.0
    for target in range(math.floor(min(target_accuracy, most) * 1000.0), 499, -1):
        if _walk(sides, sizes, 1.0 - target / 1000.0, delta) is not None:
            supported = target / 1000.0
            break
    begin = GRID[_start(sides[0], sizes, alpha, delta)]
    why, mend = _refusal(calibration, begin, sizes, target_accuracy, delta)
    advice = f"ask for no more than {supported:g}, or" if supported else "no target is supported;"
    raise UnsupportedWishError(
        f"an accuracy of {target_accuracy:g} when accepted {why}; {advice} {mend}", supported
    )


def _refusal(
    calibration: Side, begin: int, sizes: tuple[int, int], target: float, delta: float
) -> tuple[str, str]:
    """Why a target is refused, and what may help: too few tracks are another matter than too many
    errors. 0 is looked at as well, since wrong models may be certain of nothing in the grid.
    begin: where the walk began; a better threshold that is seen by now promises nothing."""
    n, sure = sizes[1], f"with confidence {1.0 - delta:g}"
    of = f"{n} calibration tracks (the other {sizes[0]} fit the temperatures)"
    most = best_target(n, delta)
    if target > most:
        shown = math.floor(most * 1000.0) / 1000.0
        return f"is more than {of} can show {sure} (without one error they show {shown:g})", _MORE
    n0 = math.ceil(math.log(delta) / math.log1p(target - 1.0) - 1e-9)
    tried = [(accepted_at(*calibration, threshold), threshold) for threshold in (*GRID, 0)]
    enough = [(a.error, -a.tracks, threshold) for a, threshold in tried if a.tracks >= n0]
    if not enough:
        found = f"only {tried[-1][0].tracks} of {of} have a frame with a quorum"
        return f"takes {n0} accepted tracks to be shown {sure}, and {found}", _FEWER
    error, tracks, threshold = min(enough)
    if error < 1.0 - target:
        a = accepted_at(*calibration, begin)
        there = f"where the search begins, at certainty {begin / ONE:.4f}, {1.0 - a.error:.1%}"
        return f"cannot be shown {sure}: {there} is measured on {a.tracks} of {of}", _MORE
    least = f"certainty {threshold / ONE:.4f}" if threshold else "any certainty"
    found = f"{1.0 - error:.1%}, at {least} on {-tracks} of {of}"
    return f"is more than these models have: at best {found}", _WRONG


def _walk(
    sides: tuple[list[Accepted], list[Accepted]],
    sizes: tuple[int, int],
    alpha: float,
    delta: float,
) -> int | None:
    """Where in the grid the walk ends: the last threshold that passes, None if the first fails."""
    fit, calibration = sides
    last = None
    for at in range(_start(fit, sizes, alpha, delta), len(GRID)):
        if p_value(calibration[at].error, calibration[at].tracks, alpha) > delta:
            break
        last = at
    return last


def _start(fit: list[Accepted], sizes: tuple[int, int], alpha: float, delta: float) -> int:
    """Where the walk starts: the strictest threshold that should accept enough tracks.

    Fewer than n0 tracks show nothing even without an error: (1 - alpha)^n0 = delta. The fitting
    tracks say which threshold accepts how many, less two standard errors for both being few.
    """
    n0 = math.log(delta) / math.log1p(-alpha)
    share = np.array([a.tracks for a in fit]) / max(1, sizes[0])
    spread = np.sqrt(share * (1.0 - share) * (1.0 / max(1, sizes[0]) + 1.0 / max(1, sizes[1])))
    expected = sizes[1] * (share - 2.0 * spread)
    return int(np.argmax(expected >= min(n0, expected.max())))


def risk_coverage(votes: Votes, y: Ints) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Coverage and risk (share wrong among the accepted) [N] as the threshold falls, by frames."""
    order = np.argsort(-votes.level, kind="stable")
    order = order[votes.level[order] >= 0]
    wrong = (votes.winner != y)[order]
    taken = np.arange(1, len(order) + 1)
    return taken / max(1, len(y)), np.cumsum(wrong) / np.maximum(taken, 1)
