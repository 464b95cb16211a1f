# SPDX-License-Identifier: Apache-2.0
"""Percentiles of the histogram against the values that went in."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from edgeguard.loop import Histogram

VALUES = st.lists(st.integers(0, 2**39), min_size=1, max_size=200)
SHARES = st.sampled_from([0.001, 0.5, 0.99, 0.999, 1.0])


def filled(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram


@given(values=VALUES, share=SHARES)
def test_a_percentile_is_never_below_the_true_one_and_at_most_an_eighth_above(
    values: list[int], share: float
) -> None:
    true = sorted(values)[max(0, math.ceil(share * len(values) - 1e-9) - 1)]
    assert true <= filled(values).percentile_ns(share) <= true * 9 // 8 + 1


@given(values=VALUES)
def test_octaves_count_exactly_what_lies_below(values: list[int]) -> None:
    found = filled(values).octaves(4, 30)
    assert [end for end, _ in found] == [2**k for k in range(4, 31)]
    for end_ns, below in found:
        assert below == sum(value < end_ns for value in values)


def test_what_no_bucket_holds_is_counted_in_the_last() -> None:
    histogram = filled([-5, 2**50])
    assert (histogram.total, histogram.max_ns, sum(histogram.counts)) == (2, 2**50, 2)
    assert histogram.percentile_ns(0.5) == 1
    assert Histogram().percentile_ns(0.99) == 0
