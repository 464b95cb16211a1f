# SPDX-License-Identifier: Apache-2.0
"""Faults against the firmware in QEMU, in real time: the host is a process of its own on the pty,
the vehicle another, and what the vehicle logged is judged.

An emulated microcontroller shares its processor with everything else. Attempts in which its own
timer shows that it did not get it, or in which the host's loop was held up, are counted and made
again, the same fault at the same moment (`logged`). What holds its turns up again and again is the
fault itself, and wrong.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from edgeguard.errors import EdgeguardError
from edgeguard.sandbox import end_with
from firmware_bridge.campaign import run
from firmware_bridge.campaign.case import KEYS, Fault
from firmware_bridge.campaign.faults_live import BY_ID
from firmware_bridge.campaign.gdb import Debugger
from firmware_bridge.campaign.live import Disturbed, Held, LiveCase
from firmware_bridge.campaign.logged import judged
from firmware_bridge.campaign.priority import first_in_line
from firmware_bridge.campaign.run import Progress
from firmware_bridge.campaign.store import Row, Store
from firmware_bridge.campaign.told import Told
from firmware_bridge.keys import Keys
from firmware_bridge.mcu.elf import Elf
from firmware_bridge.sim import Sim, build

ATTEMPTS = 25
AGAIN = 10  # attempts in which the fault holds the firmware up: it is no accident
AFTER_S = 0.6  # the stop is watched for that long
CASE_S = 20.0


def _host(
    fault: str, index: int, seed: str, table: Mapping[str, Any], keys: Keys, port: str, tell: int
) -> None:
    """The child process."""
    end_with(os.getppid())
    case = LiveCase(BY_ID[fault], index, table, Random(seed), keys, port, tell)
    try:
        first_in_line(os.getpid())
        BY_ID[fault].inject(case)
        case.end()
    except Disturbed as why:
        os.write(tell, (json.dumps(["disturbed", str(why)]) + "\n").encode())
    except OSError as why:
        os.write(tell, (json.dumps(["gone", str(why)]) + "\n").encode())


class _Run:
    """One attempt: QEMU, vehicle and host, started and ended."""

    def __init__(self, elf: Path, table: Mapping[str, Any], keys: Keys, folder: Path) -> None:
        self._elf, self._table, self._keys = elf, table, keys
        self._gdb = folder / "gdb"
        self._log = folder / "plant.jsonl"
        self.told = Told()
        self.rows: list[dict[str, Any]] = []

    def go(self, fault: Fault, index: int, seed: str) -> None:
        """Raises Disturbed."""
        with Sim(self._elf, log=self._log, gdb=f"unix:{self._gdb},server=on,wait=off") as sim:
            first_in_line(sim.qemu.pid)
            first_in_line(sim.plant.pid)
            reader, writer = os.pipe()
            context = multiprocessing.get_context("fork")
            child = context.Process(
                target=_host,
                args=(fault.id, index, seed, self._table, self._keys, sim.port, writer),
            )
            child.start()
            os.close(writer)
            try:
                self._attend(reader, child)
            finally:
                os.close(reader)
                child.kill()
                child.join()
            self._ended(sim)
            if self.told.deaf:
                self._listen(sim.port)
        self.rows = [
            row
            for row in map(_parsed, self._log.read_text(encoding="utf-8").splitlines())
            if row is not None
        ]
        if self.told.disturbance:
            raise Disturbed(self.told.disturbance)
        if not self.told.begin_us:
            raise Disturbed("the host ended before the fault")

    def _ended(self, sim: Sim) -> None:
        """QEMU ends when the processor locks up, which on a chip its watchdog would end. A flip in
        its code may lead to that, nothing else."""
        if sim.qemu.poll() is None:
            return
        self.told.disturbed = ""  # the host only says that its port is gone
        if self.told.flips:
            self.told.locked = True
        else:
            self.told.wrong.append("the processor locked up")

    def _attend(self, reader: int, child: Any) -> None:
        """Do what it asks for, until it ends."""
        held = b""
        end_s = time.monotonic() + CASE_S
        while time.monotonic() < end_s:
            try:
                data = os.read(reader, 65536)
            except BlockingIOError:
                return  # it stands, and all that it sent before is told
            if not data:
                return
            *lines, held = (held + data).split(b"\n")
            for line in lines:
                row = json.loads(line)
                if row[0] == "do":
                    if self._do(child, *row[1:]):
                        os.set_blocking(reader, False)
                else:
                    self.told.hear(row)
        raise Disturbed("the host did not end")

    def _do(self, child: Any, what: str, *more: Any) -> bool:
        """True: the host is no longer there to be listened to."""
        if what.startswith("SIG"):
            self.told.done.append((_now_us(), what))
            os.kill(child.pid, getattr(signal, what))
            time.sleep(AFTER_S)
            return True
        place = self._place(*more) if what == "flip" else None
        with Debugger(self._gdb) as debugger:
            if place is None:
                debugger.reset()
            else:
                debugger.flip(*place)
            self.told.done.append((_now_us(), what))
        if what == "reset" and more[0]:
            time.sleep(more[0] / 1000)
            with Debugger(self._gdb) as debugger:
                debugger.reset()
                self.told.done.append((_now_us(), what))
        return False

    def _place(self, kind: str, where: int, bit: int) -> tuple[int, int]:
        """Address and bit. Looked up before the processor is halted."""
        symbols = Elf(self._elf).symbols
        if kind == "flash":
            at, size = symbols["eg_image_start"].address, symbols["eg_image_bytes"].address
        else:
            found = symbols[{"ram": "mcu", "policy": "eg_mcu_config", "core": "eg_decide"}[kind]]
            at, size = found.address & ~1, found.size
        return at + where % size, bit

    def _listen(self, port: str) -> None:
        """The host has ended; what does the microcontroller say?"""
        import serial

        from firmware_bridge.host import HostLink

        host = HostLink(self._table, self._keys)
        with serial.Serial(port, 1_000_000, timeout=0.05) as line:
            end_s = time.monotonic() + 0.5
            while time.monotonic() < end_s and host.state is None:
                host.receive(line.read(256), _now_us())
        if host.state is not None:
            self.told.said |= set(host.state.causes)


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and "target_q16" in row else None


def _now_us() -> int:
    return time.monotonic_ns() // 1000


def campaign(
    counts: Mapping[str, int],
    seed: int,
    table: Mapping[str, Any],
    store: Store,
    jobs: int,
    progress: Progress = lambda fault, done: None,
) -> None:
    """Make the injections that the store lacks: so many of each fault. Raises EdgeguardError.

    jobs: microcontrollers side by side, each with its host and its vehicle on one core.
    """
    with tempfile.TemporaryDirectory(prefix="edgeguard-inject-") as folder:
        elf = build(table, KEYS, Path(folder) / "build")
        make = partial(_chunk, elf=elf, seed=seed, table=table)
        run.campaign(counts, store, make, jobs=jobs, progress=progress, each=1, pinned=True)


def _chunk(
    fault: str, indices: Sequence[int], elf: Path, seed: int, table: Mapping[str, Any]
) -> list[Row]:
    return [
        stands(partial(_attempt, elf, BY_ID[fault], index, seed, table), fault, index)
        for index in indices
    ]


def _attempt(elf: Path, fault: Fault, index: int, seed: int, table: Mapping[str, Any]) -> Row:
    with tempfile.TemporaryDirectory(prefix="edgeguard-inject-") as folder:
        attempted = _Run(elf, table, KEYS, Path(folder))
        attempted.go(fault, index, f"{seed}/{fault.id}/{index}")
        return judged(attempted.told, attempted.rows, fault, index, table)


def stands(attempt: Callable[[], Row], fault: str, index: int) -> Row:
    """The first attempt that the machine did not disturb, and how many before it were ("g").

    One whose firmware is held up from the fault on AGAIN times is wrong. Raises EdgeguardError.
    """
    held, why = 0, ""
    for attempts in range(ATTEMPTS):
        try:
            return {**attempt(), "g": attempts}
        except Held as late:
            held, why = held + 1, str(late)
            if held == AGAIN:
                return {
                    "f": fault, "i": index, "k": late.kind, "w": 1, "t": None, "c": None, "x": 0,
                    "why": [f"{why}, in {held} attempts"], "g": attempts + 1 - held,
                }  # fmt: skip
        except (Disturbed, EdgeguardError, OSError) as disturbed:
            why = str(disturbed)
    raise EdgeguardError(
        f"{fault} {index}: {ATTEMPTS} attempts were disturbed ({why}); use a quiet machine"
    )
