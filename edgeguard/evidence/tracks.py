# SPDX-License-Identifier: Apache-2.0
"""Calibration tracks: runs of frames in driving order. The track, not the frame, is the unit of
every statement made from them, since the frames of one track show one thing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Stream:
    """How frames become decisions: camera rate in Hz, control period in microseconds."""

    rate_hz: float
    period_us: int

    def frame_of_tick(self, frames: int) -> Ints:
        """Which frame of a track each control tick sees: indices [ticks], every frame in turn.

        A verdict on a frame holds until the next one, the last for one frame period.
        """
        per_tick = self.period_us * self.rate_hz / 1e6
        ticks = max(1, round(frames / per_tick))
        seen = np.floor(np.arange(ticks) * per_tick + 1e-9).astype(np.int64)
        held: Ints = np.minimum(seen, frames - 1)
        return held

    def hours(self, frames: float) -> float:
        """How long that many frames last."""
        return frames / self.rate_hz / 3600.0


@dataclass(frozen=True)
class Tracks:
    """Where each track lies in arrays of frames: start and length [tracks], sorted as given."""

    start: Ints
    length: Ints

    def __len__(self) -> int:
        return len(self.start)

    @classmethod
    def of(cls, keys: Ints) -> Tracks:
        """Tracks of a frame array from the track key of each frame [N].

        Frames of a track must stand together, in driving order. Raises ValueError otherwise.
        """
        if len(keys) == 0:
            raise ValueError("no frames")
        start = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
        if len(np.unique(keys[start])) != len(start):
            raise ValueError("frames of one track do not stand together")
        return cls(start, np.diff(np.r_[start, len(keys)]))

    def number(self) -> Ints:
        """The position of its track for each frame [N]."""
        return np.repeat(np.arange(len(self)), self.length)

    def slices(self) -> list[slice]:
        """Where to find the frames of each track."""
        return [slice(int(s), int(s + n)) for s, n in zip(self.start, self.length, strict=True)]

    def halves(self, every: int = 4) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Two disjoint masks over frames [N]: every ``every``-th track, and the others.

        The first fits what thresholds stand on (temperature, where to start); thresholds are set on
        the second alone, so that they stay exchangeable with new tracks.
        """
        chosen = np.arange(len(self)) % every == every // 2
        mask = np.repeat(chosen, self.length)
        return mask, ~mask
