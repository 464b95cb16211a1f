# SPDX-License-Identifier: Apache-2.0
"""QEMU with its plant, its pty in pyserial's hands, and its debugger's port."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import serial

from firmware_bridge.host import HostLink
from firmware_bridge.keys import Keys
from firmware_bridge.mcu.elf import Elf
from firmware_bridge.sim import Sim
from tests.qemu.debugger import Debugger

PATIENCE_S = 30.0  # of a test, on a machine that has much else to do


class Machine:
    """One boot of the firmware; nothing waits for a fixed time, only for what must come."""

    def __init__(self, elf: Path, table: Mapping[str, Any], keys: Keys, folder: Path) -> None:
        self._port = str(folder / "gdb")
        self.symbols = Elf(elf).symbols
        self.host = HostLink(table, keys)
        self.sim = Sim(elf, log=folder / "plant.jsonl", gdb=f"unix:{self._port},server=on,wait=off")
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
            self.host.tick(now_us, 10_000)

    def flip(self, symbol: str, offset: int = 0, mask: int = 1) -> None:
        """Flip bits of a byte in memory while the processor stands."""
        address = self.symbols[symbol].address + offset
        with self.debugger() as debugger:
            (byte,) = debugger.read(address, 1)
            debugger.write(address, bytes([byte ^ mask]))
