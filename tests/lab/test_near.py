# SPDX-License-Identifier: Apache-2.0
"""Signs that a model was never shown: what it is trained and fitted on, and how it is judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the zoo is trained with it")
pytest.importorskip("onnxruntime", reason="the quantized model runs on it")
metrics = pytest.importorskip("sklearn.metrics", reason="the lab needs its extra")

from edgeguard.evidence import embedding  # noqa: E402
from edgeguard.lab.zoo import near  # noqa: E402
from edgeguard.lab.zoo.data import CLASSES, Images  # noqa: E402
from edgeguard.lab.zoo.train import Run, start  # noqa: E402
from tests.lab.signs import signs  # noqa: E402


def images() -> Images:
    x, y = signs(450)
    return Images(np.ascontiguousarray(x.transpose(0, 2, 3, 1)), y, y * 1000)


def test_draws_hold_out_five_classes_each_and_differ() -> None:
    drawn = near.draws()
    assert drawn == near.draws()
    assert all(len(set(d)) == 5 and min(d) >= 0 and max(d) < CLASSES for d in drawn)
    assert len({tuple(d) for d in drawn}) == len(drawn) == 5


def test_a_model_sees_nothing_of_what_is_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither its training, its checkpoints' choice, its detectors nor its temperature."""
    own = images()
    held_out = [int(c) for c in np.unique(own.y)[:5]]
    shown: list[Any] = []

    def untrained(recipe: Any, training: Images, held: Images, *_: Any) -> Run:
        shown.extend((training.y, held.y))
        return start(recipe)

    fitted = embedding.fit

    def fit(feature: str, x: Any, y: Any, largest: Any) -> Any:
        shown.append(y)
        return fitted(feature, x, y, largest)

    def temperature(logits: Any, y: Any) -> float:
        shown.append(y)
        return 1.0

    monkeypatch.setattr(near, "fit", untrained)
    monkeypatch.setattr(near.embedding, "fit", fit)
    monkeypatch.setattr(near.cards, "fit_temperature", temperature)
    found = near.Draw(held_out, near.QUICK, tmp_path / "it.pt").measure(own, own, own)
    assert len(shown) == 2 + 5 + 1
    assert all(len(y) > 0 and not np.isin(y, held_out).any() for y in shown)
    assert list(found) == [*near.DETECTORS, "accuracy"]


def test_what_is_held_out_is_the_strange(tmp_path: Path) -> None:
    """A judge's figures are those of an independent one, and rise with strangeness."""
    own = images()
    strange = np.isin(own.y, held_out := [int(c) for c in np.unique(own.y)[-5:]])

    class Knows:
        def numbers(self, x: Any) -> Any:
            rng = np.random.default_rng(0)
            doubt = strange + rng.normal(0, 1, len(x))
            numbers = {name: np.rint(65536 * doubt).astype(np.int64) for name in near.DETECTORS}
            return numbers, np.where(strange, own.y, (own.y + 1) % CLASSES)

    found = near.Draw(held_out, near.QUICK, tmp_path / "it.pt").compare(Knows(), own)  # type: ignore[arg-type]
    want = metrics.roc_auc_score(strange, Knows().numbers(own.x)[0]["nearest"])
    assert found["nearest"] == pytest.approx(want)
    assert found["nearest"] > 0.6
    assert found["accuracy"] == 0  # of the classes that it knows: it named none of them


def test_the_bar_is_for_the_mean_of_the_shipped_detector() -> None:
    low = dict.fromkeys((*near.DETECTORS, "accuracy"), 0.89)
    high = dict.fromkeys((*near.DETECTORS, "accuracy"), 0.92)
    (barred,) = (f for f in near.summary([low, high]) if f.bar)
    assert (barred.id, barred.holds) == ("near.nearest.auroc", True)
    assert barred.value == pytest.approx(0.905)
    (barred,) = (f for f in near.summary([low, low, low, high]) if f.bar)
    assert barred.holds is False


def test_the_interval_of_a_mean_is_students_and_stays_a_share() -> None:
    draws = [0.90, 0.92, 0.93, 0.95, 0.97]
    least, most = near.student_interval(draws) or (0.0, 0.0)
    # the error of the mean is 0.01208, and t of four degrees 2.776
    assert (least, most) == pytest.approx((0.934 - 0.03355, 0.934 + 0.03355), abs=1e-4)
    assert near.student_interval([0.95, 1.0, 1.0]) == (pytest.approx(0.9116, abs=1e-4), 1.0)
    assert near.student_interval([0.9]) is None
    one = dict.fromkeys((*near.DETECTORS, "accuracy"), 0.9)
    assert {f.interval for f in near.summary([one])} == {None}
