# SPDX-License-Identifier: Apache-2.0
"""The microcontroller confirms the head of the log: a log without it was cut."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

pytest.importorskip("mcap", reason="the recorder needs the extra record")

from mcap.opcode import Opcode

from edgeguard import Guard
from edgeguard.cli.run_record import confirmed
from edgeguard.config import mcu_dict
from edgeguard.output.mcu import LOG_EVERY, Behind, InTwin
from edgeguard.output.recorder.log_reader import raw_records
from edgeguard.output.recorder.verify import State, verify, verify_bytes
from edgeguard.zoo import models_dir
from firmware_bridge.host import HostLink
from firmware_bridge.keys import make_keys
from tests.output.recorder.conftest import wait_for


def test_the_twin_confirms_what_is_on_the_disk(tmp_path: Path) -> None:
    guard = Guard.load(models_dir() / "guard.toml")
    log = tmp_path / "flight.mcap"
    guard.record(log, key=tmp_path / "key.json")
    behind = Behind(guard, InTwin(guard.config, make_keys()))
    behind.arm()
    now_ns = 0

    def confirmed() -> bool:
        nonlocal now_ns
        for _ in range(50):
            now_ns += 10_000_000
            behind.decide({"speed": 0.0}, now_ns)
        return behind.log_head is not None and behind.log_head[0] >= 3

    wait_for("a head is confirmed", confirmed)
    head = behind.log_head
    assert head is not None
    guard.close()
    pinned = (tmp_path / "key.pub").read_text().strip()
    assert verify(log, pinned, head[1].hex()).state is State.CLOSED
    data = log.read_bytes()
    seals = [r for r in raw_records(data) if r.opcode == Opcode.METADATA][2:]
    for number, seal in enumerate(seals):
        cut = data[: seal.end] if number < len(seals) - 1 else data
        verdict = verify_bytes(cut, pinned, head[1].hex())
        assert (verdict.state is State.CHANGED) == (number < head[0] - 1), number
        if verdict.state is State.CHANGED:
            assert "was cut" in verdict.text


def test_a_host_that_was_restarted_is_told_how_far_its_log_went(
    caplog: pytest.LogCaptureFixture,
) -> None:
    guard = Guard.load(models_dir() / "guard.toml")
    keys = make_keys()
    mcu = InTwin(guard.config, keys)
    behind = Behind(guard, mcu)
    behind.arm()
    times_ns = itertools.count(10_000_000, 10_000_000)
    for _ in range(5):
        behind.decide({"speed": 0.0}, next(times_ns))
    mcu.log(7, bytes(range(32)))
    for _ in range(5):
        behind.decide({"speed": 0.0}, next(times_ns))
    assert behind.log_head == (7, bytes(range(32)))
    for _ in range(LOG_EVERY):  # a head that is confirmed twice is still of this process
        mcu.log(7, bytes(range(32)))
        behind.decide({"speed": 0.0}, next(times_ns))
    assert not caplog.records
    mcu.host = HostLink(mcu_dict(guard.config), keys)
    mcu.rearm()
    for _ in range(2 * LOG_EVERY):
        behind.decide({"speed": 0.0}, next(times_ns))
    assert confirmed(behind) == []
    told = f"mcu: confirmed the last log's head {bytes(range(32)).hex()} (seal 7)"
    assert caplog.messages == [told]
    guard.close()


@pytest.mark.parametrize("head", ["0" * 64, "no", ""])
def test_a_head_of_another_log(tmp_path: Path, head: str) -> None:
    guard = Guard.load(models_dir() / "guard.toml")
    guard.record(tmp_path / "flight.mcap", key=tmp_path / "key.json")
    guard.close()
    pinned = (tmp_path / "key.pub").read_text().strip()
    assert verify(tmp_path / "flight.mcap", pinned, head).state is State.CHANGED
