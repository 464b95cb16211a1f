# SPDX-License-Identifier: Apache-2.0
"""JSMA as it was published gives up where there is nothing to follow; and the card beside it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the lab needs its extra")

from edgeguard.lab.attacks.jsma import JSMA  # noqa: E402
from edgeguard.lab.attacks.victim import images  # noqa: E402
from edgeguard.lab.defences import measure_distill  # noqa: E402
from edgeguard.lab.defences.bench import Bench  # noqa: E402
from edgeguard.lab.defences.measure_distill import Published  # noqa: E402


@dataclass
class Bright:
    """Says 1 where the mean of a picture is above 0.6, else 0; below `dark` without a slope."""

    dark: float

    def scores(self, x):
        mean = x.flatten(1).mean(1)
        seen = torch.where(mean > self.dark, mean, mean.detach())
        return torch.stack([0.6 - seen, seen - 0.6], 1) * 10

    def labels(self, pixels):
        return self.scores(images(pixels)).argmax(1).numpy()


@pytest.mark.parametrize(("dark", "won"), [(0.0, [True, True]), (0.52, [False, True])])
def test_a_picture_without_a_gradient_is_left_as_it_is(dark, won):
    pixels = np.stack([np.full((1, 8, 8), v, np.uint8) for v in (130, 140)])
    x, y, target = images(pixels), torch.zeros(2, dtype=torch.long), Bright(dark)
    assert target.labels(pixels).tolist() == [0, 0]
    made = Published(JSMA(0.5))(target, x, y)
    assert (made != x).flatten(1).any(1).tolist() == won
    assert (target.scores(made).argmax(1) != y).tolist() == won
    assert torch.equal(made[1:], JSMA(0.5)(target, x[1:], y[1:]))


def test_without_any_gradient_nothing_is_attacked():
    x = torch.full((2, 1, 8, 8), 0.5)
    assert torch.equal(Published(JSMA(0.5))(Bright(1.0), x, torch.zeros(2, dtype=torch.long)), x)


def test_the_card_holds_both_bars_and_what_the_harness_says(root, tmp_path):
    """Of a student that is the teacher: what is there under its name is not trained again."""
    bench = Bench(root, quick=True, many=2)
    file = measure_distill.file_of(bench, tmp_path)
    shutil.copy(bench.card.model_path, file)
    card = measure_distill.measure(bench, tmp_path)
    assert file.read_bytes() == bench.card.model_path.read_bytes()
    assert card.loads.startswith(file.name)
    assert card.clean_after == card.clean_before
    assert card.adaptive["jsma"] == card.notes["jsma.undefended"]
    assert card.notes["jsma"].holds is (card.static["jsma"].value <= 0.05)
    assert card.notes["cw"].holds is (card.adaptive["cw"].value >= 0.99) is True
    assert card.notes["verdict"].startswith("distillation: ")
    assert card.training > 1
