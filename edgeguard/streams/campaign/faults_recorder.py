# SPDX-License-Identifier: Apache-2.0
"""The recorder loses its disk, its process, its guard, or its log is changed: F25. The guard
decides on, and the log says the truth about itself. Needs the extra `record`."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import define, field

from edgeguard._core import Mode, Policy, Replayer
from edgeguard.sandbox import command_line
from edgeguard.streams.campaign.case import Case
from edgeguard.streams.campaign.fault import Fault

if TYPE_CHECKING:
    from edgeguard.output.recorder import Recorder
    from edgeguard.output.recorder.verify import Verdict

WAIT_S = 30.0  # for what a loaded machine does at some time
FULL_S = 2.0  # until a full disk is known: a flush or two, and a second for the machine
GONE_S = 4.5  # until a recorder that stands still or is gone is known: 3.5 s, and a second
DRIVEN_S = (1.2, 2.5)  # before a log ends: long enough that something has to be in it
KEPT_S = 1.0  # what is older than that is on the disk: one flush interval, and one for the machine
FOR_GOOD = 0.1  # of the full disks: to give up takes the recorder 5 s
BOTH = 0.4  # of the killed guards take their recorder along
NOTICED = 0.2  # of the stops: that takes the guard 3 s
TAMPERS = 10
_TOLD = struct.Struct("<QQ")  # of a guard that will be killed: sequence, wrong commands so far


@define
class Flight:
    """A recording of a case in a folder of its own."""

    case: Case
    folder: Path
    made: list[tuple[float, int]] = field(factory=list)
    """Of ticks that were paced: when they were made, and their sequence."""

    @property
    def log(self) -> Path:
        return self.folder / "flight.mcap"

    def begin(self) -> Recorder:
        """Record, arm and drive."""
        recorder = self.case.guard.record(self.log, key=self.folder / "key.json")
        self.case.start()
        return recorder

    def paced(self, seconds: float) -> None:
        """Drive for that long on the clock, faster than it."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            self.made.append((time.monotonic(), self.case.turn().sequence))
            time.sleep(0.002)

    def until(self, what: str, holds: Callable[[], bool], within_s: float = WAIT_S) -> bool:
        """Drive until that is so; wrong when it is not in time."""
        end_s = time.monotonic() + within_s
        while not holds():
            if time.monotonic() > end_s:
                self.case.wrong(f"waited {within_s:g} s in vain: {what}")
                return False
            self.paced(0.02)
        return True

    @property
    def lost(self) -> bool:
        return "RECORDER_LOST" in self.case.decision.present

    def kept(self, killed_s: float) -> int:
        """The last decision that a recorder which was killed then has to have kept."""
        return max((n for t, n in self.made if t < killed_s - KEPT_S), default=0)

    def check(self, closed: bool, least: int = 0) -> None:
        """The log is what was recorded, up to where it says that it ends, and replays."""
        from edgeguard.output.recorder.verify import State
        from edgeguard.replay import replay

        found = self.verdict()
        want = State.CLOSED if closed else State.NOT_CLOSED
        if found.state is not want:
            self.case.wrong(f"log: {found.text}, want {want.name}")
            return
        if found.decisions < least:
            self.case.wrong(f"log ends at decision {found.decisions}, want {least} at least")
        outcome = replay(self.log)
        if outcome.difference:
            self.case.wrong(f"replay: {outcome.difference}")
        if outcome.decisions + outcome.unknown != found.decisions:
            self.case.wrong(f"replay: {outcome.decisions} of {found.decisions} decisions")
        for missing, told in self._gaps(closed):
            if missing > told:
                self.case.wrong(f"log: {missing} decisions are missing, it tells {told}")

    def _gaps(self, closed: bool) -> Iterator[tuple[int, int]]:
        """Decisions that are missing somewhere, and how many records are, as the log says there."""
        from edgeguard.output.recorder.log_reader import Log
        from edgeguard.output.recorder.topics import DECISION, GAP
        from edgeguard.replay import policy_of, tape_of

        log, last, told = Log(self.log), 0, 0
        replayer = Replayer(Policy(policy_of(log)))
        for record in tape_of(log):
            if record[0] == GAP:
                told += int.from_bytes(record[1:5], "little")
            elif record[0] == DECISION:
                sequence = replayer.decision(record)[1].sequence
                yield sequence - last - 1, told
                last, told = sequence, 0
        if closed:
            yield self.case.decision.sequence - last, told

    def verdict(self) -> Verdict:
        """What `edgeguard verify-log` says."""
        from edgeguard.output.recorder.verify import verify

        return verify(self.log, (self.folder / "key.pub").read_text().strip())


