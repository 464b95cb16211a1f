# SPDX-License-Identifier: Apache-2.0
"""Faults against the firmware in QEMU, in real time: the host is a process of its own on the pty,
the vehicle another, and what the vehicle logged is judged.

An emulated microcontroller shares its processor with everything else. Attempts in which its own
timer shows that it did not get it, or in which the host's loop was held up, are counted and made
again.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from edgeguard.errors import EdgeguardError
from edgeguard.sandbox import end_with
from firmware_bridge.campaign import run
from firmware_bridge.campaign.case import KEYS, Fault
from firmware_bridge.campaign.faults_live import BY_ID
from firmware_bridge.campaign.gdb import Debugger
from firmware_bridge.campaign.judge import SAFE_US, Judge, Limits
from firmware_bridge.campaign.live import Disturbed, LiveCase
from firmware_bridge.campaign.priority import first_in_line
from firmware_bridge.campaign.run import Progress
from firmware_bridge.campaign.store import Row, Store
from firmware_bridge.campaign.told import Told
from firmware_bridge.keys import Keys
from firmware_bridge.mcu.elf import Elf
from firmware_bridge.sim import Sim, build

ATTEMPTS = 25
GAP_US = 15_000  # between two turns: more than half a period late, as the firmware itself sees it
LATE_TURN_US = 100  # of a turn by its own timer, where the time to the ramp is judged
WIRE_US = 8_000  # a byte's way to the firmware; only for what counts as fresh, never for the ramp
HEARING_US = 25_000  # a frame on its way, then the next turn, which may be late by half
AFTER_S = 0.6  # the stop is watched for that long
CASE_S = 20.0
TRIPS = {"LINK_LOST", "LINK_FAULTY", "ANSWER_WRONG", "TIME_FAULT"}


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
            if self.told.deaf:
                self._listen(sim.port)
        self.rows = [
            row
            for row in map(_parsed, self._log.read_text(encoding="utf-8").splitlines())
            if row is not None
        ]
        if self.told.disturbed:
            raise Disturbed(self.told.disturbed)
        if not self.told.begin_us:
            raise Disturbed("the host ended before the fault")

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
        with Debugger(self._gdb) as debugger:
            if what == "reset":
                debugger.reset()
            else:
                self._flip(debugger, *more)
        self.told.done.append((_now_us(), what))
        if what == "reset" and more[0]:
            time.sleep(more[0] / 1000)
            with Debugger(self._gdb) as debugger:
                debugger.reset()
        return False

    def _flip(self, debugger: Debugger, kind: str, where: int, bit: int) -> None:
        symbols = Elf(self._elf).symbols
        if kind == "flash":
            at, size = symbols["eg_image_start"].address, symbols["eg_image_bytes"].address
        else:
            found = symbols[{"ram": "mcu", "policy": "eg_mcu_config", "core": "eg_decide"}[kind]]
            at, size = found.address & ~1, found.size
        debugger.flip(at + where % size, bit)

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


class _Log(NamedTuple):
    """A command that reached the vehicle."""

    at_us: int
    stamp_us: int
    number: int
    output: tuple[int, int]
    measured: tuple[int, int]


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and "target_q16" in row else None


def _now_us() -> int:
    return time.monotonic_ns() // 1000


# ------------------------------------------------------------------ the judge


def judged(attempt: _Run, fault: Fault, index: int, table: Mapping[str, Any]) -> Row:
    """What the vehicle's log says. Raises Disturbed when the microcontroller was held up."""
    told = attempt.told
    log = [
        _Log(
            row["t_ns"] // 1000, row["stamp_us"], row["count"],
            (row["target_q16"], row["steering_q16"]),
            (round(row["speed"] * 65536), round(row["angle"] * 65536)),
        )
        for row in attempt.rows
    ]  # fmt: skip
    log = _on_own_clock(log)
    judge = Judge(Limits(table), tolerance=6500, hearing_us=HEARING_US)
    waiting = sorted(told.arrivals)
    for before, row in zip([log[0], *log], log, strict=False):
        while waiting and waiting[0][0] <= row.at_us:
            at_us, number, decided_us, command, engaged = waiting.pop(0)
            judge.arrived(at_us + WIRE_US, number, decided_us + WIRE_US, command, engaged)
        judge.on = row.at_us > told.on_us + 100_000
        if _boots(before, row):
            judge.cut()  # a command of the turn that it ended may have been on its way
            judge.booted(row.at_us)
        elapsed_us = (row.stamp_us - before.stamp_us) & 0xFFFFFFFF
        judge.turn(row.at_us, row.output, row.measured, False, elapsed_us)
    done = [at for at, what in told.done if what in ("reset", "flip")]
    evidence = done[0] if done else told.evidence_us
    ramp_us = judge.ramp_us(told.begin_us)
    _undisturbed(log, told, ramp_us)
    why = list(told.wrong)
    good = [at for at, *_ in told.arrivals if ramp_us is None or at <= ramp_us]
    since = evidence if evidence is not None else (good[-1] if good else None)
    safe_us = None
    if told.must and ramp_us is None and log[-1].output[0] > 0:
        why.append("does not stop")
    elif _hung(log, told):
        told.kind += ", hung"
    elif told.must and ramp_us is not None and since is not None:
        safe_us = max(0, ramp_us - since)
        if safe_us > judge.limits.safe_us:
            _in_time(log, since, ramp_us, judge.limits.period_us)
            why.append(f"begins to stop {safe_us} us after the last good frame")
    tripped = ramp_us is not None and bool(told.said & TRIPS) and "NOT_ARMED" not in told.said
    texts = [f"{(t - told.begin_us) / 1000:.0f} ms: {text}" for t, text in judge.wrong[:3]]
    found: dict[str, Any] = {
        "f": fault.id, "i": index, "k": told.kind,
        "w": len({t for t, _ in judge.wrong}) + len(why), "t": safe_us,
        "c": bool(told.said & told.causes) if told.must and told.causes else None,
        "x": int(told.must is False and tripped),
    }  # fmt: skip
    return {**found, "why": (why + texts)[:4]} if why or texts else found


