# SPDX-License-Identifier: Apache-2.0
"""Black-box attacks: every answer is counted, and what they find is near what could be found."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch

from edgeguard.lab.attacks.fgsm import FGSM
from edgeguard.lab.attacks.hopskipjump import HopSkipJump
from edgeguard.lab.attacks.judge import judge
from edgeguard.lab.attacks.losses import margin
from edgeguard.lab.attacks.square import Square
from edgeguard.lab.attacks.substitute import Papernot
from edgeguard.lab.attacks.threat import Threat
from edgeguard.lab.attacks.victim import Counted, images, to_pixels
from tests.lab.attacks.linear import LinearVictim


def test_square_fools_what_fgsm_fools_and_counts_its_queries() -> None:
    victim = LinearVictim.random(1)
    pixels, y = victim.near(1, 30)
    x, t = images(pixels), torch.from_numpy(y)
    threat = Threat("linf", 8 / 255, knowledge="scores", queries=600)
    asked = []

    def scores(p: np.ndarray) -> np.ndarray:
        asked.append(len(p))
        return victim.scores(images(p)).numpy()

    counted = Counted(scores, len(x))
    adv, queries = Square(threat)(counted, x, t)
    result = judge(victim, pixels, y, adv, threat, queries=queries)
    best = judge(victim, pixels, y, FGSM(threat)(victim, x, t), threat)
    assert queries.sum() == sum(asked)
    assert (queries[~result.fooled] == 600).all()
    assert not (result.fooled & ~best.fooled).any()  # FGSM is optimal here
    assert result.fooled.sum() >= best.fooled.sum() - 3


def test_hopskipjump_comes_near_the_border() -> None:
    victim = LinearVictim.random(2)
    pixels, y = victim.near(2, 6)
    x, t = images(pixels), torch.from_numpy(y)
    starts, labels = victim.near(3, 40)
    counted = Counted(victim.labels, len(x))
    threat = Threat("l2", None, knowledge="labels", queries=1500)
    adv, queries = HopSkipJump(threat)(counted, x, t, images(starts))
    result = judge(victim, pixels, y, adv, threat, queries=queries)
    far = victim.distance(x, t).numpy()
    assert set(labels) == {0, 1}
    assert result.fooled.all()
    assert np.median(result.size / far) < 1.6


def test_hopskipjump_comes_near_the_border_in_the_largest_change() -> None:
    """Near what one step reaches, which is optimal on a linear model."""
    victim = LinearVictim.random(2)
    pixels, y = victim.near(2, 6)
    x, t = images(pixels), torch.from_numpy(y)
    counted = Counted(victim.labels, len(x))
    threat = Threat("linf", None, knowledge="labels", queries=1500)
    adv, queries = HopSkipJump(threat)(counted, x, t, images(victim.near(3, 40)[0]))
    result = judge(victim, pixels, y, adv, threat, queries=queries)
    far = -margin(victim.scores(x), t) / (victim.w[0] - victim.w[1]).abs().sum()
    assert result.fooled.all()
    assert np.median(result.size / far.numpy()) < 1.8


def test_hopskipjump_gives_back_the_clean_image_where_nothing_is_wrong() -> None:
    pixels = np.full((1, 3, 4, 4), 99, np.uint8)
    counted = Counted(lambda p: np.zeros(len(p), np.int64), 1)
    threat = Threat("l2", 1.0, knowledge="labels", queries=100)
    adv, queries = HopSkipJump(threat)(
        counted, images(pixels), torch.tensor([0]), images(pixels[:1])
    )
    assert torch.equal(adv, images(pixels))
    assert 0 < queries[0] <= 100


def test_hopskipjump_goes_on_to_a_start_that_is_wrong_within_its_queries() -> None:
    """The nearest twenty are all read as the picture itself, and so is noise."""
    pixels = np.full((1, 3, 4, 4), 99, np.uint8)
    starts = np.concatenate([np.full((20, 3, 4, 4), 101, np.uint8), np.full_like(pixels, 200)])
    x, y = images(pixels), torch.tensor([0])
    for granted, found in ((200, True), (20, False)):
        threat = Threat("l2", None, knowledge="labels", queries=granted)
        counted = Counted(lambda p: (p.min((1, 2, 3)) > 150).astype(np.int64), 1)
        adv, queries = HopSkipJump(threat)(counted, x, y, images(starts[::-1].copy()))
        assert (not torch.equal(adv, x)) == found
        assert 20 <= queries[0] <= granted


def test_square_walks_along_what_changes_nothing() -> None:
    """A score in coarse steps: most squares that help leave it where it is."""
    pixels = np.full((4, 3, 8, 8), 128, np.uint8)
    x, y = images(pixels), torch.zeros(4, dtype=torch.long)

    def scores(p: np.ndarray) -> np.ndarray:
        bright = (p[:, 0].astype(int) - 128).mean((1, 2)) // 1
        return np.stack([np.full(len(p), 3.5), bright], 1)

    threat = Threat("linf", 8 / 255, knowledge="scores", queries=800)
    adv, queries = Square(threat)(Counted(scores, 4), x, y)
    assert (scores(to_pixels(adv)).argmax(1) == 1).all()
    assert (queries < 800).all()


def test_no_square_is_one_that_changes_nothing() -> None:
    """It would cost an answer and teach nothing."""
    asked: list[np.ndarray] = []

    def scores(p: np.ndarray) -> np.ndarray:
        asked.append(p)
        return np.stack([np.ones(len(p)), np.zeros(len(p))], 1)

    pixels = np.full((1, 3, 4, 4), 128, np.uint8)
    threat = Threat("linf", 8 / 255, knowledge="scores", queries=60)
    Square(threat)(Counted(scores, 1), images(pixels), torch.zeros(1, dtype=torch.long))
    changed = [(a != b).any() for a, b in pairwise(asked)]
    assert len(changed) == 59
    assert all(changed)


def test_a_substitute_learns_within_its_queries() -> None:
    victim = LinearVictim(torch.eye(3).repeat_interleave(16, 1), torch.zeros(3))  # which colour
    rng = np.random.default_rng(4)
    own = (rng.integers(0, 200, (40, 3, 1, 1)) + rng.integers(0, 56, (40, 3, 8, 8))).astype(
        np.uint8
    )
    asked = []

    def label(p: np.ndarray) -> np.ndarray:
        asked.append(len(p))
        return victim.labels(p[:, :, ::2, ::2])

    made = Papernot(queries=400, epochs=6, last_epochs=10).learn(label, own, 3)
    assert sum(asked) == made.queries == 400
    fresh = np.repeat(rng.integers(0, 256, (200, 3, 1, 1)), 64, 3).reshape(200, 3, 8, 8)
    fresh = fresh.astype(np.uint8)
    assert (made.labels(fresh) == label(fresh)).mean() > 0.75
