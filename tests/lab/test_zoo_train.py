# SPDX-License-Identifier: Apache-2.0
"""What a training run of the zoo goes on from."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the zoo is trained with it")

from edgeguard.errors import EdgeguardError
from edgeguard.lab.zoo.make import checkpoint_of
from edgeguard.lab.zoo.train import RECIPES, teacher_of


def test_who_learns_from_another_names_it_when_it_was_not_trained(tmp_path: Path) -> None:
    with pytest.raises(EdgeguardError, match=r"plain\.pt: not there; compact learns from plain"):
        teacher_of(RECIPES["compact"], tmp_path)
    assert teacher_of(RECIPES["plain"], tmp_path) is None


def test_a_short_trial_neither_goes_on_from_the_recipes_run_nor_is_gone_on_from(
    tmp_path: Path,
) -> None:
    kept = [checkpoint_of("plain", epochs, tmp_path) for epochs in (None, 1, 2)]
    assert len(set(kept)) == 3
    assert kept[0] == tmp_path / "plain.pt"  # where a pupil looks for its teacher
