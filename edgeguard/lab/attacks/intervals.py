# SPDX-License-Identifier: Apache-2.0
"""95 % intervals of what is no rate."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import rel_entr
from scipy.stats import binom

Numbers = npt.NDArray[np.float64] | npt.NDArray[np.int64]
TINY = 1e-15


def median_interval(values: Numbers) -> tuple[float, float]:
    """Of the median, by order statistics: no distribution is assumed. Below six values 95 % cannot
    be reached; then it is the smallest and the largest."""
    ranked, n = np.sort(values), len(values)
    below = int(binom.ppf(0.025, n, 0.5))  # so many of n fall below the median, but for 2.5 %
    low = max(below - 1, 0)
    return float(ranked[low]), float(ranked[n - 1 - low])


def mean_interval(shares: Numbers) -> tuple[float, float]:
    """Of a mean of shares in [0, 1], whatever their distribution: Hoeffding's bound (1963) with the
    relative entropy. Where all are 0, or all 1, it is Clopper and Pearson's; of none it is all."""
    n = len(shares)
    if n == 0:
        return 0.0, 1.0
    middle, most = float(np.mean(shares)), np.log(2 / 0.05) / n

    def too_far(mean: float) -> float:
        return float(rel_entr(middle, mean) + rel_entr(1 - middle, 1 - mean) - most)

    low = brentq(too_far, TINY, middle) if too_far(TINY) > 0 else 0.0
    high = brentq(too_far, middle, 1 - TINY) if too_far(1 - TINY) > 0 else 1.0
    return float(low), float(high)
