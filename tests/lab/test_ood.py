# SPDX-License-Identifier: Apache-2.0
"""The shipped embedding detectors: their file, and how their worth is computed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeguard import config
from edgeguard.config.vocabulary import EMBEDDING_FEATURES
from edgeguard.zoo import models_dir

pytest.importorskip("PIL", reason="the lab needs its extra")
metrics = pytest.importorskip("sklearn.metrics", reason="the lab needs its extra")

from edgeguard.lab.zoo.figures import wilson  # noqa: E402
from edgeguard.lab.zoo.ood import PHOTOS, Worth, auroc, trips_interval  # noqa: E402

numbers = st.lists(st.integers(-5, 5), min_size=1, max_size=30)


@given(numbers, numbers)
def test_auroc_is_scikit_learns(known, strange):
    truth = [0] * len(known) + [1] * len(strange)
    want = metrics.roc_auc_score(truth, known + strange)
    assert auroc(np.array(known), np.array(strange)) == pytest.approx(want)


def test_an_interval_of_a_share_is_one_of_shares():
    assert {wilson(0, n)[0] for n in range(1, 400)} == {0.0}
    assert {wilson(n, n)[1] for n in range(1, 400)} == {1.0}


def test_crops_of_two_photos_count_as_two_and_have_no_interval():
    """A thousand of them say nothing of a third photo."""
    from sklearn.datasets import load_sample_images

    cfg = config.load(models_dir("gtsrb") / "ood.toml")
    worth = Worth(cfg, config.load_cards(cfg)["plain"], "plain_nearest")
    seen = np.arange(1000) << 16
    found = {f.id: f for f in worth.figures(seen, {"digits": seen, "photos": seen})}
    assert len(load_sample_images().images) == PHOTOS
    for figure in ("auroc", "flagged"):
        crops, digits = (
            found[f"ood.plain_nearest.{kind}.{figure}"] for kind in ("photos", "digits")
        )
        assert (crops.n, crops.interval) == (PHOTOS, None)
        assert (digits.n, digits.value) == (1000, crops.value)
    assert found["ood.plain_nearest.digits.flagged"].interval is not None


def test_the_interval_of_trips_is_one_of_trips():
    """Exact where each track trips once; wider where the same trips lie in fewer tracks."""
    assert trips_interval([0] * 60) == pytest.approx((0.0, 3.689), abs=1e-3)
    assert trips_interval([1] * 5 + [0] * 55) == pytest.approx((1.623, 11.668), abs=1e-3)
    one, five = trips_interval([5] + [0] * 59), trips_interval([1] * 5 + [0] * 55)
    assert one[0] < five[0] < 5 < five[1] < one[1]


def test_the_interval_of_trips_covers_those_of_other_tracks():
    rng = np.random.default_rng(7)
    held = [
        low <= 60 * 0.1 * 1.5 <= high
        for low, high in (
            trips_interval((rng.poisson(0.1, 60) * rng.integers(1, 3, 60)).tolist())
            for _ in range(400)
        )
    ]
    assert np.mean(held) > 0.94


def test_the_shipped_arrays_are_whole_and_small():
    cfg = config.load(models_dir("gtsrb") / "ood.toml", files=True)
    members = ("plain", "compact", "robust")
    assert {key for key in cfg.fits if key[1] != "risk"} == {
        (member, feature) for member in members for feature in EMBEDDING_FEATURES
    }
    size = (models_dir("gtsrb") / "ood.calibration.npz").stat().st_size
    assert size <= len(members) * 300_000
    assert sum(key[1] == "risk" for key in cfg.fits) == 14
