# SPDX-License-Identifier: Apache-2.0
"""Detector limits from calibration tracks, with a promise on false trips after debounce.

Split conformal prediction with the track as unit (Vovk et al. 2005; Lei et al., JASA 2018): of n
calibration tracks, each gives the limit at which its own debounced cause would just not fire; the
ceil((n + 1)(1 - alpha))-th smallest of them is passed by a new track with probability at most
alpha. The one assumption is that calibration tracks and later tracks are exchangeable. A track
that fires counts as one trip however often it does; the firings of the calibration tracks are also
kept under the wished rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeguard.errors import EdgeguardError
from edgeguard.evidence.binomial import upper_bound
from edgeguard.evidence.tracks import Stream

Ints = npt.NDArray[np.int64]

UNREADABLE = 2**40  # a number beyond Q16.16: outside every limit, as the core sees an invalid one


class UnsupportedWishError(EdgeguardError):
    """The tracks cannot support what was asked for; ``supported`` is the nearest that they can."""

    def __init__(self, message: str, supported: float) -> None:
        super().__init__(message)
        self.supported = supported


@dataclass(frozen=True)
class Debounce:
    """When the cause of a detector fires and lets go, in microseconds."""

    on_us: int
    off_us: int

    def trips(self, present: npt.NDArray[np.bool_], tick_us: int) -> int:
        """How often the cause fires on its presence [ticks]: the decision core's own filter."""
        from edgeguard import _core

        return int(_core.debounce_trips(present, tick_us, self.on_us, self.off_us))


@dataclass(frozen=True)
class Limit:
    """A calibrated limit in Q16.16, and what it was set on.

    ``tripped`` calibration tracks fire at it, ``firings`` times in all, in ``hours`` of stream.
    """

    value: int
    n_tracks: int
    alpha: float
    tripped: int
    firings: int
    hours: float

    @property
    def surely_per_hour(self) -> float:
        """A bound of the false trips per hour with 95 % confidence over the draw of these very
        tracks; what was promised holds on average over such draws."""
        return upper_bound(self.tripped, self.n_tracks) * self.n_tracks / self.hours


def smallest_rate(n_tracks: int, track_hours: float) -> float:
    """Fewest false trips per hour that n tracks of this mean length can support: 1/(n + 1) each."""
    return 1.0 / ((n_tracks + 1) * track_hours)


def rank(n_tracks: int, alpha: float) -> int:
    """Which of n sorted limits to take, from 1; n + 1 means that n is too small for alpha."""
    return math.ceil((n_tracks + 1) * (1.0 - alpha) - 1e-9)


def round_up(value: float, digits: int = 3) -> float:
    """The next number with that many significant digits, not below ``value`` (> 0)."""
    step = 10.0 ** (math.floor(math.log10(value)) - digits + 1)
    return float(f"{math.ceil(value / step - 1e-9) * step:.{digits}g}")


def track_level(values: Ints, stream: Stream, debounce: Debounce) -> int:
    """The smallest limit that a track's debounced cause would not fire at.

    values [frames] in Q16.16, in time order; the cause is present while value > limit. Fewer
    frames above never fire more readily, so a binary search finds it. UNREADABLE if none does.
    """
    seen = values[stream.frame_of_tick(len(values))]
    candidates = np.unique(np.append(values, values.min() - 1))
    low, high = 0, len(candidates) - 1
    while low < high:
        middle = (low + high) // 2
        if debounce.trips(seen > candidates[middle], stream.period_us):
            low = middle + 1
        else:
            high = middle
    return int(candidates[high])


def upper_limit(
    tracks: Sequence[Ints],
    stream: Stream,
    debounce: Debounce,
    max_false_trips_per_hour: float,
) -> Limit:
    """The smallest limit with at most that many false trips per hour when value > limit trips.

    tracks: Q16.16 values [frames] of each track, in time order, UNREADABLE where the core would see
    an invalid number. For a lower limit negate values and result. Raises UnsupportedWishError with
    the smallest rate that the tracks support.
    """
    _refuse_what_cannot_be(tracks, stream, debounce, max_false_trips_per_hour)
    n = len(tracks)
    hours = stream.hours(sum(len(t) for t in tracks))
    bearable = max_false_trips_per_hour * hours
    levels = sorted(track_level(t, stream, debounce) for t in tracks)
    seen = [t[stream.frame_of_tick(len(t))] for t in tracks]
    for level in sorted(set(levels[rank(n, bearable / n) - 1 :])):
        firings = [debounce.trips(s > level, stream.period_us) for s in seen]
        if level < UNREADABLE and sum(firings) <= bearable:
            return Limit(level, n, bearable / n, sum(f > 0 for f in firings), sum(firings), hours)
    unreadable = sum(level >= UNREADABLE for level in levels) / hours
    raise UnsupportedWishError(
        f"the cause fires on unreadable numbers alone, {unreadable:.3g} times per hour; "
        "mend the model, the signals or the data, or ask for more",
        round_up(unreadable),
    )


def _refuse_what_cannot_be(
    tracks: Sequence[Ints], stream: Stream, debounce: Debounce, rate: float
) -> None:
    if len(tracks) == 0 or not rate > 0.0:
        raise UnsupportedWishError("needs calibration tracks and a rate above 0", 0.0)
    n = len(tracks)
    hours = stream.hours(sum(len(t) for t in tracks)) / n
    shortest = min(len(stream.frame_of_tick(len(t))) for t in tracks) * stream.period_us
    if shortest < debounce.on_us:
        raise UnsupportedWishError(
            f"a calibration track of {shortest / 1e6:g} s is shorter than the debounce "
            f"({debounce.on_us / 1e6:g} s) and can never fire; give longer tracks",
            0.0,
        )
    if rate * hours >= 1.0:
        raise UnsupportedWishError(
            f"{rate:g} false trips per hour lets every track of {hours * 3600.0:.3g} s trip; "
            f"ask for less than {1.0 / hours:.4g}",
            1.0 / hours,
        )
    if rank(n, rate * hours) > n:
        supported = round_up(smallest_rate(n, hours))
        raise UnsupportedWishError(
            f"{rate:g} false trips per hour is less than {n} calibration tracks of "
            f"{hours * 3600.0:.3g} s can support; ask for no less than {supported:g}, or give more "
            "tracks",
            supported,
        )
