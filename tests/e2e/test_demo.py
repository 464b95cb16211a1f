# SPDX-License-Identifier: Apache-2.0
"""The demo as a person starts it, and that it fails when a fault is let through."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgeguard.cli import demo
from edgeguard.streams import stream as streams
from edgeguard.zoo import models_dir

pytestmark = pytest.mark.alone

FROZEN_TRACK = (4, 62)


@pytest.fixture
def only_the_frozen_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short stream: at 80 past a sign that holds, then 70 on a camera that froze."""
    whole = streams.load(models_dir() / "stream.npz")
    short = whole.pick((38, 5), FROZEN_TRACK, (9, 19), (28, 15), limit_kmh=80)
    monkeypatch.setattr(streams, "load", lambda path, seed=0: short)


def spoiled(folder: Path, *changes: tuple[str, str]) -> Path:
    """The shipped policy with some words changed, beside links to its models."""
    for file in models_dir().iterdir():
        if file.name != "guard.toml":
            (folder / file.name).symlink_to(file)
    text = (models_dir() / "guard.toml").read_text(encoding="utf-8")
    for old, new in changes:
        assert re.search(old, text, re.DOTALL), old
        text = re.sub(old, new, text, flags=re.DOTALL)
    policy = folder / "guard.toml"
    policy.write_text(text, encoding="utf-8")
    return policy


def run(*arguments: str) -> Result:
    return CliRunner().invoke(demo.command, list(arguments), standalone_mode=False)


def test_the_demo_holds_its_bars(tmp_path: Path) -> None:
    """From an empty folder, as a program: exit code 0, a page, and the figures."""
    program = "import sys; from edgeguard.cli.main import main; main(sys.argv[1:])"
    made = subprocess.run(
        [sys.executable, "-c", program, "demo", "--json", "figures.json"],
        cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stdout + made.stderr
    assert "No wrong command got through." in made.stdout and made.stderr == ""
    page = (tmp_path / "edgeguard-demo" / "index.html").read_text(encoding="utf-8")
    assert "no wrong command got through" in page
    found = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    value = {figure["id"]: figure["value"] for figure in found["figures"]}
    assert value["demo.wrong_commands"] == value["guard.clean.wrong_commands"] == 0
    assert value["guard.availability.clean"] >= 0.95
    assert value["demo.bare.wrong_commands"] > 100
    for fault in ("F01", "F03", "F04", "F06", "F10"):
        assert value[f"inject.{fault}.wrong_commands"] == 0


@pytest.mark.usefixtures("only_the_frozen_camera")
def test_a_fault_that_is_let_through_ends_in_1(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A policy that only notes a frozen camera."""
    policy = spoiled(
        tmp_path,
        (r'(\[cause\.FROZEN_INPUT\][^\n]*\n)severity = "FALLBACK"', r'\1severity = "NOMINAL"'),
    )
    out = str(tmp_path / "out")
    made = run("--policy", str(policy), "--allow-unfrozen", "--out", out)
    assert made.return_value == 1
    said = made.output + capfd.readouterr().err
    assert "FAILED demo.wrong_commands" in said and "no evidence" in said
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "Bars that do not hold: demo.wrong_commands" in page


@pytest.mark.usefixtures("only_the_frozen_camera")
def test_the_shipped_policy_holds_on_the_same_stretch(tmp_path: Path) -> None:
    made = run("--out", str(tmp_path))
    assert "ok   demo.wrong_commands" in made.output
    assert "FAILED demo.wrong_commands" not in made.output


def test_another_policy_than_the_frozen_one_is_refused(tmp_path: Path) -> None:
    policy = spoiled(tmp_path, (r"rise = 1\.5", "rise = 1.4"))
    made = run("--policy", str(policy), "--out", str(tmp_path))
    assert "guard.toml: not as fixed before" in str(made.exception)


def test_missing_runtimes_are_named_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(demo.importlib.util, "find_spec", lambda name: None)
    made = run("--out", str(tmp_path))
    assert "pip install 'edgeguard-monitor[onnx,litert]'" in str(made.exception)
