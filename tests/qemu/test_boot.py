# SPDX-License-Identifier: Apache-2.0
"""The image on the emulated board: that it boots, how soon it speaks, and how it comes back."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from firmware_bridge.host import HostLink
from firmware_bridge.mcu import footprint
from firmware_bridge.native import ONE
from firmware_bridge.table import table_hash
from tests.qemu.conftest import KEYS
from tests.qemu.machine import Machine, plant_log

pytestmark = pytest.mark.alone

SELF_TEST = {"stack": 1, "ram": 2, "flash": 4, "policy": 8}
BREAK = b"\xfe\xe7"  # Thumb: branch to itself
UNDEFINED = b"\x00\xde"


def test_it_boots_safe_and_says_so_within_a_second(machine: Machine, table: dict[str, Any]) -> None:
    machine.until(lambda host: host.state is not None)
    assert machine.host.state is not None
    assert machine.host.state.stamp_us < 1_000_000  # by its own clock, which starts with it
    assert machine.host.state.mode == "SAFE_STOP"
    assert machine.host.state.output == (0.0, 0.0)
    machine.until(lambda host: host.boot is not None)
    boot = machine.host.boot
    assert boot is not None
    assert (boot.reason, boot.before, boot.resets, boot.self_test) == ("POWER", "POWER", 0, 0)
    assert boot.table == table_hash(table)


def test_a_vehicle_in_motion_is_measured_and_stopped(
    firmware: Path, table: dict[str, Any], tmp_path: Path
) -> None:
    with Machine(firmware, table, KEYS, tmp_path, speed=8.0) as machine:
        machine.until(lambda host: host.state is not None and host.state.speed > 0.0)
        assert machine.host.state is not None
        assert 4.0 < machine.host.state.speed <= 8.0
        assert machine.host.state.output[0] > 0.0  # it does not stop at once
        machine.until(lambda host: host.state is not None and host.state.output[0] == 0.0)
    speeds = [row["target_q16"] for row in plant_log(tmp_path / "plant.jsonl")]
    braking = speeds[speeds.index(max(speeds)) :]
    assert braking[0] > 4.0 * ONE
    assert all(0 <= a - b <= 4.0 * ONE / 100 + 1 for a, b in pairwise(braking))


def _reset(machine: Machine, reason: str) -> int:
    """Wait for it, and what BOOT says of the self-test."""
    machine.until(_came_back)
    boot = machine.host.boot
    assert boot is not None and machine.host.state is not None
    assert boot.reason == reason
    assert machine.host.state.mode == "SAFE_STOP"
    return boot.self_test


def _patch(machine: Machine, code: bytes) -> None:
    """Change what the next turn runs; the reset loads the image again."""
    machine.until(lambda host: host.boot is not None)
    with machine.debugger() as debugger:
        debugger.write(machine.symbols["eg_mcu_step"].address & ~1, code)


def test_a_hung_loop_is_reset_by_the_hardware_watchdog(machine: Machine) -> None:
    _patch(machine, BREAK)
    assert _reset(machine, "WATCHDOG") == 0


def test_an_exception_of_the_processor_is_named(machine: Machine) -> None:
    _patch(machine, UNDEFINED)
    assert _reset(machine, "FAULT") == 0


def _came_back(host: HostLink) -> bool:
    return host.boot is not None and host.boot.resets > 0


def test_a_bit_that_flips_in_ram_is_found(machine: Machine) -> None:
    """Between two turns, where it is nearly always; one in the middle of a turn is that turn's. A
    busy machine may hold it up there, so bits flip turns apart until one is found."""
    machine.until(lambda host: host.boot is not None)
    for bit in range(8):
        machine.flip("mcu", 40, bit)
        frames = sum(machine.host.counts.values()) + 5
        machine.until(lambda host, n=frames: _came_back(host) or sum(host.counts.values()) >= n)
        if _came_back(machine.host):
            break
    assert _reset(machine, "SELF_TEST") == SELF_TEST["ram"] << 16


def test_a_bit_that_flips_in_the_table_is_found(machine: Machine) -> None:
    machine.until(lambda host: host.boot is not None)
    machine.flip("eg_mcu_config", 5, 7)
    assert _reset(machine, "SELF_TEST") >> 16 & SELF_TEST["policy"]


def test_a_bit_that_flips_in_code_is_found(machine: Machine) -> None:
    machine.until(lambda host: host.boot is not None)
    machine.flip("eg_known_answers", 20, 4)  # runs at boot alone
    assert _reset(machine, "SELF_TEST") == SELF_TEST["flash"] << 16


def test_a_stack_that_was_too_deep_is_found(machine: Machine) -> None:
    machine.until(lambda host: host.boot is not None)
    machine.flip("eg_stack_limit")
    assert _reset(machine, "SELF_TEST") == SELF_TEST["stack"] << 16


def test_it_is_small_enough(firmware: Any) -> None:
    found = footprint.measure(firmware.parent)
    assert found.flash <= footprint.FLASH_BAR
    assert found.ram <= footprint.RAM_BAR
