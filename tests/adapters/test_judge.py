# SPDX-License-Identifier: Apache-2.0
"""opendbc's safety hooks, compiled from its package, on what the guard commands. The full run is
`make judge`; this is the same with fewer commands."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("can", reason="the extra can")
pytest.importorskip("opendbc", reason="the judge; has no release for this Python")
if shutil.which("cc") is None:  # pragma: no cover
    pytest.skip("no C compiler", allow_module_level=True)

from tests.adapters.judge import drive as loop
from tests.adapters.judge.brands import BRANDS
from tests.adapters.judge.hooks import Hooks

COMMANDS = 20_000
NAMES = sorted(BRANDS)


@pytest.mark.parametrize("name", NAMES)
def test_no_guarded_command_is_blocked(name: str, tmp_path: Path) -> None:
    found = loop.drive(BRANDS[name](), COMMANDS, 0, True, tmp_path)
    assert found.blocked == 0, found.first
    assert found.sent == COMMANDS
    assert found.active > COMMANDS / 4, "the guard drives, it does not only stop"
    assert found.modes["NOMINAL"] > sum(found.modes.values()) / 4, "and the network commands"
    assert {"FALLBACK", "SAFE_STOP"} < set(found.modes)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_network_without_a_guard_is(name: str, tmp_path: Path) -> None:
    found = loop.drive(BRANDS[name](), 2000, 0, False, tmp_path)
    assert found.blocked > 500


WIDER = {
    "rate": ("nissan", r"rise = ([\d.]+)", "rise = {:g}"),
    "angle": (
        "tesla",
        r"range = \[-[\d.]+, ([\d.]+)\], rise = \S+",
        "range = [-300, {:g}], rise = 290,",
    ),
    "acceleration": ("tesla", r"(2).0\]\nrise", "{:g}]\nrise"),
}


@pytest.mark.parametrize("what", WIDER)
def test_a_policy_that_is_wider_than_the_brands_limits_is_caught(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a judge that lets everything pass would look the same."""
    name, old, new = WIDER[what]
    written = loop.policy

    def wider(brand: Any, folder: Path) -> Path:
        path = written(brand, folder)
        text = re.sub(old, lambda m: new.format(min(2 * float(m[1]), 290.0)), path.read_text())
        path.write_text(text.replace("[-3.48, 2.0]\n\n", "[-3.48, 4.0]\n\n"))
        return path

    monkeypatch.setattr(loop, "policy", wider)
    assert loop.drive(BRANDS[name](), 4000, 1, True, tmp_path).blocked > 0


def test_two_of_them_do_not_share_their_state(tmp_path: Path) -> None:
    nissan, tesla = (Hooks(tmp_path, BRANDS[n].mode, BRANDS[n].param) for n in ("nissan", "tesla"))
    idle = bytes([0x7F, 0xFF, 0, 0])
    assert not nissan.lets_through(0x488, idle, 0), "Nissan knows no such frame"
    on = bytes([8, 0, 0])
    nissan.received(0x30F, bytes(3), 2)
    nissan.received(0x30F, on, 2)
    assert nissan.controls_allowed and not tesla.controls_allowed