def _calm(c: Case) -> None:
    """A lost recorder warns and does no more, unless the policy says otherwise."""
    if c.config.causes["RECORDER_LOST"].severity == "NOMINAL" and c.worst >= Mode.FALLBACK:
        c.trips_falsely("for a lost recorder")


def _limit(process_id: int, size: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.prlimit(process_id, resource.RLIMIT_FSIZE, (size, hard))


def full_disk(c: Case, flight: Flight) -> None:
    """The file may not grow, for a while or for good; the memory before it may fill, too."""
    recorder = flight.begin()
    flight.paced(c.rng.uniform(*DRIVEN_S))
    for_good, fills = c.rng.random() < FOR_GOOD, c.rng.random() < 0.3
    c.hold()
    kind = f"disk full{' for good' if for_good else ''}{', then memory' if fills else ''}"
    c.begin(kind, must_be_named=True)
    full_s = time.monotonic()
    _limit(recorder.process_id, flight.log.stat().st_size + c.rng.randint(0, 5000))
    known = flight.until("RECORDER_LOST", lambda: flight.lost, FULL_S)
    while fills and known and recorder.tape.waiting < recorder.tape.room - 1000:
        c.go(500)
    c.go(c.rng.uniform(100, 2000))
    if not for_good:
        _limit(recorder.process_id, resource.RLIM_INFINITY)
        flight.until("room again", lambda: not flight.lost)
        c.go(c.rng.uniform(100, 1000))
    _calm(c)
    c.end()
    c.guard.close()
    flight.check(closed=not for_good, least=flight.kept(full_s))


def killed(c: Case, flight: Flight) -> None:
    """The process that writes is killed."""
    recorder = flight.begin()
    flight.paced(c.rng.uniform(*DRIVEN_S))
    c.hold()
    c.begin("recorder killed", must_be_named=True)
    killed_s = time.monotonic()
    os.kill(recorder.process_id, signal.SIGKILL)
    flight.until("RECORDER_LOST", lambda: flight.lost, GONE_S)
    c.go(c.rng.uniform(100, 1000))
    _calm(c)
    c.end()
    c.guard.close()
    flight.check(closed=False, least=flight.kept(killed_s))


def stopped(c: Case, flight: Flight) -> None:
    """The process that writes stands still, now and then until that is noticed; nothing is
    missing."""
    recorder, noticed = flight.begin(), c.rng.random() < NOTICED
    c.hold()
    c.begin(f"recorder stopped{' for long' if noticed else ''}", must_be_named=noticed)
    os.kill(recorder.process_id, signal.SIGSTOP)
    if noticed:
        flight.until("RECORDER_LOST", lambda: flight.lost, GONE_S)
    flight.paced(c.rng.uniform(0.05, 0.8))
    os.kill(recorder.process_id, signal.SIGCONT)
    if noticed:
        flight.until("it writes again", lambda: not flight.lost)
    c.go(c.rng.uniform(100, 1000))
    _calm(c)
    c.end()
    c.guard.close()
    flight.check(closed=True)


def guard_killed(c: Case, flight: Flight) -> None:
    """The process that decides is killed; the recorder writes what it left, if it lives."""
    both = c.rng.random() < BOTH
    c.kind = "guard and recorder killed" if both else "guard killed"
    hear, tell = os.pipe()
    child = os.fork()
    if child == 0:
        _decide_until_killed(flight, tell)
    os.close(tell)
    with os.fdopen(hear, "rb", buffering=0) as ear:
        recorder_id, _ = _TOLD.unpack(_read(ear, _TOLD.size))
        told = [(time.monotonic(), *_TOLD.unpack(_read(ear, _TOLD.size)))]  # the first decision
        end_s = time.monotonic() + c.rng.uniform(*DRIVEN_S)
        while time.monotonic() < end_s:
            if select.select([ear], [], [], 0.01)[0]:
                told.append((time.monotonic(), *_TOLD.unpack(_read(ear, _TOLD.size))))
        killed_s = time.monotonic()
        if both:
            os.kill(recorder_id, signal.SIGKILL)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        while rest := ear.read(_TOLD.size):
            told.append((time.monotonic(), *_TOLD.unpack(rest)))
    flight.made = [(t, sequence) for t, sequence, _ in told]
    if told[-1][2]:
        c.wrong(f"{told[-1][2]} wrong commands before it was killed")
    if not _gone(recorder_id):
        c.wrong("the recorder of a dead guard lives on")
    flight.check(closed=False, least=flight.kept(killed_s) if both else told[-1][1])


def _decide_until_killed(flight: Flight, tell: int) -> None:
    """The process that will be killed: never returns."""
    try:
        recorder, c = flight.begin(), flight.case
        os.write(tell, _TOLD.pack(recorder.process_id, 0))
        while True:
            sequence = c.turn().sequence
            os.write(tell, _TOLD.pack(sequence, len(c.judge.wrong) + len(c.why)))
            time.sleep(0.002)
    finally:
        os._exit(1)


def _read(ear: Any, count: int) -> bytes:
    data = ear.read(count)
    if len(data) < count:
        raise RuntimeError("the guard that was to be killed ended by itself")
    return bytes(data)


def _gone(process_id: int) -> bool:
    """Wait for a process that is not ours to end."""
    end_s = time.monotonic() + WAIT_S
    while time.monotonic() < end_s:
        try:
            state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.005)
    return False


