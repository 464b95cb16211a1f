# SPDX-License-Identifier: Apache-2.0
"""F06: NaN, Inf, -0, denormals and extremes in every numeric key of guard.toml, generated."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeguard import _core, config
from edgeguard.config.lines import Lines, show
from edgeguard.config.toml import read
from edgeguard.errors import ConfigError

FULL = Path(__file__).with_name("full")
TABLES, _ = read(FULL / "guard.toml")

REFUSED = ("nan", "-nan", "inf", "-inf", "1e308", "-1e308", "9" * 400, "-" + "9" * 400,
           "2147483648", '"fast"', "[]", "[[]]", "{}", "true", "1979-05-27")  # fmt: skip
ZEROS = ("-0.0", "5e-324", "-5e-324", "2.2e-308")


class Raw:
    """A value that is written as it stands."""

    def __init__(self, text: str) -> None:
        self.text = text


def numbers(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, bool | str):
        return
    if isinstance(value, int | float):
        yield path
        return
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        yield from numbers(item, (*path, key))


def dump(value: Any) -> str:
    """A value as inline TOML."""
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {dump(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(dump, value)) + "]"
    return json.dumps(value)


def document(value: dict[str, Any], path: tuple[str, ...] = ()) -> str:
    """Every key on a line of its own."""
    text = ""
    for key, item in value.items():
        here = (*path, key)
        if isinstance(item, dict):
            text += document(item, here)
        else:
            text += f"{show(here)} = {dump(item)}\n"
    return text


def replaced(value: Any, path: tuple[str | int, ...], raw: str) -> Any:
    if not path:
        return Raw(raw)
    items = value.items() if isinstance(value, dict) else enumerate(value)
    made = {k: replaced(v, path[1:], raw) if k == path[0] else v for k, v in items}
    return made if isinstance(value, dict) else list(made.values())


KEYS = list(numbers(TABLES))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(FULL, tmp_path_factory.mktemp("f06") / "full"))


def outcome(folder: Path, path: tuple[str | int, ...], raw: str) -> dict[str, Any] | None:
    """The policy that a value leads to, or None when it was refused as it should be."""
    file = folder / "guard.toml"
    file.write_text(document(replaced(TABLES, path, raw)))
    try:
        cfg = config.load(file)
    except ConfigError as error:
        line = Lines(file.read_text()).of(path)
        wanted = f"{file}:{line}: {show(path)}"
        wider = f"{file}:{line}: {show(path[:-1])}:"  # [low, high] as a whole
        lines = str(error).splitlines()
        assert any(x.startswith((wanted, wider)) for x in lines), str(error)
        return None
    policy = config.policy_dict(cfg, config.load_cards(cfg))
    _core.Policy(policy)
    return policy


def test_the_example_has_all_numeric_keys_and_loads(folder: Path) -> None:
    assert len(KEYS) > 45
    assert outcome(folder, ("guard", "period_ms"), "10") is not None


@pytest.mark.parametrize("path", KEYS, ids=show)
def test_f06_what_is_no_number_in_range_is_refused(
    folder: Path, path: tuple[str | int, ...]
) -> None:
    for raw in REFUSED:
        assert outcome(folder, path, raw) is None, raw


@pytest.mark.parametrize("path", KEYS, ids=show)
def test_f06_minus_zero_and_denormals_decide_as_zero(
    folder: Path, path: tuple[str | int, ...]
) -> None:
    zero = outcome(folder, path, "0.0")
    for raw in ZEROS:
        got = outcome(folder, path, raw)
        assert got is None or got == zero, raw
