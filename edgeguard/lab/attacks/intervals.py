# SPDX-License-Identifier: Apache-2.0
"""95 % intervals of what is no rate."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import binom, t

Numbers = npt.NDArray[np.float64] | npt.NDArray[np.int64]


def median_interval(values: Numbers) -> tuple[float, float]:
    """Of the median, by order statistics: no distribution is assumed. Below six values 95 % cannot
    be reached; then it is the smallest and the largest."""
    ranked, n = np.sort(values), len(values)
    below = int(binom.ppf(0.025, n, 0.5))  # so many of n fall below the median, but for 2.5 %
    low = max(below - 1, 0)
    return float(ranked[low]), float(ranked[n - 1 - low])


def mean_interval(shares: Numbers) -> tuple[float, float]:
    """Of a mean of shares in [0, 1], by Student's t; one share alone says nothing."""
    n = len(shares)
    if n < 2:
        return 0.0, 1.0
    half = float(t.ppf(0.975, n - 1) * np.std(shares, ddof=1) / np.sqrt(n))
    middle = float(np.mean(shares))
    return max(0.0, middle - half), min(1.0, middle + half)
