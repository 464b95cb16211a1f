# SPDX-License-Identifier: Apache-2.0
"""`edgeguard inject --target qemu`: real processes die, a real reset line is pulled."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeguard.cli.inject import command
from firmware_bridge.campaign.told import Told

pytestmark = pytest.mark.alone


def test_what_was_injected_is_stopped_and_called_by_its_name(tmp_path: Path) -> None:
    to = tmp_path / "figures.json"
    line = ["--target", "qemu", "--faults", "F18,F19", "--n", "2", "--jobs", "2"]
    done = CliRunner().invoke(
        command, [*line, "--results", str(tmp_path), "--json", str(to)], standalone_mode=False
    )
    assert to.exists(), done.output
    found = {figure["id"]: figure for figure in json.loads(to.read_text())["figures"]}
    for fault in ("F18", "F19"):
        assert found[f"mcu.qemu.{fault}.injections"]["value"] == 2
        assert found[f"mcu.qemu.{fault}.wrong_commands"]["value"] == 0
    (kept,) = tmp_path.glob("qemu-*.jsonl")
    rows = [json.loads(line) for line in kept.read_text().splitlines()]
    for fault in ("F18", "F19"):
        again = sum(row["g"] for row in rows if row["f"] == fault)
        assert found[f"mcu.qemu.{fault}.disturbed"]["value"] == again
    for row in rows:
        assert row["t"] is not None
        if row["k"] in ("SIGKILL", "SIGSTOP", "port closed") or row["f"] == "F18":
            assert row["c"], row  # said by the microcontroller to whoever listens then


@pytest.mark.parametrize(
    ("must", "causes", "said", "deaf"),
    [
        (True, {"LINK_LOST"}, set(), True),
        (True, {"LINK_LOST"}, {"LINK_LOST"}, False),
        (True, {"NOT_ARMED"}, set(), False),
        (False, {"LINK_LOST"}, set(), False),
    ],
)
def test_who_lost_the_link_did_not_hear_that_it_was_lost(
    must: bool, causes: set[str], said: set[str], deaf: bool
) -> None:
    assert Told(must=must, causes=frozenset(causes), said=said).deaf is deaf
