# SPDX-License-Identifier: Apache-2.0
"""F10, F11: spoilt pictures, and a guard that believes too much is found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgeguard.config import load, load_cards, model_path, policy_dict
from edgeguard.lab.testing import common_mode
from edgeguard.lab.testing.corruptions import KINDS, STRENGTHS
from edgeguard.lab.testing.flips import runner
from edgeguard.streams.stream import load as load_stream
from edgeguard.zoo import models_dir


@pytest.mark.parametrize("kind", KINDS)
def test_a_corruption_is_a_picture_and_grows_with_its_strength(kind: str) -> None:
    clean = load_stream(models_dir() / "stream.npz").tracks[3].frames[-1]
    changed = []
    for strength in STRENGTHS:
        made = KINDS[kind](clean, strength, np.random.default_rng(5))
        again = KINDS[kind](clean, strength, np.random.default_rng(5))
        assert made.shape == clean.shape
        assert made.dtype == np.uint8
        assert np.array_equal(made, again)
        changed.append(float(np.abs(made.astype(int) - clean).mean()))
    assert 0 < changed[0] < changed[2]


@pytest.fixture(scope="module")
def judged() -> tuple[common_mode.Judge, dict[str, common_mode.Seen]]:
    policy = models_dir() / "guard.toml"
    config = load(policy)
    cards = load_cards(config)
    table = policy_dict(config, cards)
    rows = {row["name"]: row for row in table["members"]}
    runs = {n: runner(model_path(config, n, c).read_bytes(), c) for n, c in cards.items()}
    stream = load_stream(models_dir() / "stream.npz")
    wanted = {"clean", "patch.3", "glare.3", "motion.3", "static_sticker"}
    seen = {
        name: common_mode._seen(name, stream, cards, config, pictures)
        for name, pictures in common_mode._conditions(stream, 2)
        if name in wanted
    }
    return common_mode.Judge(config, table, rows, runs), seen


def test_members_agree_on_what_is_wrong_and_the_guard_does_not_take_it(
    judged: tuple[common_mode.Judge, dict[str, common_mode.Seen]],
) -> None:
    judge, seen = judged
    found = {name: judge.outcome(one) for name, one in seen.items()}
    assert found["clean"].common == found["clean"].wrong == (0, 40)
    assert found["clean"].flagged < 0.05
    assert found["static_sticker"].common[0] == 2
    for name in ("patch.3", "glare.3", "motion.3"):
        assert max(found[name].accuracy.values()) < min(found["clean"].accuracy.values())
        assert found[name].common[0] > 0
        assert found[name].wrong[0] == 0
    values = {f.id: f for f in common_mode.figures(found["patch.3"])}
    assert values["vote.common_mode.patch.3"].n == 40
    assert values["vote.common_mode.patch.3.wrong_commands"].interval == pytest.approx(
        (0.0, 0.0881), abs=1e-3
    )


def test_a_guard_that_believes_a_majority_is_found(
    judged: tuple[common_mode.Judge, dict[str, common_mode.Seen]],
) -> None:
    judge, seen = judged
    believing = replace(judge.demand["raise"], quorum=2, certainty=0)
    broken = common_mode.Judge.__new__(common_mode.Judge)
    broken.__dict__.update(judge.__dict__, demand={**judge.demand, "raise": believing})
    assert any(broken.outcome(one).wrong[0] for one in seen.values())
