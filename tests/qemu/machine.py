# SPDX-License-Identifier: Apache-2.0
"""QEMU with its plant, its pty in pyserial's hands, and its debugger's port."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import serial

from firmware_bridge.campaign.gdb import Debugger
from firmware_bridge.host import HostLink
from firmware_bridge.keys import Keys
from firmware_bridge.mcu.elf import Elf
from firmware_bridge.sim import Sim

PATIENCE_S = 30.0  # of a test, on a machine that has much else to do


def plant_log(path: Path) -> list[dict[str, Any]]:
    """The commands that reached the vehicle; a last line may be cut."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines[1:] if line.endswith("}")]


class Machine:
    """One boot of the firmware; nothing waits for a fixed time, only for what must come."""

    def __init__(
        self, elf: Path, table: Mapping[str, Any], keys: Keys, folder: Path, speed: float = 0.0
    ) -> None:
        """speed: of the vehicle when it boots, m/s."""
        self._port = str(folder / "gdb")
        self.symbols = Elf(elf).symbols
        self.host = HostLink(table, keys)
        self.sim = Sim(
            elf,
            log=folder / "plant.jsonl",
            speed=speed,
            gdb=f"unix:{self._port},server=on,wait=off",
        )
        self.serial = serial.Serial(self.sim.port, 1_000_000, timeout=0.05)

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: object) -> None:
        self.serial.close()
        self.sim.close()

    def debugger(self) -> Debugger:
        """Halts the processor as long as it is open."""
        return Debugger(self._port)

    def until(self, what: Callable[[HostLink], bool]) -> None:
        """Listen until it is true of what was heard."""
        end_s = time.monotonic() + PATIENCE_S
        while not what(self.host):
            assert time.monotonic() < end_s, (self.host.state, self.host.boot, self.host.counts)
            now_us = time.monotonic_ns() // 1000
            self.host.receive(self.serial.read(max(1, self.serial.in_waiting)), now_us)
            self.host.tick(now_us)

    def flip(self, symbol: str, offset: int = 0, bit: int = 0) -> None:
        """Flip a bit in memory while the processor stands."""
        with self.debugger() as debugger:
            debugger.flip(self.symbols[symbol].address + offset, bit)
