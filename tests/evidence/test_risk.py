# SPDX-License-Identifier: Apache-2.0
"""Risk over time: the bound on false alarms by simulation, what it finds, the rule of events."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from edgeguard.evidence.conformal import UNREADABLE
from edgeguard.evidence.risk import (
    BLOCK_S,
    EVENTS,
    HOLD_S,
    WINDOW_S,
    Events,
    Evidence,
    Limits,
    block_scores,
    combined,
    e_value,
    fair_price,
    measured,
)

S = 10**9
BLOCK = int(BLOCK_S * S)


def test_a_bet_is_fair_and_pays_for_small_p():
    # over u = ln p, where the bet is smooth; its tail below e^-700 is 1 / 700
    mean = quad(lambda u: e_value(math.exp(u)) * math.exp(u), -700, 0, limit=500)[0]
    assert mean == pytest.approx(1.0, abs=2 / 700)
    p = np.geomspace(1e-6, 1.0, 2000)
    paid = np.array([e_value(x) for x in p])
    assert (np.diff(paid) <= 1e-9).all() and paid[0] > 1000 and paid[-1] == 0.5


@pytest.mark.parametrize("alike", [1.0, 0.0], ids=["one number seen twice", "independent"])
def test_false_alarms_stay_under_the_bound(alike):
    """At most N / c alarms are expected, for 95 % of all calibrations at least."""
    rng = np.random.default_rng(4)
    blocks, calibrations, c = 3000, 80, 10.0
    over = 0
    for _ in range(calibrations):
        one = rng.integers(0, 10**9, 60 + blocks)
        two = one if alike else rng.integers(0, 10**9, 60 + blocks)
        watch = Evidence({"one": one[:60], "two": two[:60]}, 3600 / BLOCK_S / c)
        for i in range(blocks):
            hour = i * 3600 * S  # holds apart: every alarm counts
            watch.block({"one": int(one[60 + i]), "two": int(two[60 + i])}, hour)
        over += watch.alarms[2] > blocks / c + 3 * math.sqrt(blocks / c)
    assert over <= 0.05 * calibrations + 3 * math.sqrt(0.05 * calibrations)


def test_the_price_covers_an_unlucky_calibration():
    """The mean of the bet over new uniform numbers, given 30 of them: exact, calibration by
    calibration."""
    rng = np.random.default_rng(1)
    price = fair_price(30, 1)
    pays = np.array([e_value((i + 1) / 31) for i in range(31)])
    means = []
    for _ in range(2000):
        seen = np.sort(rng.uniform(size=30))[::-1]
        gaps = -np.diff(np.r_[1.0, seen, 0.0])
        means.append(gaps @ pays)
    assert np.mean(np.array(means) <= price) == pytest.approx(0.95, abs=0.02)
    assert fair_price(100, 1) < fair_price(100, 8)  # for all at once


def alarmed(calibration, scores, rate=1.0):
    """After how many blocks level 2 stands, or None."""
    watch = Evidence(calibration, rate)
    for i, block in enumerate(scores):
        watch.block(block, i * BLOCK)
        if watch.level(i * BLOCK) >= 2:
            return i + 1
    return None


def test_what_none_of_them_trips_on_is_found_together():
    rng = np.random.default_rng(0)
    calm = {n: rng.normal(0, 1, 100) * 65536 for n in "abcd"}
    tense = [{n: 1.9 * 65536 + rng.normal(0, 6554) for n in "abcd"} for _ in range(60)]
    assert alarmed({n: s.astype(int).tolist() for n, s in calm.items()}, tense) <= 20
    one_of_four = [{"a": 20 * 65536, "b": 0, "c": 0, "d": 0}] * 30
    assert alarmed({n: s.astype(int).tolist() for n, s in calm.items()}, one_of_four) <= 10


def test_who_says_nothing_is_no_evidence():
    calm = {"a": list(range(100))}
    assert alarmed(calm, [{}] * 5000) is None
    assert alarmed(calm, [{"a": None}] * 5000) is None
    assert alarmed({"a": []}, [{"a": 10**9}] * 100) is None
    assert alarmed(calm, [{"a": UNREADABLE}] * 20) <= 8


def test_the_measured_rate_of_clean_blocks_is_under_what_was_asked_for():
    rng = np.random.default_rng(5)
    one, two = rng.normal(0, 10**5, (2, 200)).astype(int)
    rate, hours = measured({"one": one, "two": two, "few": two[:50]}, 12.0)
    assert rate is not None and rate <= 12.0
    assert hours == pytest.approx(50 * 3 / 3600)  # however often they are looked at


@pytest.mark.parametrize(("rate", "blocks"), [(12.0, 6), (1e-30, 100), (12.0, 1)])
def test_so_few_blocks_that_no_alarm_could_be_measure_nothing(rate, blocks):
    """Zero alarms of them would be no measurement."""
    found = measured({"one": np.arange(blocks)}, rate, splits=2)
    assert found == (None, pytest.approx(blocks * 3 / 3600))


def test_blocks_that_are_like_their_neighbours_show_in_the_measured_rate():
    """What the bound takes for granted does not hold for them."""
    rng = np.random.default_rng(3)
    alone = rng.normal(0, 10**5, 60).astype(int)
    alike = np.repeat(alone, 10)
    shuffled = rng.permutation(alike)
    rates = [measured({"one": blocks}, 12.0, splits=10)[0] for blocks in (shuffled, alike)]
    assert rates[0] <= 12.0 < rates[1]


def test_an_alarm_stands_for_its_time_and_goes():
    watch = Evidence({"a": list(range(100))}, 1.0)
    t = 0
    while watch.level(t) < 2:
        t += BLOCK
        watch.block({"a": 10**6}, t)
    assert watch.level(t + int(HOLD_S * S) - 1) >= 2
    assert watch.level(t + int(HOLD_S * S)) == 0
    assert 1 <= watch.alarms[2] <= watch.alarms[1]


def test_an_alarm_stands_no_longer_because_the_clock_ran_back():
    watch, t = Evidence({"a": list(range(100))}, 1.0), 10**6 * S
    while watch.level(t) < 2:
        t += BLOCK
        watch.block({"a": 10**6}, t)
    assert watch.level(0) >= 2
    assert watch.level(int(HOLD_S * S) - 1) >= 2
    assert watch.level(int(HOLD_S * S)) == 0


@given(
    st.lists(st.integers(-1000, 1000), min_size=1, max_size=30),
    st.integers(-50, 50),
    st.integers(51, 100),
)
def test_a_score_grows_towards_and_beyond_the_limits(values, low, high):
    both = Limits(low, high)
    inside = all(low <= v <= high for v in values)
    assert (both.score(min(values), max(values)) <= 0) == inside
    assert Limits(None, high).score(min(values), max(values)) == max(values) - high
    assert Limits(low, None).score(min(values), max(values)) == low - min(values)


def test_blocks_of_tracks():
    silent = -UNREADABLE
    tracks = [
        np.array([1, 5, 2, 7, 9]),  # the last is no whole block
        np.array([silent, silent]),
        np.array([silent, 3]),
        np.array([UNREADABLE, 1]),
    ]
    found = block_scores(tracks, Limits(None, 4), 2)
    assert found.tolist() == [1, 3, -1, UNREADABLE]


@pytest.mark.parametrize(
    ("happened", "level"),
    [
        ([], 0),
        (["link_error"], 1),
        (["failed_authentication", "link_error"], 1),
        (["bus_intrusion"], 2),
        (["refused_file", "refused_file"], 2),  # the same within a second counts once
        (["sandbox_violation"], 3),
        (["bus_intrusion", "refused_file"], 3),
    ],
)
def test_events_count_points(happened, level):
    events = Events()
    for name in happened:
        events.happened(name)
    assert events.level(0) == level
    assert events.level(int(WINDOW_S * S)) == level
    assert events.level(int(WINDOW_S * S) + 1) == 0


def test_the_same_event_again_counts_once_a_second():
    events = Events()
    for i in range(30):
        events.happened("failed_authentication")
        found = events.level(i * S // 10)
    assert found == 2  # three seconds, three points
    with pytest.raises(ValueError, match="sandbox_violation"):
        events.happened("rain")
    assert all(points > 0 for points in EVENTS.values())


def test_the_rule_of_both():
    table = [[combined(e, s) for s in range(4)] for e in range(4)]
    assert table == [[0, 1, 2, 3], [1, 1, 2, 3], [2, 2, 3, 3], [3, 3, 3, 3]]


def test_a_detector_at_the_ends_of_q16_is_never_near_its_limits():
    assert Limits(None, None).score(-(2**31), 2**31 - 1) == -UNREADABLE


def test_events_stamped_before_the_clock_ran_back_neither_stay_nor_silence():
    events = Events()
    events.happened("bus_intrusion")
    assert events.level(10**6 * S) == 2
    assert events.level(0) == 2
    assert events.level(int(WINDOW_S * S) + 1) == 0
    events.happened("bus_intrusion")
    assert events.level(int(WINDOW_S * S) + 2) == 2
