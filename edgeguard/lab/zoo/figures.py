# SPDX-License-Identifier: Apache-2.0
"""Rates as figures of a results file."""

from __future__ import annotations

import math

from edgeguard.figures import Figure


def wilson(hits: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % interval of a rate (Wilson 1927): from 0 of no hits, to 1 of nothing but hits, which the
    rounding of the formula misses."""
    if n == 0:
        return 0.0, 1.0
    p, zz = hits / n, z * z
    middle, half = p + zz / (2 * n), z * math.sqrt(p * (1 - p) / n + zz / (4 * n * n))
    low = (middle - half) / (1 + zz / n) if hits else 0.0
    return low, (middle + half) / (1 + zz / n) if hits < n else 1.0


def rate(name: str, hits: int, n: int, bar: float | None = None) -> Figure:
    """A share of n as a figure; the bar is the least that it may be."""
    value = hits / n if n else 0.0
    words = None if bar is None else f">= {bar:g}"
    holds = None if bar is None else value >= bar
    return Figure(name, value, "1", n, wilson(hits, n), words, holds)
