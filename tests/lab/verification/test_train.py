# SPDX-License-Identifier: Apache-2.0
"""What the training of the verifiable member goes on from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the lab needs it")

from click.testing import CliRunner

from edgeguard.errors import EdgeguardError
from edgeguard.lab.verification.train import Recipe, fit, main
from edgeguard.lab.zoo.data import Images


def test_a_run_goes_on_from_its_own_checkpoint_and_from_no_other(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (16, 32, 32, 3), dtype=np.uint8)
    images = Images(x, np.arange(16) % 3, np.arange(16))
    recipe, file = replace(Recipe(), epochs=1, batch=8), tmp_path / "certified.pt"
    made = fit(recipe, images, images, file)
    again = fit(recipe, images, images, file)
    assert (again.epoch, again.history) == (1, made.history)
    for other, given in (
        (replace(recipe, epochs=2), images),
        (recipe, images.where(images.track > 0)),
    ):
        with pytest.raises(EdgeguardError, match=r"certified\.pt: was not made with the"):
            fit(other, given, images, file)


def test_no_epochs_at_all_are_refused() -> None:
    ran = CliRunner().invoke(main, ["--epochs", "0"])
    assert ran.exit_code == 2
    assert "--epochs" in ran.output
