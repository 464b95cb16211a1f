# SPDX-License-Identifier: Apache-2.0
"""The binomial distribution, and what k of n says about a chance."""

from __future__ import annotations

import math


def log_cdf(k: int, n: int, p: float) -> float:
    """Logarithm of the chance of at most k of n, each with chance p strictly between 0 and 1."""
    terms = [
        math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1)
        + i * math.log(p) + (n - i) * math.log1p(-p)
        for i in range(min(k, n) + 1)
    ]  # fmt: skip
    top = max(terms)
    return min(0.0, top + math.log(sum(math.exp(t - top) for t in terms)))


def upper_bound(k: int, n: int, confidence: float = 0.95) -> float:
    """The largest chance with which at most k of n is not too unlikely (Clopper-Pearson, one side).

    For a limit that k of n calibration tracks are beyond, it is with this confidence over the draw
    of the calibration tracks also a bound of the chance that a new track is (Vovk, 2012,
    "Conditional validity of inductive conformal predictors")."""
    if k >= n:
        return 1.0
    low, high = k / n, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if log_cdf(k, n, middle) < math.log(1.0 - confidence):
            high = middle
        else:
            low = middle
    return high
