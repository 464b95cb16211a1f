# SPDX-License-Identifier: Apache-2.0
"""Detector limits: the promise against simulation, refusals, debounce as the core does it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from edgeguard.evidence import conformal
from edgeguard.evidence.conformal import UNREADABLE, Debounce, UnsupportedWishError
from edgeguard.evidence.tracks import Stream, Tracks

STREAM = Stream(rate_hz=10.0, period_us=10_000)
SHORT = Debounce(on_us=60_000, off_us=500_000)
PATIENT = Debounce(on_us=250_000, off_us=500_000)


def brute_force_trips(present, dt_us, on_us, off_us):
    """The definition, in fractions of an eighth of a microsecond so that nothing is rounded."""
    level, quiet, active, trips = 0, 0, False, 0
    for now in present:
        if now:
            level, quiet = min(level + 8 * dt_us, 8 * on_us), 0
            if level >= 8 * on_us and not active:
                active, trips = True, trips + 1
        else:
            level, quiet = max(0, level - dt_us), quiet + dt_us
            if active and quiet >= off_us:
                active, level = False, 0
    return trips


@settings(max_examples=200, deadline=None)
@given(
    present=st.lists(st.tuples(st.booleans(), st.integers(1, 40)), max_size=12),
    dt_us=st.sampled_from([8, 8_000, 10_000]),
    on=st.integers(0, 60),
    extra=st.integers(0, 60),
)
def test_the_cores_debounce_is_the_definition(present, dt_us, on, extra):
    ticks = np.array([state for state, length in present for _ in range(length)], bool)
    on_us, off_us = on * dt_us, (on + extra) * dt_us
    found = Debounce(on_us, off_us).trips(ticks, dt_us)
    assert found == brute_force_trips(ticks, dt_us, on_us, off_us)


def test_a_track_level_is_the_smallest_limit_that_does_not_fire():
    rng = np.random.default_rng(0)
    for debounce in (SHORT, PATIENT):
        for _ in range(50):
            values = rng.integers(-50, 50, 30)
            level = conformal.track_level(values, STREAM, debounce)
            seen = values[STREAM.frame_of_tick(30)]
            by_limit = {
                limit: brute_force_trips(seen > limit, 10_000, debounce.on_us, debounce.off_us)
                for limit in range(-52, 52)
            }
            assert by_limit[level] == 0
            assert all(trips > 0 for limit, trips in by_limit.items() if limit < level)


def test_one_frame_at_10_hz_outlasts_a_short_debounce_but_not_a_patient_one():
    values = np.zeros(30, np.int64)
    values[[4, 20]] = 7
    assert conformal.track_level(values, STREAM, SHORT) == 7
    assert conformal.track_level(values, STREAM, PATIENT) == 0


def simulated(rng, tracks, frames=10):
    """Tracks whose frames hang together: a level of their own plus noise, Q16.16."""
    own = rng.normal(0, 1, (tracks, 1))
    return list(((own + rng.normal(0, 0.7, (tracks, frames))) * 65536).astype(np.int64))


@pytest.mark.parametrize(("n", "rate"), [(40, 360.0), (60, 90.0)])
def test_new_tracks_trip_no_more_often_than_promised(n, rate):
    rng = np.random.default_rng(11)
    tripped, trials, alpha = 0, 120, 0.0
    for _ in range(trials):
        limit = conformal.upper_limit(simulated(rng, n), STREAM, PATIENT, rate)
        alpha = limit.alpha
        for track in simulated(rng, 10):
            seen = track[STREAM.frame_of_tick(len(track))]
            tripped += brute_force_trips(seen > limit.value, 10_000, 250_000, 500_000) > 0
    assert alpha == pytest.approx(rate / 3600.0)
    # not above the promise, and near enough to it not to be vacuous
    assert tripped <= binom.ppf(0.9999, trials * 10, alpha)
    assert tripped >= binom.ppf(0.0001, trials * 10, (alpha * (n + 1) - 1) / (n + 1))


def test_the_refusal_names_the_smallest_rate():
    rng = np.random.default_rng(5)
    tracks = simulated(rng, 200)  # of 1 s, the example of the design
    assert conformal.smallest_rate(200, 1 / 3600) == pytest.approx(3600 / 201)
    with pytest.raises(UnsupportedWishError, match=r"less than 200 calibration tracks of 1 s"):
        conformal.upper_limit(tracks, STREAM, SHORT, 17.0)
    with pytest.raises(UnsupportedWishError, match="ask for no less than 18") as refused:
        conformal.upper_limit(tracks, STREAM, SHORT, 10.0)
    limit = conformal.upper_limit(tracks, STREAM, SHORT, refused.value.supported)
    assert (limit.n_tracks, limit.tripped, limit.firings) == (200, 0, 0)
    assert limit.alpha == pytest.approx(18.0 / 3600)


@pytest.mark.parametrize("n", [1, 2, 7, 50, 333])
@pytest.mark.parametrize("seconds", [0.1, 1.0, 3.0, 47.0])
def test_the_smallest_rate_is_supported_and_less_is_not(n, seconds):
    smallest = conformal.smallest_rate(n, seconds / 3600)
    assert conformal.rank(n, smallest * seconds / 3600) <= n
    assert conformal.rank(n, conformal.round_up(smallest) * seconds / 3600) <= n
    assert conformal.rank(n, 0.99 * smallest * seconds / 3600) == n + 1


def test_firings_stay_under_the_rate_when_a_track_fires_often():
    blip = np.zeros(100, np.int64)
    blip[5::20] = 5  # five firings in one track of 10 s
    calm = [np.zeros(100, np.int64) for _ in range(39)]
    # 20 firings per hour in 400 s of stream are 2.2: one track may trip, but not five times
    limit = conformal.upper_limit([blip, *calm], STREAM, SHORT, 20.0)
    assert (limit.value, limit.firings) == (5, 0)
    blip[25:] = 0  # one firing
    limit = conformal.upper_limit([blip, *calm], STREAM, SHORT, 20.0)
    assert (limit.value, limit.firings, limit.tripped) == (0, 1, 1)


def test_wishes_that_make_no_sense_are_refused():
    tracks = simulated(np.random.default_rng(0), 20)
    with pytest.raises(UnsupportedWishError, match="rate above 0"):
        conformal.upper_limit(tracks, STREAM, SHORT, 0.0)
    with pytest.raises(UnsupportedWishError, match="needs calibration tracks"):
        conformal.upper_limit([], STREAM, SHORT, 20.0)
    with pytest.raises(UnsupportedWishError, match="ask for less than 3600"):
        conformal.upper_limit(tracks, STREAM, SHORT, 3600.0)
    for too_many in (1e308, float("inf")):
        with pytest.raises(UnsupportedWishError, match="lets every track of 1 s trip"):
            conformal.upper_limit(tracks, STREAM, SHORT, too_many)
    with pytest.raises(UnsupportedWishError, match="shorter than the debounce"):
        conformal.upper_limit(tracks, STREAM, Debounce(2_000_000, 2_000_000), 400.0)


def test_frames_that_cannot_be_read_trip_at_every_limit():
    tracks = simulated(np.random.default_rng(0), 40)
    tracks[3][2:8] = UNREADABLE
    limit = conformal.upper_limit(tracks, STREAM, PATIENT, 200.0)
    assert (limit.value < UNREADABLE, limit.tripped) == (True, 1)
    with pytest.raises(UnsupportedWishError, match="unreadable numbers alone, 90 times per hour"):
        conformal.upper_limit(tracks, STREAM, PATIENT, 89.0)


def test_ticks_see_each_frame_for_one_frame_period():
    assert np.bincount(STREAM.frame_of_tick(30)).tolist() == [10] * 30
    uneven = np.bincount(Stream(30.0, 10_000).frame_of_tick(3))
    assert uneven.tolist() == [4, 3, 3]
    assert Stream(200.0, 10_000).frame_of_tick(5).tolist() == [0, 2]
    assert Stream(1000.0, 10_000).frame_of_tick(1).tolist() == [0]


def test_tracks_are_runs_of_one_key():
    tracks = Tracks.of(np.array([7, 7, 3, 3, 3, 9]))
    assert tracks.start.tolist() == [0, 2, 5]
    assert tracks.length.tolist() == [2, 3, 1]
    assert tracks.number().tolist() == [0, 0, 1, 1, 1, 2]
    with pytest.raises(ValueError, match="do not stand together"):
        Tracks.of(np.array([7, 3, 7]))
    with pytest.raises(ValueError, match="no frames"):
        Tracks.of(np.array([], np.int64))


def test_the_two_halves_share_no_track():
    tracks = Tracks.of(np.repeat(np.arange(23), 4))
    fit, held = tracks.halves()
    assert not (fit & held).any() and (fit | held).all()
    assert set(np.flatnonzero(fit) // 4) == {2, 6, 10, 14, 18, 22}
