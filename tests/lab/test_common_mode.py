# SPDX-License-Identifier: Apache-2.0
"""F10, F11: spoilt pictures, and a guard that believes too much is found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgeguard.config import load, load_cards, model_path, policy_dict
from edgeguard.errors import ConfigError
from edgeguard.lab.testing import common_mode
from edgeguard.lab.testing.corruptions import KINDS, STRENGTHS
from edgeguard.lab.testing.flips import runner
from edgeguard.lab.testing.wrong import Rule
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
    rule = Rule.of(config, table)
    rows = {row["name"]: row for row in table["members"]}
    runs = {n: runner(model_path(config, n, c).read_bytes(), c) for n, c in cards.items()}
    stream = load_stream(models_dir() / "stream.npz")
    wanted = {"clean", "patch.3", "glare.3", "motion.3", "static_sticker"}
    seen = {
        name: common_mode._seen(name, stream, cards, config, pictures)
        for name, pictures in common_mode._conditions(stream, 2)
        if name in wanted
    }
    return common_mode.Judge(rule, rows, runs), seen


def test_members_agree_on_what_is_wrong_and_the_guard_takes_less_of_it(
    judged: tuple[common_mode.Judge, dict[str, common_mode.Seen]],
) -> None:
    judge, seen = judged
    found = {name: judge.outcome(one) for name, one in seen.items()}
    assert found["clean"].common == found["clean"].wrong == (0, 40)
    assert found["clean"].flagged < 0.05
    assert found["static_sticker"].common[0] == 2
    for name in ("patch.3", "glare.3", "motion.3"):
        assert max(found[name].accuracy.values()) < min(found["clean"].accuracy.values())
        assert 0 < found[name].wrong[0] < found[name].common[0]
    values = {f.id: f for f in common_mode.figures(found["patch.3"])}
    assert values["vote.common_mode.patch.3"].n == 40
    assert values["vote.common_mode.patch.3.wrong_commands"].interval == pytest.approx(
        (0.0061, 0.1692),
        abs=1e-3,  # 2 of 40
    )


def test_what_catches_a_wrong_quorum_is_counted_apart(
    judged: tuple[common_mode.Judge, dict[str, common_mode.Seen]],
) -> None:
    """Two say 80 at a 50: twice hardly sure, once on a picture that nobody could judge; and once
    surely, which is taken."""
    judge, _ = judged
    fifty, eighty = LABELS.index("50"), LABELS.index("80")
    seen = common_mode.Seen(
        "made", number=[0, 0, 1, 2], true=[fifty] * 4, tensors={n: [] for n in judge.rows},
        unhealthy=[False, True, True, False],
    )  # fmt: skip
    sure = np.array([0.5, 0.5, 0.9, 0.9])
    outcome = common_mode.Judge(judge.rule, judge.rows, {}).added_up(
        seen,
        np.array([[eighty, eighty, fifty]] * 4),
        (sure * 65536).astype(int)[:, None].repeat(3, 1),
    )
    assert (outcome.agreed, outcome.unsure, outcome.unhealthy) == (4, 2, 2)
    assert (outcome.common, outcome.wrong) == ((3, 3), (1, 3))
    found = {f.id: (f.value, f.n) for f in common_mode.figures(outcome)}
    assert found["vote.common_mode.made.caught_by_certainty"] == (0.5, 4)
    assert found["vote.common_mode.made.caught_by_detectors"] == (0.5, 4)
    right = replace(outcome, agreed=0, unsure=0, unhealthy=0)
    assert not any("caught" in f.id for f in common_mode.figures(right))
    both = common_mode.caught("all", [outcome, right])
    assert [f.value for f in both] == [0.5, 0.5]


def test_a_guard_that_believes_a_majority_is_found(
    judged: tuple[common_mode.Judge, dict[str, common_mode.Seen]],
) -> None:
    judge, seen = judged
    rule = judge.rule
    believing = replace(rule.demand["raise"], quorum=2, certainty=0)
    broken = replace(rule, demand={**rule.demand, "raise": believing})
    assert any(common_mode.Judge(broken, judge.rows, judge.runs).outcome(one).wrong[0]
               for one in seen.values())  # fmt: skip


LABELS = ("20", "30", "50", "60", "70", "80", "end of 80", "100", "120")  # of GTSRB, by number


@pytest.mark.parametrize(
    ("true", "say", "sure", "wrong"),
    [
        ("50", ("80", "80", "50"), 0.9, True),  # lowers on a road at 120: two are enough
        ("50", ("80", "80", "50"), 0.7, False),
        ("50", ("80", "80", "80"), 0.7, False),
        ("50", ("120", "120", "120"), 0.99, True),
        ("50", ("30", "30", "30"), 0.99, False),
        ("50", ("end of 80",) * 3, 0.99, False),
        ("end of 80", ("80", "80", "50"), 0.9, False),  # of what was in force there is no more
        ("end of 80", ("80", "80", "80"), 0.99, True),
        ("end of 80", ("80", "80", "80"), 0.9, False),
    ],
)
def test_a_label_is_wrong_if_it_would_be_taken_from_anything_that_was_in_force(
    judged: tuple[common_mode.Judge, object], true: str, say: tuple[str, ...], sure: float,
    wrong: bool,
) -> None:  # fmt: skip
    label = np.array([[LABELS.index(one) for one in say]])
    certainty = np.full_like(label, round(sure * 65536))
    found = judged[0].rule.wrong(label, certainty, np.array([LABELS.index(true)]))
    assert found.tolist() == [wrong]


def test_the_largest_command_cannot_lower(judged: tuple[common_mode.Judge, object]) -> None:
    rule, label = judged[0].rule, np.full((1, 3), LABELS.index("120"))
    certainty, true = np.full_like(label, round(0.9 * 65536)), np.array([LABELS.index("50")])
    assert rule.wrong(label, certainty, true).tolist() == [True]  # its range ends a little higher
    ends = replace(rule, top=float(rule.value[label[0, 0]]))
    assert ends.wrong(label, certainty, true).tolist() == [False]


def test_a_guard_without_labels_is_refused() -> None:
    with pytest.raises(ConfigError, match="has no channel of labels"):
        common_mode.run(models_dir("drive") / "guard.toml", quick=True)
