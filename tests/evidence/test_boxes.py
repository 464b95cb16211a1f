# SPDX-License-Identifier: Apache-2.0
"""Boxes of activations against sums written out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgeguard.card import Output
from edgeguard.evidence import embedding
from edgeguard.evidence.boxes import MARGIN, Boxes, fit

N, CLASSES, SIZE = 300, 4, 12
FLOAT = Output("embedding", "float32", "embedding", SIZE)
INT8 = Output("embedding", "int8", "embedding", SIZE, 0.05, -10)
RNG = np.random.default_rng(3)


@pytest.fixture(scope="module")
def known():
    """Embeddings [N, n] with labels of which 2 never comes."""
    y = RNG.choice([0, 1, 3], N)
    return RNG.normal(y[:, None], 1.0, (N, SIZE)), y


def by_hand(x, y, embedding, label):
    own, total = x[y == label], 0.0
    for i, value in enumerate(embedding):
        low, high = min(own[:, i]), max(own[:, i])
        wider = MARGIN * (high - low)
        total += max(low - wider - value, 0.0, value - high - wider)
    return total


@pytest.mark.parametrize("label", [0, 1, 3])
def test_the_number_is_how_far_it_leaves_the_box_of_its_class(known, label):
    boxes = Boxes(FLOAT, fit(*known))
    for seen in RNG.normal(1.0, 3.0, (20, SIZE)).astype(np.float32):
        found = boxes.outside(seen, label)
        assert found == pytest.approx(by_hand(*known, seen, label), abs=1e-4)


def test_what_it_was_fitted_on_lies_inside(known):
    x, y = known
    boxes = Boxes(FLOAT, fit(x, y))
    assert boxes.of_all(x.astype(np.float32), y).max() == 0.0
    assert boxes.of_all(x.astype(np.float32), (y + 1) % 2).max() > 0.0


def test_integers_are_read_as_what_they_stand_for(known):
    arrays = fit(*known)
    raw = RNG.integers(-128, 128, (30, SIZE), np.int8)
    stands_for = (0.05 * (raw.astype(np.float64) + 10)).astype(np.float32)
    label = RNG.choice([0, 1, 3], 30)
    got = Boxes(INT8, arrays).of_all(raw, label)
    assert got == pytest.approx(Boxes(FLOAT, arrays).of_all(stands_for, label), abs=1e-4)


@pytest.mark.parametrize("label", [-1, 2, CLASSES, 10**6])
def test_a_class_that_was_never_shown_cannot_be_read(known, label):
    assert math.isnan(Boxes(FLOAT, fit(*known)).outside(np.zeros(SIZE, np.float32), label))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_inf_stay_visible(known, value):
    seen = np.zeros(SIZE, np.float32)
    seen[5] = value
    assert not math.isfinite(Boxes(FLOAT, fit(*known)).outside(seen, 0))


def test_they_travel_in_the_calibration_file(known, tmp_path):
    arrays = embedding.fit("boxes", *known, np.ones(N))
    data = embedding.to_bytes({("m", "boxes"): arrays})
    (tmp_path / "c.npz").write_bytes(data)
    import hashlib

    got = embedding.read(tmp_path / "c.npz", hashlib.sha256(data).hexdigest())["m", "boxes"]
    assert embedding.wrong_fit(got, FLOAT) is None
    assert all(np.array_equal(got[k], arrays[k]) for k in ("low", "high"))
    other = Output("embedding", "float32", "embedding", SIZE + 1)
    assert embedding.wrong_fit(got, other) == f"was not fitted to {SIZE + 1} values"
