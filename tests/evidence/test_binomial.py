# SPDX-License-Identifier: Apache-2.0
"""The binomial distribution against sums of exact fractions, and what k of n promises."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from edgeguard.evidence.binomial import log_cdf, upper_bound
from edgeguard.evidence.conformal import Limit


def exact(k, n, p):
    p = Fraction(p)
    return float(sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1)))


@pytest.mark.parametrize(
    ("k", "n", "p"), [(0, 104, 0.01), (3, 60, 0.05), (60, 60, 0.5), (7, 9, 0.9)]
)
def test_the_distribution(k, n, p):
    assert math.exp(log_cdf(k, n, p)) == pytest.approx(exact(k, n, p), rel=1e-9)


@pytest.mark.parametrize(("k", "n"), [(0, 104), (1, 104), (5, 60), (59, 60)])
def test_the_bound_is_where_so_few_are_just_not_too_unlikely(k, n):
    p = upper_bound(k, n)
    assert exact(k, n, p) == pytest.approx(0.05, rel=1e-6)
    assert k / n < p < 1
    assert upper_bound(n, n) == 1.0


def test_the_largest_of_n_is_passed_no_more_often_than_is_said_to_be_sure():
    """Over many calibrations: in at most 5 % of them, the limit is passed more often than that."""
    n, sure = 104, upper_bound(0, 104)
    largest = np.random.default_rng(0).uniform(size=(20_000, n)).max(1)
    assert np.mean(1 - largest > sure) == pytest.approx(0.05, abs=0.006)


def test_what_is_sure_is_more_than_what_is_promised():
    limit = Limit(1, 104, 0.01, 0, 0, 104 * 3 / 3600)
    assert limit.surely_per_hour == pytest.approx(34.1, abs=0.1)
