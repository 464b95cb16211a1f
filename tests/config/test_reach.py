# SPDX-License-Identifier: Apache-2.0
"""The largest certainty that a card's scores can say is never below what the kernel finds."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from attrs import evolve

from edgeguard import _kernels, config
from edgeguard.card import Card
from edgeguard.config.fixed import ONE
from edgeguard.config.reach import most_certain
from edgeguard.errors import ConfigError

Edit = Callable[[str, str], Path]

PROBABILITIES = {"kind": "probabilities", "scale": 1 / 256, "zero_point": -128}
LOGITS = {"kind": "logits", "scale": 0.01, "zero_point": 0}
RAISE, LOWER = "raise = { certainty = 0.98", "lower = { certainty = 0.80"


def described(folder: Path, size: int, **output: object) -> Card:
    card = Card.load(folder / "plain.card.json")
    return evolve(card, outputs=(evolve(card.scores, size=size, **output),))


def found(card: Card, rows: list[list[int]], temperature: float) -> int:
    """The largest certainty that the kernel finds in these answers, in steps of 1/65536."""
    said = card.scores
    raw = np.array(rows, said.dtype)
    given = {"kind": said.kind, "scale": said.scale, "zero_point": said.zero_point}
    return int(_kernels.evidence_batch(raw, **given, temperature=temperature)["certainty"].max())


def extremes(card: Card) -> list[list[int]]:
    """One score at the top, all others at the bottom, but for a few that are a step above it."""
    ends, said = np.iinfo(card.scores.dtype), card.scores
    bottom = said.zero_point if said.kind == "probabilities" else ends.min
    rows = []
    for raised, at in itertools.product(range(min(5, said.size)), (0, said.size - 1)):
        others = [bottom + 1] * raised + [bottom] * (said.size - 1 - raised)
        rows.append([*others[:at], int(ends.max), *others[at:]])
    return rows


@pytest.mark.parametrize("temperature", [0.05, 0.4717, 0.9, 1.0, 1.5, 20.0, 100.0])
@pytest.mark.parametrize("size", [5, 43, 1000])
@pytest.mark.parametrize(
    "output",
    [
        LOGITS,
        LOGITS | {"scale": 0.0654, "zero_point": -27},
        LOGITS | {"dtype": "uint8", "zero_point": 90, "scale": 0.001},
        PROBABILITIES,
        PROBABILITIES | {"scale": 1 / 255},
        PROBABILITIES | {"scale": 1 / 258},
        PROBABILITIES | {"dtype": "uint8", "zero_point": 2},
    ],
    ids=lambda o: f"{o['kind']}-{o.get('dtype', 'int8')}-{o['scale']:.4f}",
)
def test_it_is_what_the_kernel_finds_in_the_extreme_scores(
    folder: Path, output: dict[str, object], size: int, temperature: float
) -> None:
    card = described(folder, size, **output)
    limit = round(most_certain(card, temperature) * ONE)
    assert limit - 2 <= found(card, extremes(card), temperature) <= limit


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("output", [LOGITS, PROBABILITIES, PROBABILITIES | {"scale": 1 / 260}])
def test_no_other_scores_say_more(
    folder: Path, output: dict[str, object], temperature: float
) -> None:
    card = described(folder, 3, **output)
    tops, rests = range(118, 128), [*range(-128, -118), -1, 0, 126, 127]
    rows = [list(row) for row in itertools.product(tops, rests, rests)]
    assert found(card, rows, temperature) <= round(most_certain(card, temperature) * ONE)


@pytest.mark.parametrize(
    ("output", "most"),
    [
        ({"dtype": "float32", "scale": 0.1}, 1.0),
        (PROBABILITIES | {"zero_point": 127}, 0.0),  # 0 alone
        (PROBABILITIES | {"scale": 1e-300}, 1.0),  # refused elsewhere
    ],
)
def test_where_nothing_can_be_said_of_it(
    folder: Path, output: dict[str, object], most: float
) -> None:
    assert most_certain(described(folder, 3, **output), 0.5) == most


def outputs(folder: Path, **by_member: dict[str, object]) -> None:
    """Change what the cards of these members say of their scores."""
    for name, output in by_member.items():
        file = folder / f"{name}.card.json"
        card = json.loads(file.read_text())
        card["outputs"][0] |= output
        file.write_text(json.dumps(card))


def test_a_certainty_that_too_few_can_say_is_refused(edited: Edit, folder: Path) -> None:
    outputs(folder, compact=PROBABILITIES)
    with pytest.raises(ConfigError) as refused:
        config.load(edited(RAISE, "raise = { certainty = 0.999"))
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"{folder / 'guard.toml'}:")
    assert "channel.target_speed.raise.certainty: is 0.999, but compact says 0.996 at most" in line
    assert "plain" not in line and "the quorum of 2 could never be reached" in line


@pytest.mark.parametrize(
    ("certainty", "refused"), [("0.996", False), ("0.99609375", False), ("0.9962", True)]
)
def test_the_limit_itself_can_be_asked_for(
    edited: Edit, folder: Path, certainty: str, refused: bool
) -> None:
    outputs(folder, compact=PROBABILITIES)
    file = edited(RAISE, f"raise = {{ certainty = {certainty}")
    if not refused:
        config.load(file)
        return
    with pytest.raises(
        ConfigError, match=r"raise\.certainty: is 0\.9962, but compact says 0\.996 "
    ):
        config.load(file)


def test_it_is_refused_where_the_quorum_misses_it_alone(edited: Edit, folder: Path) -> None:
    outputs(folder, plain=LOGITS)  # five scores within 2.55 say 0.762 at most
    assert "lower" not in str(_refused(folder / "guard.toml"))  # compact can
    outputs(folder, compact=LOGITS)
    said = _refused(folder / "guard.toml")
    assert "lower.certainty: is 0.8, but plain says 0.762" in said
    assert "compact says 0.762" in said and "no model would lower this channel" in said
    edited(RAISE, "raise = { certainty = 0.7")
    config.load(edited(LOWER, "lower = { certainty = 0.7"))


def _refused(file: Path) -> str:
    with pytest.raises(ConfigError) as refused:
        config.load(file)
    return str(refused.value)
