# SPDX-License-Identifier: Apache-2.0
"""A detector that guards the nearest wrong class is passed by way of another."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the lab needs its extra")

from edgeguard.lab.attacks.losses import margin  # noqa: E402
from edgeguard.lab.attacks.pgd import PGD  # noqa: E402
from edgeguard.lab.attacks.threat import Threat  # noqa: E402
from edgeguard.lab.attacks.victim import images  # noqa: E402
from edgeguard.lab.defences.adaptive import RULES, attack_unseen  # noqa: E402
from edgeguard.lab.defences.bench import Frames  # noqa: E402
from edgeguard.lab.defences.detector import Look  # noqa: E402
from edgeguard.lab.defences.measure_detectors import within  # noqa: E402
from edgeguard.lab.defences.targeted import attack_classes  # noqa: E402

TRUE, NEAR, FAR = 0, 1, 2
NEARBY = Threat("linf", 51 / 255)


class Guarded:
    """Of pictures of three pixels. The first makes them NEAR, which is flagged whatever else they
    show; the second FAR, which is flagged while the third, which no class depends on, is light."""

    name, limit = "guarded", 0.3

    def scores(self, x: torch.Tensor) -> torch.Tensor:
        first, second, _ = (x.flatten(1) - 0.4).unbind(1)
        return 10 * torch.stack([3.0 + 0 * first, 2.9 + first, 18 * second], 1)

    def look(self, x: torch.Tensor, y: torch.Tensor) -> Look:
        scores, third = self.scores(x), x.flatten(1)[:, 2]
        return Look(scores, torch.where(scores.argmax(1) == NEAR, 1 + 0 * third, third))

    def measured(self, pixels: np.ndarray) -> np.ndarray:
        return self.look(images(pixels), torch.zeros(len(pixels))).number.numpy()

    def labels(self, pixels: np.ndarray) -> np.ndarray:
        return self.scores(images(pixels)).argmax(1).numpy()


@pytest.fixture
def clean() -> Frames:
    pixels = np.full((6, 1, 1, 3), 102, np.uint8)
    return Frames(pixels, np.full(6, TRUE), np.full(6, -1))


def test_what_withstands_the_climbs_falls_towards_another_class(clean):
    detector = Guarded()
    for rule in RULES:
        attack = PGD(NEARBY, 20, 0.125, 1, margin)
        assert not attack_unseen(detector, attack, NEARBY, clean.pixels, clean.y, rule)[0].any()
    attacked = []
    bench = SimpleNamespace(victim=detector, quick=True, advance=attacked.append)
    won = np.array([True] + [False] * 5)
    within(bench, detector, clean, NEARBY, won)
    assert won.all()
    assert attacked == [5] * (len(RULES) + 1)
    within(bench, detector, clean, NEARBY, won)  # nothing is left to attack
    assert won.all()


def test_only_what_the_deployed_pair_lets_pass_counts(clean):
    detector = Guarded()
    asked = detector, detector, NEARBY, clean.pixels, clean.y
    won, made = attack_classes(*asked, count=2)
    assert won.all()
    assert (detector.labels(made) == FAR).all()
    assert (detector.measured(made) <= detector.limit).all()
    assert np.abs(made.astype(int) - clean.pixels).max() <= 51
    assert not attack_classes(*asked, count=1)[0].any()  # NEAR alone
    detector.measured = lambda pixels: np.full(len(pixels), 0.31)  # the device computes otherwise
    assert not attack_classes(*asked, count=2)[0].any()
