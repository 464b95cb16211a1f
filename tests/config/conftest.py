# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

FULL = Path(__file__).with_name("full")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the full example: guard.toml, calibration.toml and the cards."""
    return Path(shutil.copytree(FULL, tmp_path / "full"))


@pytest.fixture
def edited(folder: Path) -> Callable[[str, str], Path]:
    """Replace one piece of text in the example's guard.toml."""

    def edit(old: str, new: str) -> Path:
        file = folder / "guard.toml"
        text = file.read_text()
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the example"
        file.write_text(text.replace(old, new))
        return file

    return edit
