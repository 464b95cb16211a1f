# SPDX-License-Identifier: Apache-2.0
"""Keys lie where only their owner reads them, and are shown to nobody."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeguard.errors import EdgeguardError
from firmware_bridge import keys


def test_made_once_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "keys.json"
    made = keys.ensure(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert keys.ensure(path) == made
    assert len(made.link) == len(made.operator) == 16
    assert made.link != made.operator
    assert made.link.hex() not in repr(made)
    with pytest.raises(EdgeguardError, match="never overwritten"):
        keys.create(path)


def test_no_two_are_alike(tmp_path: Path) -> None:
    made = [keys.create(tmp_path / str(i)) for i in range(4)]
    assert len({k.link for k in made} | {k.operator for k in made}) == 8


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "keys.json"
    keys.create(path)
    path.chmod(mode)
    with pytest.raises(EdgeguardError, match=f"mode {mode:o}.*chmod 600"):
        keys.load(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ("[]", "want the keys"),
        ('{"link_key": "00"}', "want the keys"),
        (json.dumps({"link_key": "0" * 31, "operator_key": "1" * 32}), "link_key: want 32 hex"),
        (json.dumps({"link_key": "0" * 32, "operator_key": 3}), "operator_key: want 32 hex"),
        (json.dumps({"link_key": "a" * 32, "operator_key": "a" * 32}), "are the same"),
    ],
)
def test_what_is_wrong_is_named_without_the_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(EdgeguardError, match=message) as caught:
        keys.load(path)
    assert str(path) in str(caught.value)
    assert "a" * 32 not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(EdgeguardError, match="No such file"):
        keys.load(tmp_path / "none")


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("")
    (tmp_path / "secret").symlink_to(tmp_path / "target")
    with pytest.raises(OSError):
        keys.write_secret(tmp_path / "secret", "x")
    assert (tmp_path / "target").read_text() == ""