def _boots(before: _Log, row: _Log) -> bool:
    return row.number <= before.number and row.stamp_us < before.stamp_us


def _on_own_clock(log: list[_Log]) -> list[_Log]:
    """When the firmware wrote each command, on the machine's clock: from its own stamps and the
    shortest way that a command took since it booted. How long the vehicle's process waited for a
    processor is no delay of the firmware's."""
    boots = [i for i, (a, b) in enumerate(itertools.pairwise(log), 1) if _boots(a, b)]
    timed: list[_Log] = []
    for begin, end in itertools.pairwise([0, *boots, len(log)]):
        part = log[begin:end]
        ran_us = [(row.stamp_us - part[0].stamp_us) & 0xFFFFFFFF for row in part]
        zero_us = min(row.at_us - ran for row, ran in zip(part, ran_us, strict=True))
        timed += [row._replace(at_us=zero_us + ran) for row, ran in zip(part, ran_us, strict=True)]
    return timed


def _undisturbed(log: list[_Log], told: Told, ramp_us: int | None) -> None:
    """By its own timer, from shortly before the fault to the ramp. Raises Disturbed."""
    end_us = (ramp_us or told.begin_us + 500_000) + 20_000
    span = [row for row in log if told.begin_us - 100_000 <= row.at_us <= end_us]
    if len(span) < 2:
        raise Disturbed("the vehicle logged nothing")
    for a, b in itertools.pairwise(span):
        gap_us = (b.stamp_us - a.stamp_us) & 0xFFFFFFFF
        lost = (b.number - a.number) & 0xFFFF != 1
        if (gap_us > GAP_US or lost) and not _boots(a, b):
            raise Disturbed(f"its loop was held up for {gap_us / 1000:.0f} ms")


def _hung(log: list[_Log], told: Told) -> bool:
    """A flip in the middle of a turn may leave the processor in a loop: then its hardware watchdog
    resets it (twice 200 ms in QEMU), and until then the actuators hold the last command."""
    resets = [b.at_us - a.at_us for a, b in itertools.pairwise(log) if _boots(a, b)]
    return any(done == "flip" for _, done in told.done) and max(resets, default=0) > SAFE_US


def _in_time(log: list[_Log], from_us: int, to_us: int, period_us: int) -> None:
    """The time to the ramp holds for a loop that keeps its period. Raises Disturbed."""
    for a, b in itertools.pairwise(log):
        late_us = ((b.stamp_us - a.stamp_us) & 0xFFFFFFFF) - period_us
        if from_us <= b.at_us <= to_us and late_us > LATE_TURN_US and not _boots(a, b):
            raise Disturbed(f"its loop was {late_us} us late before it stopped")


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
    return [_stands(elf, BY_ID[fault], index, seed, table) for index in indices]


def _stands(elf: Path, fault: Fault, index: int, seed: int, table: Mapping[str, Any]) -> Row:
    """An injection that the machine did not disturb, and how many before it were ("g")."""
    why = ""
    for attempt in range(ATTEMPTS):
        with tempfile.TemporaryDirectory(prefix="edgeguard-inject-") as folder:
            attempted = _Run(elf, table, KEYS, Path(folder))
            try:
                attempted.go(fault, index, f"{seed}/{fault.id}/{index}/{attempt}")
                return {**judged(attempted, fault, index, table), "g": attempt}
            except (Disturbed, EdgeguardError, OSError) as disturbed:
                why = str(disturbed)
    raise EdgeguardError(
        f"{fault.id} {index}: {ATTEMPTS} attempts were disturbed ({why}); use a quiet machine"
    )
