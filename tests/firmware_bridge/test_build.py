# SPDX-License-Identifier: Apache-2.0
"""The firmware's build: what holds the keys is its owner's alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeguard import config
from edgeguard.errors import EdgeguardError
from edgeguard.zoo import models_dir
from firmware_bridge import sim
from tests.firmware_bridge.rig import KEYS

needs_compiler = pytest.mark.skipif(
    sim.missing_tools() is not None, reason=f"needs: {sim.missing_tools()}"
)


@pytest.fixture
def table() -> dict[str, Any]:
    return config.mcu_dict(config.load(models_dir() / "guard.toml"))


@pytest.fixture
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.parametrize("name", ["my dir", "a\ttab", "a$x", "a#x", "a:x"])
def test_a_folder_that_make_cannot_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(EdgeguardError, match=r"make takes no .* in a path; .*--build") as caught:
        sim.build({}, KEYS, tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert not (tmp_path / name).exists()


def test_so_is_that_of_the_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sim, "_HERE", tmp_path / "my venv")
    with pytest.raises(EdgeguardError, match="my venv: make takes no ' ' in a path; install"):
        sim.build({}, KEYS, tmp_path)


@needs_compiler
@pytest.mark.usefixtures("usual_umask")
def test_only_its_owner_reads_what_holds_the_keys(table: dict[str, Any], tmp_path: Path) -> None:
    """Also in a folder that is there, and where an image from elsewhere lies about."""
    for name in ("firmware.elf", "firmware.elf.open", "mcu_table.o"):
        (tmp_path / name).write_text("old")
        os.utime(tmp_path / name, (0, 0))
    tmp_path.chmod(0o755)
    sim.build(table, KEYS, tmp_path)
    secret = [file for file in tmp_path.iterdir() if KEYS.link in file.read_bytes()]
    assert {f.name for f in secret} == {"firmware.elf", "firmware.elf.open", "mcu_table.o"}
    for file in (*secret, tmp_path / "mcu_table.c"):
        assert file.stat().st_mode & 0o077 == 0, file
