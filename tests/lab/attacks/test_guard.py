# SPDX-License-Identifier: Apache-2.0
"""The whole guard as a target: its loss says what the real guard then does."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
import torch

from edgeguard.errors import EdgeguardError
from edgeguard.lab.attacks.guard_box import GuardBox, raised
from edgeguard.lab.attacks.guarded import Bound, GuardedTarget
from edgeguard.lab.attacks.losses import margin
from edgeguard.lab.attacks.pgd import PGD
from edgeguard.lab.attacks.threat import Threat
from edgeguard.lab.attacks.victim import images
from edgeguard.zoo import models_dir
from tests.lab.signs import signs

POLICY = models_dir() / "guard.toml"
WATCHED = models_dir() / "ood.toml"
THIRTY, FIFTY, EIGHTY = 1, 2, 5


@cache
def pictures() -> tuple[np.ndarray, np.ndarray]:
    return signs(600)


def of(label: int) -> np.ndarray:
    x, y = pictures()
    return x[y == label]


@pytest.fixture(scope="module", params=[POLICY, WATCHED], ids=["guard", "watched"])
def bound(request: pytest.FixtureRequest) -> Iterator[Bound]:
    torch.set_num_threads(1)
    made = GuardedTarget(request.param, pictures()[0][::60]).above(8.33)
    with GuardBox(request.param, of(THIRTY)[-8:], 8.0) as box:
        made.box = box
        yield made


def test_the_real_guard_rests_and_raises(bound: Bound) -> None:
    assert bound.box is not None
    assert bound.box.command == pytest.approx(8.33, abs=0.01)
    verdicts = bound.ask(np.concatenate([of(EIGHTY)[-1:], of(THIRTY)[:1]]))
    assert verdicts[0].labels == (EIGHTY,) * 3
    assert verdicts[0].raised
    assert not verdicts[1].raised
    assert bound.box.queries >= 2


def test_the_loss_says_what_the_guard_does(bound: Bound) -> None:
    """Positive margin and a raised command are the same thing, on signs of every kind."""
    x, _ = pictures()
    some = x[5::12]
    with torch.no_grad():
        scores = bound.scores(images(some))[:, 1].numpy()
    done = raised(bound.ask(some))
    assert 3 < done.sum() < len(some) - 3
    sure = np.abs(scores) > 0.05
    np.testing.assert_array_equal((scores > 0)[sure], done[sure].astype(bool))
    assert sure.mean() > 0.9


def test_members_say_the_same_in_both(bound: Bound) -> None:
    some = pictures()[0][3::40]
    said = np.array([v.labels for v in bound.ask(some)])
    mine = np.stack([v.labels(some) for v in bound.guarded.victims.values()], 1)
    np.testing.assert_array_equal(said, mine)


def test_attacks_climb_the_loss() -> None:
    """A large radius fools the whole guard, and the real one agrees."""
    made = GuardedTarget(POLICY, pictures()[0][:5]).above(8.33)
    x = of(THIRTY)[:2]
    attack = PGD(Threat("linf", 48 / 255), steps=30, restarts=1, loss=margin)
    adv = attack(made, images(x), torch.zeros(2, dtype=torch.long))
    with torch.no_grad():
        before = made.scores(images(x))[:, 1]
        after = made.scores(adv)[:, 1]
    assert (after > before).all()
    with GuardBox(POLICY, of(THIRTY)[-8:], 8.0) as box:
        made.box = box
        pixels = (adv * 255).round().to(torch.uint8).numpy()
        np.testing.assert_array_equal(made.labels(pixels) == 1, after.numpy() > 0)
        assert (after > 0).any()


def test_nothing_is_above_the_highest_command() -> None:
    with pytest.raises(EdgeguardError, match="no label commands more"):
        GuardedTarget(POLICY, pictures()[0][:5]).above(34.0)


def test_a_prefix_that_is_not_accepted_is_named() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (6, 3, 32, 32)).astype(np.uint8)
    with pytest.raises(EdgeguardError, match="does not rest"):
        GuardBox(POLICY, noise)
