# SPDX-License-Identifier: Apache-2.0
"""The ground truth against cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgeguard.streams.truth import KMH, LIMIT_KMH, SafeSet, limits_kmh, safe_set

FIFTY, SIXTY, EIGHTY, PRIORITY, YIELD, STOP, NO_ENTRY, END_OF_80 = 2, 3, 5, 12, 13, 14, 17, 6


def top_kmh(safe: SafeSet) -> list[int]:
    return [round(v / KMH) for v in safe.top]


def test_a_lower_limit_counts_from_where_its_sign_is_passed() -> None:
    safe = safe_set([FIFTY, PRIORITY], initial_kmh=80, ticks_per_track=3)
    assert top_kmh(safe) == [80, 80, 80, 50, 50, 50]


def test_a_higher_limit_counts_from_where_its_sign_is_seen() -> None:
    safe = safe_set([PRIORITY, EIGHTY, PRIORITY], initial_kmh=50, ticks_per_track=2)
    assert top_kmh(safe) == [50, 50, 80, 80, 80, 80]


def test_between_two_limits_the_higher_one_holds_until_the_second_is_passed() -> None:
    safe = safe_set([SIXTY, FIFTY, EIGHTY], initial_kmh=50, ticks_per_track=1)
    assert top_kmh(safe) == [60, 60, 80]


@pytest.mark.parametrize("sign", [STOP, YIELD, NO_ENTRY, PRIORITY, END_OF_80])
def test_other_signs_leave_the_limit_alone(sign: int) -> None:
    assert limits_kmh([SIXTY, sign], 50) == [60, 60]


@pytest.mark.parametrize("sign", [STOP, YIELD, NO_ENTRY])
def test_on_the_way_to_a_stop_the_command_must_not_rise(sign: int) -> None:
    safe = safe_set([PRIORITY, sign, PRIORITY], initial_kmh=50, ticks_per_track=2)
    rising = np.array([5.0, 6.0, 6.1, 6.1, 6.2, 6.3])
    assert safe.outside(rising).tolist() == [False, False, True, False, False, False]
    assert not safe.outside(np.array([9.0, 8.0, 7.0, 6.0, 6.0, 5.0])).any()


def test_outside_is_above_the_limit_and_rounding_is_not() -> None:
    safe = safe_set([PRIORITY], initial_kmh=36, ticks_per_track=4)
    just = 10.0 + 1 / 65536 / 3
    assert safe.outside(np.array([10.0, just, 10.0 + 1 / 65536, 9.0])).tolist() == [
        False, False, True, False,
    ]  # fmt: skip


def test_every_speed_limit_of_the_benchmark_has_a_meaning() -> None:
    assert LIMIT_KMH == {0: 20, 1: 30, 2: 50, 3: 60, 4: 70, 5: 80, 7: 100, 8: 120}
