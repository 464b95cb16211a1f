# SPDX-License-Identifier: Apache-2.0
"""Temperature, and the whole calibration on made-up members with known flaws."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from edgeguard.evidence import calibration_file, temperature
from edgeguard.evidence.calibration import (
    Calibration,
    Detector,
    Frames,
    Member,
    Operation,
    Wishes,
    calibrate,
)
from edgeguard.evidence.conformal import Debounce, UnsupportedWishError
from edgeguard.evidence.tracks import Stream, Tracks

ONE = 65536
FRAMES, CLASSES = 20, 8
NAMES = ("a", "b", "c")


def drawn(rng, z):
    """Labels drawn from softmax(z), so that temperature 1 is right for z."""
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    return (p.cumsum(1) > rng.random((len(z), 1))).argmax(1)


@pytest.mark.parametrize("planted", [0.3, 1.0, 2.5, 7.0])
def test_the_planted_temperature_is_found(planted):
    rng = np.random.default_rng(1)
    z = rng.normal(0, 2.5, (20_000, CLASSES))
    found = temperature.fit_temperature(z * planted, drawn(rng, z))
    assert found == pytest.approx(planted, rel=0.03)


def test_the_fitted_temperature_is_the_best_of_a_fine_scan():
    rng = np.random.default_rng(2)
    z = rng.normal(0, 2, (500, CLASSES))
    y = drawn(rng, z / 1.7)
    found = temperature.nll(z, y, temperature.fit_temperature(z, y))
    assert found <= min(temperature.nll(z, y, t) for t in np.geomspace(0.05, 20, 400)) + 1e-9


def test_temperatures_without_an_optimum_stop_at_the_ends():
    z = np.eye(3) * 4
    assert temperature.fit_temperature(z, np.arange(3)) == pytest.approx(0.05, rel=1e-3)
    assert temperature.fit_temperature(z, (np.arange(3) + 1) % 3) == pytest.approx(20, rel=1e-3)
    with pytest.raises(ValueError, match="no samples"):
        temperature.fit_temperature(np.zeros((0, 3)), np.zeros(0, int))


def test_probabilities_are_scaled_as_logits():
    rng = np.random.default_rng(3)
    z = rng.normal(0, 3, (20_000, CLASSES))
    y = drawn(rng, z / 2)
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    as_logits = temperature.fit_temperature(z, y)
    found = temperature.fit_temperature(temperature.exponents(p, "probabilities"), y)
    assert found == pytest.approx(as_logits, rel=1e-3)
    assert np.isfinite(temperature.exponents(np.array([[0.0, 1.0]]), "probabilities")).all()


def test_expected_calibration_error_by_hand():
    certainty = np.array([0.95, 0.95, 0.95, 0.95, 0.31])
    correct = np.array([True, True, True, False, False])
    bins = temperature.reliability(certainty, correct, bins=10)
    assert bins.ece == pytest.approx((4 * 0.2 + 0.31) / 5)
    assert bins.count.tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0, 4]
    assert temperature.reliability(np.array([1.0, 0.0]), np.array([True, False])).ece == 0.0


def scene(seed=0, tracks=200, sharpness=2.0):
    """Three int8 members, overconfident by ``sharpness``; a tenth of the tracks is hard for all."""
    rng = np.random.default_rng(seed)
    keys = np.repeat(np.arange(tracks), FRAMES)
    y = rng.integers(0, CLASSES, tracks)[keys]
    hard = np.repeat(rng.random(tracks) < 0.1, FRAMES)
    strength = np.where(hard, 1.0, 9.0)[:, None]
    members = []
    for name in NAMES:
        z = rng.normal(0, 1, (len(y), CLASSES)) + strength * np.eye(CLASSES)[y]
        raw = np.clip(np.rint(z * sharpness / 0.2), -128, 127).astype(np.int8)
        members.append(Member(name, raw, "logits", scale=0.2, sha256="0" * 64))
    frames = Frames(y, Tracks.of(keys), Stream(10.0, 10_000))
    return frames, members


def speed(operation="raise", quorum=3):
    return Operation("speed", operation, quorum, NAMES, NAMES)


DEBOUNCE = Debounce(60_000, 500_000)


def margin_detector(rate=40.0, sides=("below",)):
    return Detector("thin", sides, DEBOUNCE, rate, source="a", feature="margin")


def test_a_whole_calibration():
    frames, members = scene()
    dark = Detector("dark", ("above",), DEBOUNCE, 40.0, values=np.arange(len(frames.y)) % 977)
    wishes = Wishes(
        (speed(), speed("lower", 2)),
        (dark, margin_detector(), Detector("e", ("above", "below"), DEBOUNCE, 60.0, "b", "energy")),
        target_accuracy=0.95,
    )
    found = calibrate(frames, members, wishes)
    assert all(t == pytest.approx(2.0, rel=0.35) for t in found.temperature.values())
    for before, after in found.reliability.values():
        assert after.ece < before.ece
    for threshold in found.threshold.values():
        assert threshold.n_tracks == 150
        assert threshold.accuracy >= 0.95
        assert 0.7 < threshold.coverage <= 1.0
    assert found.limit["dark", "above"].n_tracks == 200  # no fit behind it: all tracks
    assert found.limit["thin", "below"].n_tracks == 150
    assert 0 <= found.limit["thin", "below"].value < ONE
    assert found.limit["e", "above"].alpha == pytest.approx(30 * 2 / 3600)
    assert found.limit["e", "below"].value < found.limit["e", "above"].value


def test_the_same_data_gives_the_same_file():
    texts = []
    for _ in range(2):
        frames, members = scene()
        wishes = Wishes((speed(),), (margin_detector(),))
        texts.append(written(frames, members, wishes))
    assert texts[0] == texts[1]


def written(frames, members, wishes):
    return text_of(calibrate(frames, members, wishes), frames, members, wishes)


def text_of(found, frames, members, wishes):
    stated = {"sha256": "ab", "date": "now", "tracks": len(frames.tracks), "frames": len(frames.y)}
    return calibration_file.to_toml(
        found,
        {m.name: {"sha256": m.sha256, "input": {"mean": [0.5], "fit": "crop"}} for m in members},
        {d.name: d.max_false_trips_per_hour for d in wishes.detectors},
        {d.name: {"kind": "score", "feature": d.feature} for d in wishes.detectors},
        stated | {"rate_hz": frames.stream.rate_hz},
        {},
    )


def test_the_file_says_n_and_alpha_with_every_number():
    tomllib = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
    frames, members = scene()
    wishes = Wishes((speed(),), (margin_detector(60.0, ("above", "below")),))
    found = calibrate(frames, members, wishes)
    text = text_of(found, frames, members, wishes)
    read = tomllib.loads(text)
    assert read["data"] == {
        "sha256": "ab", "date": "now", "tracks": 200, "frames": 4000, "rate_hz": 10.0
    }  # fmt: skip
    assert read["model"]["a"] == {"sha256": "0" * 64, "input": {"mean": [0.5], "fit": "crop"}}
    assert read["temperature"] == found.temperature
    raise_ = read["thresholds"]["speed"]["raise"]
    assert raise_["certainty"] * ONE == found.threshold["speed", "raise"].value
    assert (raise_["quorum"], raise_["granted"], raise_["heard"]) == (3, [*NAMES], [*NAMES])
    assert (raise_["n_tracks"], raise_["alpha"], raise_["delta"]) == (150, 0.05, 0.05)
    thin = read["detector"]["thin"]
    assert thin["definition"] == {"kind": "score", "feature": "margin"}
    assert thin["above"] * ONE == found.limit["thin", "above"].value
    assert thin["below"] * ONE == found.limit["thin", "below"].value
    assert (thin["n_tracks"], thin["max_false_trips_per_hour"]) == (150, 60.0)
    assert thin["alpha"] == pytest.approx(60 * 2 / 3600, rel=1e-5)


def test_names_that_are_no_bare_keys_are_quoted():
    frames, members = scene(tracks=60)
    odd = [Member('x "y".z', m.scores, m.kind, m.scale) for m in members[:1]]
    assert '"x \\"y\\".z" = ' in written(frames, odd, Wishes())


def test_all_wishes_that_fail_are_named_together():
    frames, members = scene()
    wishes = Wishes((speed(),), (margin_detector(5.0),), target_accuracy=0.999)
    with pytest.raises(UnsupportedWishError) as refused:
        calibrate(frames, members, wishes)
    first, second = str(refused.value).splitlines()
    assert first.startswith("channel.speed.raise.certainty: an accuracy of 0.999 when accepted")
    assert second.startswith("detector.thin.below: 5 false trips per hour")
    assert "no less than 12" in second  # 3600 / (151 tracks * 2 s)


def test_insane_frames_neither_vote_nor_pass_a_detector():
    frames, members = scene(tracks=100)
    loud = members[0].scores.astype(np.float32)
    loud[::7, 3] = np.nan
    broken = Member("a", loud, "logits")
    evidence = broken.evidence(1.0)
    assert (broken.label(evidence)[::7] == -1).all()
    strict = Member("a", members[0].scores, "logits", limits={"max_rail": 0, "min_distinct": 3})
    railed = (members[0].scores == 127).any(1)
    assert (strict.label(strict.evidence(1.0))[railed] == -1).all()
    with pytest.raises(UnsupportedWishError, match="unreadable numbers alone"):
        calibrate(frames, [broken], Wishes((), (margin_detector(500.0),)))


def test_members_that_are_only_granted_something_else_do_not_count():
    frames, members = scene(tracks=100)
    wish = Operation("speed", "raise", 2, NAMES, ("a",))
    with pytest.raises(UnsupportedWishError, match="no target is supported"):
        calibrate(frames, members, Wishes((wish,), (), 0.9))


def test_too_little_to_start_with():
    frames, members = scene(tracks=9)
    with pytest.raises(ValueError, match="9 tracks; give at least 10"):
        calibrate(frames, members, Wishes())
    frames, members = scene(tracks=20)
    blind = Member("a", np.full((400, CLASSES), np.nan, np.float32), "logits")
    with pytest.raises(ValueError, match="member a gave no usable scores"):
        calibrate(frames, [blind], Wishes())


def test_continuous_members_have_no_temperature():
    frames, _ = scene(tracks=20)
    steering = Member("s", np.zeros((400, 1), np.float32), "value")
    assert calibrate(frames, [steering], Wishes()).temperature == {}


def test_plots_are_written(tmp_path):
    pytest.importorskip("matplotlib")
    from edgeguard.lab.calibration_plots import draw

    frames, members = scene(tracks=100)
    found = calibrate(frames, members, Wishes((speed(),), (), 0.9))
    paths = draw(found, tmp_path, "calibration")
    names = ["calibration.reliability.svg", "calibration.risk-coverage.svg"]
    assert [p.name for p in paths] == names
    assert all("<svg" in p.read_text(encoding="utf-8") for p in paths)
    assert draw(Calibration(), tmp_path, "none") == []


def swinging(tracks, rng):
    """Skewed noise that falls beyond either end in turn: numbers [N] in Q16.16, 100 Hz."""
    draw = rng.normal(0, 1, tracks * 200)
    return np.rint(np.where(draw > 0, 4 * draw, draw) * ONE).astype(np.int64)


def test_two_limits_of_one_number_keep_their_promise_together():
    rng = np.random.default_rng(0)
    stream, keys = Stream(100.0, 10_000), np.repeat(np.arange(120), 200)
    wish = Detector("swing", ("above", "below"), DEBOUNCE, 180.0, values=swinging(120, rng))
    frames = Frames(np.zeros(len(keys), np.int64), Tracks.of(keys), stream)
    found = calibrate(frames, (), Wishes((), (wish,)))
    low, high = (found.limit["swing", side].value for side in ("below", "above"))
    assert low < 0 < high and high > 2 * -low  # as skewed as the numbers
    tripped = 0
    for track in swinging(1000, rng).reshape(1000, 200):
        tripped += DEBOUNCE.trips((track > high) | (track < low), stream.period_us) > 0
    promised = 180.0 * 2 / 3600  # of each track
    assert tripped <= 1000 * promised + 3 * np.sqrt(1000 * promised) + 1000 / 91
