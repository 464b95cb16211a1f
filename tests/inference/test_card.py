# SPDX-License-Identifier: Apache-2.0
"""The card: what it reads it writes, and what is wrong it names by file and key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_models

from edgeguard.card import Card
from edgeguard.errors import ConfigError


def altered(path: Path, keys: list[Any], value: Any) -> Path:
    """Set a nested key of a card file; None removes it."""
    card = json.loads(path.read_text())
    place = card
    for key in keys[:-1]:
        place = place[key]
    if value is None:
        del place[keys[-1]]
    else:
        place[keys[-1]] = value
    path.write_text(json.dumps(card))
    return path


def test_a_card_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    card = tiny_models.tiny(tmp_path, accuracy={"int8": 0.99}, temperature=0.5)
    card.save(tmp_path / "again.card.json")
    again = Card.load(tmp_path / "again.card.json")
    assert again == card
    assert again.extra == {"accuracy": {"int8": 0.99}}
    assert (again.input.shape, again.scores.size, again.temperature) == ((1, 3, 4, 4), 5, 0.5)


@pytest.mark.parametrize(
    ("keys", "value", "complaint"),
    [
        (["sha256"], None, "sha256: missing"),
        (["sha256"], "abc", "sha256: want a SHA-256 as 64 hex digits"),
        (["runtime"], "torch", "runtime: 'torch' is not one of onnx, litert"),
        (["temperature"], float("nan"), "temperature: want a finite number, got nan"),
        (["temperature"], 0, "temperature: want a number above 0"),
        (["labels"], ["a"], "labels: 1 names for 5 scores"),
        (["labels"], "nowhere.json", "nowhere.json: cannot be read"),
        (["input", "scale"], 0, "input.scale: want a number above 0 for int8"),
        (["input", "zero_point"], 200, "input.zero_point: 200 is outside int8"),
        (["input", "size"], [32], "input.size: want [height, width]"),
        (["input", "size"], [32, 31.5], "input.size: want [height, width], got [32.0, 31.5]"),
        (["input", "colour"], "CMYK", "input.colour: 'CMYK' is not one of RGB, BGR, GRAY"),
        (["input", "mean"], [0.5], "input.mean: want 3 numbers for RGB, got 1"),
        (["input", "std"], [1, 1, 0], "input.std: want numbers above 0"),
        (["input", "skale"], 1, "input.skale: unknown key"),
        (["outputs"], [], "outputs: want a list of at least one output"),
        (["outputs", 0, "kind"], "scores", "outputs[0].kind: 'scores' is not one of"),
        (["outputs", 0, "size"], 0, "outputs[0].size: want an integer of at least 1"),
        (["outputs", 0, "kind"], "embedding", "outputs: want one output of scores"),
        (["task"], "regressor", "task: a regressor cannot have an output of kind logits"),
        (["golden", "sha256"], 7, "golden.sha256: want text"),
        (["temperature"], 10**400, "temperature: want a finite number"),
        (["input", "scale"], -(10**400), "input.scale: want a finite number"),
        (["input", "size"], [10**400, 32], "input.size: want a finite number"),
        (["outputs", 0, "size"], 10**400, "outputs[0].size: want an integer of at most 2147483647"),
        (["input", "zero_point"], 10**400, "input.zero_point: want an integer of at most"),
        (["input", "size"], [1e300, 32], "input.size: [1e+300, 32.0] is more than"),
        (["input", "name"], 5, "input.name: want text, got 5"),
        (["golden", "file"], "a\0b", "golden.file: want text, got 'a\\x00b'"),
        (["temprature"], 2.0, "temprature: unknown key; did you mean temperature?"),
        (["goldn"], {}, "goldn: unknown key; did you mean golden?"),
        (["max_rails"], 1, "max_rails: unknown key; did you mean max_rail?"),
    ],
)  # fmt: skip
def test_errors_name_file_and_key(
    tmp_path: Path, keys: list[Any], value: Any, complaint: str
) -> None:
    path = altered(
        tiny_models.write(tmp_path, tiny_models.build(tiny_models.weights())), keys, value
    )
    with pytest.raises(ConfigError) as caught:
        Card.load(path)
    assert str(tmp_path) in str(caught.value)
    assert complaint in str(caught.value)


def test_a_regressor_says_one_value(tmp_path: Path) -> None:
    """The guard would read the first of several, whatever channel each was meant for."""
    card = tiny_models.tiny(tmp_path).to_dict() | {"task": "regressor", "labels": []}
    card["outputs"][0].update(kind="value", size=2)
    with pytest.raises(ConfigError, match=r"this output holds 2; split the model's head"):
        Card.from_dict(card, tmp_path)
    card["outputs"][0].update(size=1)
    assert Card.from_dict(card, tmp_path).scores.size == 1


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00", "[" * 100_000, "9" * 5000])
def test_what_is_no_card_is_a_config_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.card.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"x\.card\.json"):
        Card.load(path)


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    path = tiny_models.write(tmp_path, tiny_models.build(tiny_models.weights()))
    card = Card.load(path)
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert Card.load(path) == card


def test_a_card_is_found_beside_its_model(tmp_path: Path) -> None:
    tiny_models.tiny(tmp_path)
    (tmp_path / "tiny.int8.onnx").touch()
    assert Card.beside(tmp_path / "tiny.int8.onnx").name == "tiny"
    with pytest.raises(ConfigError, match=r"other\.card\.json.*edgeguard init.*docs/card\.md"):
        Card.beside(tmp_path / "other.onnx")


def test_labels_from_files(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text("a\nb\nc\nd\ne\n")
    (tmp_path / "l.json").write_text(json.dumps({str(k): "edcba"[k] for k in range(5)}))
    assert tiny_models.tiny(tmp_path, labels="l.txt").labels == tuple("abcde")
    card = tiny_models.tiny(tmp_path, labels="l.json")
    assert card.labels == tuple("edcba")
    assert card.to_dict()["labels"] == "l.json"


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("l.txt", "a\n\nc\n", "an empty or unprintable label"),
        ("l.json", '{"0": "a", "2": "c"}', "has no class '1'"),
        ("l.json", "7", "is no list of labels"),
        ("l.json", "[1, 2]", "is no list of labels"),
    ],
)
def test_label_files_that_are_none(tmp_path: Path, name: str, text: str, complaint: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=complaint):
        tiny_models.tiny(tmp_path, labels=name)


def test_sanity_limits_follow_from_the_kind_of_scores(tmp_path: Path) -> None:
    card = tiny_models.tiny(tmp_path)
    assert (card.rail_allowance, card.distinct_needed) == (1, 3)
    card = tiny_models.tiny(tmp_path, max_rail=0, min_distinct=4)
    assert (card.rail_allowance, card.distinct_needed) == (0, 4)


@pytest.mark.parametrize("path", tiny_models.SHIPPED, ids=lambda p: p.name)
def test_the_shipped_cards_are_read(path: Path) -> None:
    card = Card.load(path)
    assert Card.from_dict(card.to_dict(), path.parent) == card
    assert card.model_path.is_file()
