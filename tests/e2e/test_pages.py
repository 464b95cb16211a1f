# SPDX-License-Identifier: Apache-2.0
"""The programs on docs/card.md and docs/own-loop.md run as they stand there."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeguard import Guard
from edgeguard.png import encode
from edgeguard.zoo import models_dir

DOCS = Path(__file__).resolve().parents[2] / "docs"
BLOCK = re.compile(r"^```\w+\n(.*?)^```$", re.M | re.S)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def blocks(page: str) -> list[str]:
    return BLOCK.findall((DOCS / page).read_text(encoding="utf-8"))


def program(page: str, name: str) -> dict[str, Any]:
    """Run a block that begins with the name of its file; what it defines."""
    found: dict[str, Any] = {}
    (text,) = [b for b in blocks(page) if b.startswith(f"# {name}\n")]
    exec(compile(text, name, "exec"), found)
    return found


def test_a_regressor_gets_its_card_and_commands(folder: Path) -> None:
    pytest.importorskip("onnxruntime")
    shutil.copy(models_dir("drive") / "grey.onnx", "steer.onnx")
    (folder / "pictures").mkdir()
    for n in range(8):
        pixels = np.random.default_rng(n).integers(0, 255, (42, 48, 3), np.uint8)
        (folder / "pictures" / f"{n}.png").write_bytes(encode(pixels))
    program("card.md", "describe.py")
    (toml,) = [b for b in blocks("card.md") if b.startswith("# guard.toml\n")]
    (folder / "guard.toml").write_text(toml)
    with Guard.load("guard.toml") as guard:
        guard.arm()
        pixels = np.random.default_rng(9).integers(0, 255, (42, 48, 3), np.uint8)
        for tick in range(1, 30):
            decision = guard.step("front", pixels + np.uint8(tick), {}, tick * 10_000_000)
        assert decision.evidence["steering"]["want"] != 0
        assert abs(guard.evidence("steer")["value"]) <= 1


@pytest.fixture
def demo(folder: Path) -> Path:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("ai_edge_litert")
    for file in models_dir().iterdir():
        (folder / file.name).symlink_to(file)
    return folder


class Camera:
    """A picture on every second poll."""

    def __init__(self) -> None:
        self.polls = 0

    def poll(self) -> tuple[Any, int]:
        self.polls += 1
        if self.polls % 2:
            return None, 0
        return np.zeros((480, 640, 3), np.uint8), time.monotonic_ns()


class Clock:
    """Stands in for the module `time`: a busy machine must not lose the link."""

    def __init__(self) -> None:
        self._now_ns = 1_000_000_000

    def monotonic_ns(self) -> int:
        return self._now_ns

    def sleep(self, seconds: float) -> None:
        self._now_ns += round(seconds * 1e9)


def test_the_loop_commands_on_every_tick(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    camera, commands = Camera(), []
    program("own-loop.md", "drive.py")["drive"](camera, lambda: 0.0, commands.append, 30)
    assert camera.polls == len(commands) == 30
    assert all(set(command) == {"target_speed"} for command in commands)
    assert "STALE_MODEL" in capsys.readouterr().out


def test_a_microcontroller_is_armed_and_told(
    demo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from firmware_bridge import keys

    keys.create(demo / "keys.json")
    page, clock = program("own-loop.md", "both.py"), Clock()
    page["time"] = clock
    page["drive"](None, 5)
    assert capsys.readouterr().out.splitlines()[-1] == "FALLBACK / NOMINAL"