def tampered(c: Case, flight: Flight) -> None:
    """A closed log is changed afterwards: bits, cuts, pieces moved, put in or taken out."""
    from edgeguard.output.recorder.verify import State, verify_bytes

    flight.begin()
    c.go(c.rng.uniform(500, 3000))
    c.guard.close()
    c.kind = "log changed"
    flight.check(closed=True)
    data, pinned = flight.log.read_bytes(), (flight.folder / "key.pub").read_text().strip()
    whole = verify_bytes(data, pinned)
    for _ in range(TAMPERS):
        how, changed = _tamper(c, data)
        found = verify_bytes(changed, pinned)
        # Out of the index behind the last record, which a power cut may shorten, too.
        of_index = how == "taken out" and found.records == whole.records
        may_end = how == "cut" or of_index
        if found.state is State.CLOSED or (found.state is State.NOT_CLOSED and not may_end):
            c.wrong(f"log: {how} is not found")


def _tamper(c: Case, data: bytes) -> tuple[str, bytes]:
    at, count = c.rng.randrange(len(data)), c.rng.randint(1, 200)
    how = c.rng.choice(("flip", "cut", "moved", "put in", "taken out"))
    if how == "flip":
        changed = data[:at] + bytes([data[at] ^ 1 << c.rng.randrange(8)]) + data[at + 1 :]
    elif how == "cut":
        changed = data[:at]
    elif how == "moved":
        changed = data[at:] + data[:at]
    elif how == "put in":
        changed = data[:at] + c.rng.randbytes(count) + data[at:]
    else:
        changed = data[:at] + data[at + count :]
    return ("cut", data[:-1]) if changed == data else (how, changed)


def full_sink(c: Case, flight: Flight) -> None:
    """`edgeguard run` writes its decisions to a file that may not grow any more, and to a pipe:
    there they go on, tick by tick."""
    c.kind = "a log sink's disk full"
    process = _run(c, flight.folder)
    assert process.stdout is not None
    left, last, told = c.rng.randint(20, 100), None, False
    for line in process.stdout:
        said = json.loads(line)
        if last is not None and said["sequence"] != last + 1 + said.get("lost", 0):
            c.wrong(f"decision {said['sequence']} after {last}")
        last, left, told = said["sequence"], left - 1, told or "RECORDER_LOST" in said["present"]
        if left == 0:
            _limit(process.pid, (flight.folder / "out.jsonl").stat().st_size + c.rng.randint(0, 99))
    c.named = told
    if process.wait() != 0 or left > 0:
        assert process.stderr is not None
        c.wrong(f"the run ended: {process.stderr.read().strip().splitlines()[-1:]}")


def _run(c: Case, folder: Path) -> subprocess.Popen[str]:
    """For two seconds of noise, with signals in the middle of their ranges."""
    config = c.config
    camera, row = next(iter(config.cameras.items()))
    noise = np.random.default_rng(c.index).integers(0, 256, (int(2 * row.rate_hz), 32, 32, 3))
    np.savez(folder / "noise.npz", x=noise.astype(np.uint8))
    signals = [f"{n}={(s.range.low + s.range.high) / 2}" for n, s in config.signals.items()]
    line = [*command_line("edgeguard.cli.main"), "run", str(config.source), "--realtime",
            "--camera", camera, "--source", str(folder / "noise.npz"),
            "--sink", str(folder / "out.jsonl"), "--sink", "-"]  # fmt: skip
    line += [word for signal in signals for word in ("--signal", signal)]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


KINDS = (
    full_disk, full_disk, killed, stopped, guard_killed, guard_killed, tampered, full_sink,
)  # fmt: skip


def recorder_fails(c: Case) -> None:
    """F25."""
    with tempfile.TemporaryDirectory(prefix="edgeguard-inject-") as folder:
        c.rng.choice(KINDS)(c, Flight(c, Path(folder)))


FAULTS = (
    Fault("F25", "recorder and log", "full disks, kill -9 of recorder, guard or both, changed logs",
          frozenset({"RECORDER_LOST"}), recorder_fails, most=300),
)  # fmt: skip
