# SPDX-License-Identifier: Apache-2.0
"""The tables of figures show what the results files say, and nothing else."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The README and the results in a folder of their own."""
    (tmp_path / "docs").mkdir()
    shutil.copytree(ROOT / "docs" / "results", tmp_path / "docs" / "results")
    shutil.copy(ROOT / "README.md", tmp_path)
    return tmp_path


def make(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = place / "docs" / "results" / "readme.py"
    return subprocess.run(
        [sys.executable, str(script), *arguments], capture_output=True, text=True, check=False
    )


def change(place: Path, name: str, id: str, **keys: object) -> None:
    file = place / "docs" / "results" / f"{name}.json"
    document = json.loads(file.read_text())
    next(f for f in document["figures"] if f["id"] == id).update(keys)
    file.write_text(json.dumps(document))


def test_the_tables_show_what_the_results_say() -> None:
    done = make(ROOT, "--check")
    assert done.returncode == 0, done.stderr


def test_another_figure_is_another_table(copy: Path) -> None:
    change(copy, "firmware", "mcu.footprint.flash", value=12_345)
    assert "docs/results/README.md: make readme" in make(copy, "--check").stderr
    assert make(copy).returncode == 0
    assert "| 12,345 and " in (copy / "docs/results/README.md").read_text()
    assert make(copy, "--check").returncode == 0


def test_a_bar_that_does_not_hold_is_marked_and_stands_in_the_readme_too(copy: Path) -> None:
    change(copy, "firmware", "mcu.footprint.flash", value=54_321)
    assert make(copy).returncode == 0
    assert "54,321" not in (copy / "README.md").read_text()
    change(copy, "firmware", "mcu.footprint.flash", holds=False)
    assert make(copy).returncode == 0
    rows = [row for row in (copy / "README.md").read_text().splitlines() if "54,321" in row]
    assert len(rows) == 1
    assert "**missed**" in rows[0]
