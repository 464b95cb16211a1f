# SPDX-License-Identifier: Apache-2.0
"""Votes as the core counts them, and certainty thresholds that keep their promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom

from edgeguard.evidence import selective
from edgeguard.evidence.conformal import UnsupportedWishError
from edgeguard.evidence.selective import GRID, ONE, Votes

ALL = np.array([True, True, True])


def one_vote(labels, certainties, granted=ALL, quorum=2):
    found = selective.vote(np.array([labels]), np.array([certainties]), np.array(granted), quorum)
    return int(found.winner[0]), int(found.level[0])


def test_votes_by_hand():
    assert one_vote([4, 4, 4], [10, 30, 20]) == (4, 20)
    assert one_vote([4, 4, 4], [10, 30, 20], quorum=3) == (4, 10)
    assert one_vote([4, 5, 4], [10, 99, 20]) == (4, 10)
    assert one_vote([4, 5, 6], [10, 99, 20]) == (-1, -1)  # a tie has no winner
    assert one_vote([4, 5, 6], [10, 99, 20], quorum=1) == (-1, -1)
    assert one_vote([4, -1, -1], [10, 0, 0]) == (4, -1)  # no quorum
    assert one_vote([4, -1, -1], [10, 0, 0], quorum=1) == (4, 10)
    assert one_vote([-1, -1, -1], [0, 0, 0], quorum=1) == (-1, -1)
    assert one_vote([4, 4, 4], [10, 30, 20], granted=[True, False, True]) == (4, 10)
    assert one_vote([4, 4, 4], [10, 30, 20], quorum=4) == (4, -1)


@settings(max_examples=200, deadline=None)
@given(
    labels=st.lists(st.integers(-1, 2), min_size=1, max_size=5),
    data=st.data(),
    quorum=st.integers(1, 5),
)
def test_votes_by_their_definition(labels, data, quorum):
    m = len(labels)
    certainty = data.draw(st.lists(st.integers(0, ONE), min_size=m, max_size=m))
    granted = data.draw(st.lists(st.booleans(), min_size=m, max_size=m))
    counts = {v: labels.count(v) for v in labels if v >= 0}
    leaders = [v for v, c in counts.items() if c == max(counts.values())]
    winner = leaders[0] if len(leaders) == 1 else -1
    found = one_vote(labels, certainty, granted, quorum)
    assert found[0] == winner
    for threshold in {0, *certainty}:
        behind = [
            i for i in range(m)
            if winner >= 0 and labels[i] == winner and granted[i] and certainty[i] >= threshold
        ]  # fmt: skip
        assert (found[1] >= threshold) == (len(behind) >= quorum)


def test_p_value_without_loss_is_clopper_pearson():
    for n in (10, 100, 300):
        upper = beta.ppf(0.95, 1, n)
        assert selective.p_value(0.0, n, upper) == pytest.approx(0.05)


@pytest.mark.parametrize("n", [20, 150, 2000])
@pytest.mark.parametrize("mean", [0.0, 0.005, 0.02, 0.1])
def test_p_value_is_never_below_the_exact_one(n, mean):
    for alpha in (0.01, 0.03, 0.2, 0.5):
        exact = binom.cdf(np.floor(n * mean), n, alpha)
        found = selective.p_value(mean, n, alpha)
        assert 0.0 <= found <= 1.0
        assert found >= exact * (1 - 1e-9) or mean >= alpha


def world(rng, tracks, frames=10, slope=1.0):
    """Tracks with a difficulty; certainty says how likely a frame is right, up to ``slope``."""
    difficulty = rng.beta(0.6, 4.0, (tracks, 1))
    certainty = np.clip(1 - difficulty + rng.normal(0, 0.03, (tracks, frames)), 0.02, 0.9999)
    wrong = rng.random((tracks, frames)) > certainty**slope
    y = np.zeros(tracks * frames, np.int64)
    votes = Votes(wrong.ravel().astype(np.int64), (certainty.ravel() * ONE).astype(np.int64))
    return votes, y, np.repeat(np.arange(tracks), frames)


def test_the_promise_on_accuracy_is_kept():
    """Of many calibrations, at most delta may end with an error above alpha (binomial bound)."""
    rng = np.random.default_rng(2)
    truth = world(rng, 20_000)
    delta, broken, coverages = 0.1, 0, []
    for _ in range(60):
        try:
            found = selective.certainty_threshold(world(rng, 40), world(rng, 160), 0.9, delta)
        except UnsupportedWishError:
            continue
        there = selective.accepted_at(*truth, found.value)
        coverages.append(there.frames / len(truth[1]))
        broken += there.error > 0.1
    assert len(coverages) >= 50
    assert broken <= binom.ppf(0.999, len(coverages), delta)
    best = max(a.frames for t in GRID if (a := selective.accepted_at(*truth, t)).error <= 0.1)
    assert np.median(coverages) > 0.5 * best / len(truth[1])  # and the threshold is of use


def test_a_target_out_of_reach_is_refused_with_the_one_in_reach():
    rng = np.random.default_rng(3)
    fit, held = world(rng, 30), world(rng, 120)
    with pytest.raises(UnsupportedWishError, match="120 calibration tracks") as refused:
        selective.certainty_threshold(fit, held, 0.999)
    supported = refused.value.supported
    assert 0.5 <= supported <= selective.best_target(120, 0.05)
    assert f"no more than {supported:g}" in str(refused.value)
    found = selective.certainty_threshold(fit, held, supported)
    assert found.n_tracks == 120
    with pytest.raises(UnsupportedWishError):
        selective.certainty_threshold(fit, held, supported + 0.001)


def test_without_an_error_the_rule_of_three_decides():
    def flawless(n):
        return (
            Votes(np.zeros(n * 5, np.int64), np.full(n * 5, ONE)),
            np.zeros(n * 5, np.int64),
            np.repeat(np.arange(n), 5),
        )

    with pytest.raises(UnsupportedWishError, match=r"no more than 0\.97,"):
        selective.certainty_threshold(flawless(25), flawless(100), 0.98)
    found = selective.certainty_threshold(flawless(25), flawless(100), 0.97)
    assert found.value == GRID[-1]
    assert (found.coverage, found.accuracy, found.alpha) == (1.0, 1.0, pytest.approx(0.03))


def test_hopeless_members_get_no_target():
    rng = np.random.default_rng(4)
    votes = Votes(np.ones(500, np.int64), rng.integers(0, ONE, 500))
    side = votes, np.zeros(500, np.int64), np.repeat(np.arange(100), 5)
    with pytest.raises(UnsupportedWishError, match="no target is supported; see whether"):
        selective.certainty_threshold(side, side, 0.9)


def frames(right, tracks, level=ONE):
    """Tracks of ten frames, of which so many are right."""
    winner = np.tile(np.arange(10) >= right, tracks).astype(np.int64)
    return (
        Votes(winner, np.full(tracks * 10, level)),
        np.zeros(tracks * 10, np.int64),
        np.repeat(np.arange(tracks), 10),
    )


def refusal(fit, held, target):
    with pytest.raises(UnsupportedWishError) as refused:
        selective.certainty_threshold(fit, held, target)
    return str(refused.value)


@pytest.mark.parametrize("level", [ONE, 2000])  # or so unsure that no threshold accepts any
def test_wrong_models_are_not_blamed_on_few_tracks(level):
    said = refusal(frames(1, 100, level), frames(1, 300, level), 0.95)
    assert "is more than these models have: at best 10.0%, at " in said
    assert "on 300 of 300 calibration tracks (the other 100 fit the temperatures)" in said
    assert "the order of y and of the card's labels" in said
    assert "can show" not in said and "more tracks" not in said


def test_models_that_are_nearly_good_enough_are_told_what_they_have():
    assert "at best 90.0%" in refusal(frames(9, 100), frames(9, 300), 0.95)
    assert "ask for no more than 0.8" in refusal(frames(9, 100), frames(9, 300), 0.95)
    held = frames(10, 60)
    held[0].winner[:10] = 1  # one track of 60: 98.3 %
    said = refusal(frames(10, 20), held, 0.95)
    assert (
        "cannot be shown with confidence 0.95" in said and "98.3% is measured on 60 of 60" in said
    )
    assert said.endswith("or give more tracks")


def test_a_quorum_that_is_hardly_ever_there_is_named():
    held = frames(10, 100)
    held[0].level[200:] = -1
    said = refusal(frames(10, 30), held, 0.95)
    assert "takes 59 accepted tracks to be shown" in said
    assert "only 20 of 100 calibration tracks" in said and "have a frame with a quorum" in said
    assert "lower the quorum" in said


def test_risk_coverage_counts_from_the_most_certain():
    votes = Votes(np.array([1, 1, 2, -1]), np.array([30, 50, 40, -1]))
    coverage, risk = selective.risk_coverage(votes, np.array([1, 1, 1, 1]))
    assert coverage.tolist() == [0.25, 0.5, 0.75]
    assert risk.tolist() == [0.0, 0.5, pytest.approx(1 / 3)]
