# SPDX-License-Identifier: Apache-2.0
"""A kept result is of the code and the tables that made it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeguard import provenance


@pytest.mark.parametrize(
    ("file", "counts"),
    [
        ("edgeguard/guard.py", True),
        ("edgeguard/config/defaults.toml", True),
        ("firmware_bridge/mcu/board.c", True),
        ("firmware_bridge/link.dbc", True),
        ("firmware_bridge/mcu/tests/test_link.c", False),
        ("edgeguard/__pycache__/guard.pyc", False),
    ],
)
def test_a_change_of_what_made_it_changes_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, counts: bool
) -> None:
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "edgeguard" / "provenance.py"))
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text("before")
    before = provenance.key_of()
    path.write_text("after")
    assert (provenance.key_of() != before) is counts


def test_the_place_of_the_checkout_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor a folder above it that is called tests."""
    keys = set()
    for place in ("one", "tests"):
        file = tmp_path / place / "edgeguard" / "provenance.py"
        file.parent.mkdir(parents=True)
        file.write_text("code")
        monkeypatch.setattr(provenance, "__file__", str(file))
        keys.add(provenance.key_of())
    assert len(keys) == 1
