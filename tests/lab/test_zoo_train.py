# SPDX-License-Identifier: Apache-2.0
"""What a training run of the zoo goes on from, and whom it learns from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the zoo is trained with it")

from edgeguard.errors import EdgeguardError
from edgeguard.lab.zoo.data import Images
from edgeguard.lab.zoo.make import checkpoint_of
from edgeguard.lab.zoo.train import RECIPES, Recipe, fit, made_with, start, teacher_of


def images(*tracks: int, grey: int = 0) -> Images:
    n = len(tracks)
    x = np.full((n, 32, 32, 3), grey, np.uint8)
    return Images(x, np.array(tracks) // 1000, np.array(tracks))


TRAINING, HELD = images(1000, 1001, 2000), images(1002, 2001)


def trained(
    recipe: Recipe, kept: Path, epochs: int, training: Images = TRAINING, held: Images = HELD
) -> Path:
    """The checkpoint of a run that got so far."""
    run = start(recipe)
    run.made_with, run.epoch = made_with(recipe, training, held), epochs
    run.save(kept / f"{recipe.name}.pt")
    return kept / f"{recipe.name}.pt"


def test_who_learns_from_another_names_it_when_it_was_not_trained(tmp_path: Path) -> None:
    with pytest.raises(EdgeguardError, match=r"plain\.pt: not there; compact learns from plain"):
        teacher_of(RECIPES["compact"], tmp_path, {})
    assert teacher_of(RECIPES["plain"], tmp_path, {}) is None


def test_nobody_learns_from_a_half_trained_teacher_or_one_of_another_split(tmp_path: Path) -> None:
    plain, compact = RECIPES["plain"], RECIPES["compact"]
    given = made_with(compact, TRAINING, HELD)
    trained(plain, tmp_path, plain.epochs - 1)
    with pytest.raises(EdgeguardError, match=r"plain\.pt: is trained 36 of 37 epochs; compact le"):
        teacher_of(compact, tmp_path, given)
    trained(plain, tmp_path, plain.epochs, held=images(1002))
    with pytest.raises(EdgeguardError, match=r"plain\.pt: was not made with the split of this run"):
        teacher_of(compact, tmp_path, given)
    trained(replace(plain, seed=1), tmp_path, plain.epochs)
    with pytest.raises(EdgeguardError, match=r"plain\.pt: was not made with the recipe of this"):
        teacher_of(compact, tmp_path, given)
    trained(plain, tmp_path, plain.epochs)
    assert teacher_of(compact, tmp_path, given) is not None


@pytest.mark.parametrize(
    ("name", "recipe", "training", "held"),
    [
        ("recipe", replace(RECIPES["plain"], seed=12), TRAINING, HELD),
        ("recipe", replace(RECIPES["plain"], weight_decay=0.04), TRAINING, HELD),
        ("split", RECIPES["plain"], images(1000, 1001), images(1002, 2001, 2000)),
        ("images", RECIPES["plain"], images(1000, 1001, 2000, grey=1), HELD),
        ("labels", RECIPES["plain"], images(1000, 1001, 3000), HELD),
    ],
)
def test_no_run_goes_on_from_one_that_was_made_with_something_else(
    tmp_path: Path, name: str, recipe: Recipe, training: Images, held: Images
) -> None:
    checkpoint = trained(RECIPES["plain"], tmp_path, RECIPES["plain"].epochs)
    assert fit(RECIPES["plain"], TRAINING, HELD, checkpoint, tmp_path).epoch == 37
    with pytest.raises(EdgeguardError, match=rf"plain\.pt: was not made with the {name} of"):
        fit(recipe, training, held, checkpoint, tmp_path)


def test_a_checkpoint_that_does_not_say_what_it_was_made_with_is_refused(tmp_path: Path) -> None:
    run = start(RECIPES["plain"])
    run.save(tmp_path / "plain.pt")
    with pytest.raises(EdgeguardError, match=r"plain\.pt: was not made with the recipe"):
        fit(RECIPES["plain"], TRAINING, HELD, tmp_path / "plain.pt", tmp_path)


def test_weights_of_an_earlier_stage_are_of_the_same_run_or_refused(tmp_path: Path) -> None:
    robust = RECIPES["robust"]
    checkpoint = trained(robust, tmp_path, robust.epochs)
    with pytest.raises(EdgeguardError, match=r"robust-first\.pt: not there"):
        fit(robust, TRAINING, HELD, checkpoint, tmp_path)
    (tmp_path / "other").mkdir()
    trained(replace(robust, seed=1), tmp_path / "other", 19).rename(tmp_path / "robust-first.pt")
    with pytest.raises(EdgeguardError, match=r"robust-first\.pt: was not made with the recipe"):
        fit(robust, TRAINING, HELD, checkpoint, tmp_path)


def test_a_short_trial_neither_goes_on_from_the_recipes_run_nor_is_gone_on_from(
    tmp_path: Path,
) -> None:
    kept = [checkpoint_of("plain", epochs, tmp_path) for epochs in (None, 1, 2)]
    assert len(set(kept)) == 3
    assert kept[0] == tmp_path / "plain.pt"  # where a pupil looks for its teacher
