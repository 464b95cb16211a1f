# SPDX-License-Identifier: Apache-2.0
"""The card of the history: at which question an attacker is flagged, and how he hides."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the lab needs its extra")
pytest.importorskip("onnxruntime", reason="the plain member runs on it")

from edgeguard.errors import EdgeguardError  # noqa: E402
from edgeguard.lab.defences import measure_history  # noqa: E402
from edgeguard.lab.defences.bench import Bench  # noqa: E402
from edgeguard.lab.defences.history import KEPT  # noqa: E402
from edgeguard.lab.defences.measure_history import NAMES, SHARE, attacks, blinded, crossed  # noqa: E402

RNG = np.random.default_rng(3)
NEVER = dict.fromkeys(NAMES, 10_000)
ALWAYS = dict.fromkeys(NAMES, -1)


def pictures(count: int) -> np.ndarray:
    return RNG.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)


def test_each_number_crosses_its_limit_at_the_question_that_raises_it():
    """Three strangers; the first again, as what it was; and once more, as something else."""
    seen = pictures(3)
    stream, labels = seen[[0, 1, 2, 0, 0]], np.array([1, 2, 3, 1, 9])
    limits = {"echoes": 0, "flips": 0, "matches": KEPT - 1}
    assert crossed(stream, labels, limits) == {"echoes": 4, "matches": 4, "flips": 5}
    assert crossed(stream[:4], labels[:4], limits) == {"echoes": 4, "matches": 4, "flips": 5}
    assert crossed(stream, labels, limits | {"echoes": 1})["echoes"] == 5
    assert crossed(stream, labels, NEVER) == dict.fromkeys(NAMES, 6)
    assert crossed(stream, labels, ALWAYS) == dict.fromkeys(NAMES, 1)


def test_what_was_seen_before_the_first_question_counts():
    """A question that looks like a frame of the drive echoes, flips and matches at once."""
    seen = pictures(3)
    before, asked = (seen, np.array([1, 2, 3])), (seen[[1]], np.array([7]))
    limits = {"echoes": 0, "flips": 0, "matches": KEPT - 1}
    assert crossed(*asked, limits, before) == dict.fromkeys(NAMES, 1)
    assert crossed(*asked, limits) == dict.fromkeys(NAMES, 2)
    # an alarm of the drive itself is none of the attack
    again = (seen[[1, 1]], np.array([1, 1]))
    assert crossed(pictures(2), np.array([1, 1]), limits, again) == dict.fromkeys(NAMES, 3)


def test_what_the_runtime_does_not_have_flags_nobody(root):
    bench = Bench(root, quick=True, many=1)
    unseen, notes = attacks(bench, NEVER | {"matches": -1}, blind=False)
    assert notes["square.flagged_after.matches"] < notes["square.flagged_after.any"] == 1
    assert unseen["square"].hits == notes["square.succeeds"].hits == 1
    assert notes["bar.hopskipjump.0.75"].holds is False


def test_what_the_runtime_does_not_have_costs_no_clean_picture(root, monkeypatch):
    bench, drive = Bench(root, quick=True, many=1), pictures(6).transpose(0, 2, 3, 1)
    monkeypatch.setattr(measure_history, "read_reserved", lambda _: (drive, np.arange(6) * 1000))
    for limits, left in ((NEVER | {"matches": -1}, 6), (NEVER | {"flips": -1}, 0)):
        notes, accepted = measure_history._false_alarms(bench, limits)
        assert accepted.hits == left
    assert notes["reserved.false_alarms.flips"] > 0 == notes["reserved.false_alarms.matches"]


def test_the_memory_is_full_of_the_calibration_drive_when_an_attack_begins(root, monkeypatch):
    bench, given = Bench(root, quick=True, many=1), []
    crossing = measure_history.crossed

    def noting(pixels, labels, limits, before):
        given.append(before)
        return crossing(pixels, labels, limits, before)

    monkeypatch.setattr(measure_history, "crossed", noting)
    attacks(bench, ALWAYS, blind=False)
    pixels, labels = given[0]
    assert 0 < len(labels) <= 512
    assert np.array_equal(labels, bench.victim.labels(pixels))
    assert np.array_equal(pixels, measure_history.drive(bench.held, 1).pixels[-512:])


def test_a_blinded_question_is_another_picture_of_the_same_sign():
    asked = []
    pixels = np.tile(np.linspace(64, 192, 32).astype(np.uint8), (1, 3, 32, 1))
    ask = blinded(lambda p: (asked.append(p), np.arange(len(p)))[1])
    assert ask(pixels[[0, 0]]).tolist() == [0, 1]
    first, second = asked[0].astype(float)
    assert not np.array_equal(first, second)
    for seen in (first, second):
        assert np.corrcoef(seen.ravel(), pixels.ravel())[0, 1] > 0.8


def test_the_first_question_counts_as_one(root):
    """Flagged at once is after one of so many, never is after all of them."""
    bench = Bench(root, quick=True, many=1)
    unseen, notes = attacks(bench, NEVER | {"echoes": -1}, blind=False)
    for name, share in unseen.items():
        assert notes[f"{name}.flagged_after.echoes"] == 1 / notes[f"{name}.queries"]
        assert notes[f"{name}.flagged_after.any"] == 1 / notes[f"{name}.queries"]
        assert notes[f"{name}.flagged_after.flips"] == 1
        assert share.hits == 0
    assert notes["square.succeeds"].hits == 1
    bar = notes["bar.hopskipjump.0.75"]
    assert bar.value == notes["hopskipjump.0.75.flagged_after.any"]
    assert bar.holds is (bar.value <= SHARE)


def test_without_a_picture_that_is_read_rightly_there_is_nothing_to_attack(root):
    bench = Bench(root, quick=True, many=1)
    bench.right = np.zeros(1, bool)
    with pytest.raises(EdgeguardError, match=r"none of 1 pictures is read rightly.*--n"):
        attacks(bench, ALWAYS, blind=True)
