# SPDX-License-Identifier: Apache-2.0
"""A model answers its golden inputs as its card says, and sanely (F07), or is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_models import OUT_SCALE, build, images, reference, refusal, weights, write

from edgeguard.card import Card
from edgeguard.errors import ModelRefused
from edgeguard.inference.golden import record
from edgeguard.inference.model import load_model, open_model

# --- golden answers ---


@pytest.mark.parametrize(("ends", "steps", "fine"), [
    ("int8", 2, True), ("int8", 3, False), ("step", 2, True), ("step", 3, False),
])  # fmt: skip
def test_two_output_steps_are_tolerated_and_three_are_not(
    tmp_path: Path, ends: str, steps: int, fine: bool
) -> None:
    """The model of the card is a variant whose last class is off by so many steps."""
    honest = reference(build(weights(), ends), images())
    off = weights()
    off["b2"][int(honest.sum(0).argmin())] -= steps * OUT_SCALE
    card = Card.load(write(tmp_path, build(off, ends), ends, scores=honest))
    if fine:
        load_model(card)
    else:
        assert "off the golden one" in refusal(card)


def test_a_float_model_is_held_to_a_thousandth_of_the_span(tmp_path: Path) -> None:
    honest = reference(build(weights(), "float"), images(dtype="float32"))
    for share, fine in ((0.5e-3, True), (2e-3, False)):
        off = weights()
        off["b2"][0] += share * np.ptp(honest, axis=1).min()
        card = Card.load(write(tmp_path, build(off, "float"), "float", scores=honest))
        if fine:
            load_model(card)
        else:
            assert "1/1000 of the span" in refusal(card)


def test_another_top_class_is_refused_even_within_two_steps(tmp_path: Path) -> None:
    parts = weights()
    parts["w2"][:] = 0
    parts["b2"][:] = 2 + OUT_SCALE, 2, -1, -2, -3
    golden = reference(build(parts), images())
    parts["b2"][:2] = 2, 2 + OUT_SCALE
    card = Card.load(write(tmp_path, build(parts), scores=golden))
    assert "top class 1, the golden answer has 0" in refusal(card)


# --- insane scores (F07), refused although the golden vectors are the model's own ---


def test_saturated_scores_are_refused_beyond_the_cards_allowance(tmp_path: Path) -> None:
    parts = weights()
    parts["b2"][:2] = 100
    data = build(parts)
    assert "saturated: 2 scores at the upper rail, allowed 1" in refusal(
        Card.load(write(tmp_path, data))
    )
    load_model(Card.load(write(tmp_path, data, max_rail=2)))


def test_two_valued_scores_are_refused(tmp_path: Path) -> None:
    parts = weights()
    parts["w2"][:] = 0
    parts["b2"][:] = 2, 0, 0, 0, 0
    data = build(parts)
    assert "two-valued: 2 different scores, the card wants 3" in refusal(
        Card.load(write(tmp_path, data))
    )
    load_model(Card.load(write(tmp_path, data, min_distinct=2)))


def test_probabilities_that_are_always_one_and_zero_are_refused(tmp_path: Path) -> None:
    parts = weights()
    parts["b2"][:] = 1e4, 0, 0, 0, 0
    card = Card.load(write(tmp_path, build(parts, "softmax"), "softmax"))
    assert "all 4 golden answers have fewer than 3 different scores: two-valued" in refusal(card)


def test_nan_scores_are_refused(tmp_path: Path) -> None:
    parts = weights()
    parts["b2"][3] = np.nan
    assert "1 scores are NaN or Inf" in refusal(
        Card.load(write(tmp_path, build(parts, "float"), "float"))
    )


def test_scores_above_one_are_no_probabilities(tmp_path: Path) -> None:
    path = write(tmp_path, build(weights(), "float"), "softmax")
    assert "outside [0, 1]" in refusal(Card.load(path))


def test_insane_answers_are_not_recorded_as_golden(tmp_path: Path) -> None:
    parts = weights()
    parts["b2"][:2] = 100
    with pytest.raises(ModelRefused, match="saturated"):
        record(open_model(Card.load(write(tmp_path, build(parts)))), images(), tmp_path / "g.npz")
    assert not (tmp_path / "g.npz").exists()
