# SPDX-License-Identifier: Apache-2.0
"""What is true about the road, whatever anybody believes: the commands that are safe on each tick.

A sign's limit comes into force when it is passed, at the end of its track. While the car drives up
to it, the higher of the old and the new limit holds: who sees 80 ahead of 60 may speed up, who
sees 50 ahead of 60 must be down to 50 when passing it. On the way to a stop, a yield and a
no-entry sign the command must not rise. Nothing else changes the limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

KMH = 1 / 3.6
LIMIT_KMH = {0: 20, 1: 30, 2: 50, 3: 60, 4: 70, 5: 80, 7: 100, 8: 120}  # GTSRB class: limit
YIELD, STOP, NO_ENTRY = 13, 14, 17
NO_RISE = (YIELD, STOP, NO_ENTRY)
STEP = 1 / 65536  # of a command; half of one is rounding

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class SafeSet:
    """The safe commands of every tick: top [N] in m/s, may_rise [N]."""

    top: Floats
    may_rise: Bools

    def outside(self, command: Floats) -> Bools:
        """Which commands [N], m/s, one per tick from the first, lie outside."""
        before = np.concatenate([command[:1], command[:-1]])
        rising = command > before + STEP / 2
        return (command > self.top + STEP / 2) | (rising & ~self.may_rise)


def limits_kmh(labels: Sequence[int], initial_kmh: int) -> list[int]:
    """The limit in force after passing each sign."""
    passed, limit = [], initial_kmh
    for label in labels:
        limit = LIMIT_KMH.get(label, limit)
        passed.append(limit)
    return passed


def safe_set(labels: Sequence[int], initial_kmh: int, ticks_per_track: int) -> SafeSet:
    """The safe set of a stream of tracks, each of which shows the sign of one class."""
    after = limits_kmh(labels, initial_kmh)
    before = [initial_kmh, *after[:-1]]
    top = np.maximum(before, after) * KMH
    may_rise = ~np.isin(labels, NO_RISE)
    return SafeSet(np.repeat(top, ticks_per_track), np.repeat(may_rise, ticks_per_track))
