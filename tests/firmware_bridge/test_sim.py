# SPDX-License-Identifier: Apache-2.0
"""The processes around the firmware in QEMU, with a stand-in for QEMU."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from edgeguard.cli.demo_mcu import Host
from edgeguard.errors import EdgeguardError
from edgeguard.zoo import models_dir
from firmware_bridge import sim
from tests.firmware_bridge.board import wait_for

QEMU = """#!/bin/sh
echo 'char device redirected to /dev/pts/99 (label serial0)'
exec sleep 60
"""
TRAP = "import pathlib; pathlib.Path('sprung').touch(); raise SystemExit(7)\n"


@pytest.fixture
def trapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory of somebody else's, and a QEMU that only names a port."""
    for module in ("argparse", "json", "edgeguard", "firmware_bridge"):
        (tmp_path / f"{module}.py").write_text(TRAP)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "qemu-system-arm").write_text(QEMU)
    (tmp_path / "bin" / "qemu-system-arm").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_plant_runs_no_code_from_the_working_directory(trapped: Path) -> None:
    """And it is ready when the port is named."""
    with sim.Sim(trapped / "x.elf", log=trapped / "plant.jsonl") as running:
        assert running.port == "/dev/pts/99"
        assert json.loads((trapped / "plant.jsonl").read_text())["plant"] == 1
        assert running.plant.poll() is None
    assert not (trapped / "sprung").exists()


def test_without_a_plant_no_port_is_named(trapped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = [sys.executable, "-c", "raise SystemExit(3)"]
    monkeypatch.setattr(sim, "command_line", lambda _: gone)
    with pytest.raises(EdgeguardError, match="the plant ended with 3 at once"):
        sim.Sim(trapped / "x.elf")


def test_the_host_of_the_demo_runs_no_code_from_the_working_directory(trapped: Path) -> None:
    policy = models_dir() / "guard.toml"
    with Host(policy, "/dev/nowhere", trapped / "keys.json", trapped) as host:
        wait_for(lambda: host.process.poll() is not None and host._said)
        assert host._said[-1].startswith("/dev/nowhere: "), host._said
    assert not (trapped / "sprung").exists()
