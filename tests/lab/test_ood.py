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

from edgeguard.lab.zoo.ood import auroc  # noqa: E402

numbers = st.lists(st.integers(-5, 5), min_size=1, max_size=30)


@given(numbers, numbers)
def test_auroc_is_scikit_learns(known, strange):
    truth = [0] * len(known) + [1] * len(strange)
    want = metrics.roc_auc_score(truth, known + strange)
    assert auroc(np.array(known), np.array(strange)) == pytest.approx(want)


def test_the_shipped_arrays_are_whole_and_small():
    cfg = config.load(models_dir("gtsrb") / "ood.toml", files=True)
    members = ("plain", "compact", "robust")
    assert {key for key in cfg.fits if key[1] != "risk"} == {
        (member, feature) for member in members for feature in EMBEDDING_FEATURES
    }
    size = (models_dir("gtsrb") / "ood.calibration.npz").stat().st_size
    assert size <= len(members) * 300_000
    assert sum(key[1] == "risk" for key in cfg.fits) == 14
