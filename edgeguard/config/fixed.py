# SPDX-License-Identifier: Apache-2.0
"""From the user's decimal numbers to the core's integers, rounded so that no limit gets wider."""

from __future__ import annotations

import operator
from fractions import Fraction
from math import ceil, floor
from typing import Any

ONE = 65536  # 1.0 in Q16.16 and Q0.16
MOST = 2**31 - 1
LEAST = -(2**31)


def _scaled(value: float, factor: int) -> Fraction:
    """The number as it was written (0.1 is one tenth, not its nearest double), times factor.

    A whole number of the core's steps is that: of those above 8 the shortest text that says them,
    as a calibration file does, is often a little less or more.
    """
    if factor == ONE and float(value * ONE).is_integer():
        return Fraction(int(value * ONE))
    return Fraction(repr(value)) * factor


def q16(value: float) -> int:
    """Q16.16, to the nearest."""
    return round(_scaled(value, ONE))


def q16_floor(value: float) -> int:
    """Q16.16 not above the value: for upper limits and rates."""
    return floor(_scaled(value, ONE))


def q16_ceil(value: float) -> int:
    """Q16.16 not below the value: for lower limits and thresholds that evidence must reach."""
    return ceil(_scaled(value, ONE))


def us_floor(ms: float) -> int:
    """Microseconds, not longer than asked: deadlines, age limits, time until a cause acts."""
    return floor(_scaled(ms, 1000))


def us_ceil(ms: float) -> int:
    """Microseconds, not shorter than asked: time until a cause lets go."""
    return ceil(_scaled(ms, 1000))


def steps_per_period(per_second: float, period_ms: float) -> int:
    """How many of the core's smallest steps a rate allows in one control period."""
    return q16_floor(per_second) * us_floor(period_ms) // 1_000_000


def whole_ns(t_ns: Any) -> int | None:
    """A stamp in nanoseconds, whatever kind of whole number it is; None where it is none at all,
    which a stamp of the caller's own may say by raising anything."""
    try:
        t_ns = operator.index(t_ns)
    except KeyboardInterrupt:
        raise
    except BaseException:
        return None
    return t_ns if abs(t_ns) < 2**62 else None
