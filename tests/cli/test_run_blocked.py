# SPDX-License-Identifier: Apache-2.0
"""Outputs that take nothing: a real pty, a real pipe, a callable that hangs. The ticks go on."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeguard.cli.run_outputs import Outputs
from edgeguard.errors import EdgeguardError
from edgeguard.intake.sources import Frame
from edgeguard.loop import Loop
from tests.faults.bench import Bench, certain, write_policy

pytestmark = pytest.mark.alone

WAITS = 4  # decisions that may wait for something that may act on them, at 100 Hz
LOST, MOST_TICKS = 40, 3000
RESCUE_S = 60.0  # a tick that is held up after all fails the test instead of hanging it
PICTURE = np.zeros((48, 64, 3), np.uint8)


class Drive:
    """A guard on the clock; ``on_lost`` is called when a sink was lost for ``LOST`` ticks."""

    def __init__(self, folder: Path, *sinks: str, mcu: bool = False) -> None:
        self.bench = Bench(write_policy(folder))
        self.bench.guard.arm()
        self.outputs = Outputs(sinks, self.bench.guard, str)
        self.mcu = mcu
        self.causes: list[tuple[str, ...]] = []
        self.modes: list[str] = []
        self.reached: list[bool] = []
        self.lost_at = 0  # the tick at which `on_lost` was called
        self.on_lost: Callable[[], object] = lambda: None
        self._ended = threading.Event()

    @property
    def ticks(self) -> int:
        return len(self.causes)

    def run(self, until: Callable[[], bool], rescue: Callable[[], object]) -> None:
        """Until that holds after a tick, or too many have passed."""
        loop = Loop(self.bench.guard, self.bench.guard, "front", self._signals)
        loop.watchers += [self.outputs, self]
        self._until = until
        timer = threading.Timer(RESCUE_S, rescue)
        timer.start()
        try:
            with self.outputs.on_clock(commands_elsewhere=self.mcu):
                loop.real_time(self._source())
        finally:
            timer.cancel()

    def _signals(self, t_ns: int) -> dict[str, float]:
        for member in ("one", "two", "three"):
            self.bench.guard.suggest(member, certain("twenty"), t_ns - 5_000_000, t_ns)
        return {"speed": 20.0}

    def _source(self) -> Iterator[Frame]:
        self._ended.wait()
        yield from ()

    def saw(self, frame: Frame) -> None: ...

    def decided(self, decision: Any, t_ns: int) -> None:
        self.causes.append(decision.causes)
        self.modes.append(decision.mode.name)
        self.reached.append(self.outputs.reached)
        if not self.lost_at and all({"LINK_LOST", "RECORDER_LOST"} & set(c) for c in self.tail):
            self.lost_at = self.ticks
            self.on_lost()
        if self._until() or self.ticks >= MOST_TICKS:
            self._ended.set()

    @property
    def tail(self) -> list[tuple[str, ...]]:
        return self.causes[-LOST:] if self.ticks >= LOST else [()]

    def back(self) -> bool:
        """Whether the models command again after the sink was lost."""
        return bool(self.lost_at) and self.ticks > self.lost_at and self.modes[-1] == "NOMINAL"


def fill(fd: int) -> None:
    """Write until nothing more is taken, also when a thread of the kernel had time to move it."""
    before = fcntl.fcntl(fd, fcntl.F_GETFL)
    fcntl.fcntl(fd, fcntl.F_SETFL, before | os.O_NONBLOCK)
    refused = 0
    while refused < 10:
        try:
            os.write(fd, b"x" * 99 + b"\n")
            refused = 0
        except BlockingIOError:
            refused += 1
            time.sleep(0.02)
    fcntl.fcntl(fd, fcntl.F_SETFL, before)


def raw_pty() -> tuple[int, int]:
    ours, theirs = pty.openpty()
    mode = termios.tcgetattr(theirs)
    mode[1] &= ~termios.OPOST
    mode[3] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(theirs, termios.TCSANOW, mode)
    return ours, theirs


def fifo(folder: Path) -> tuple[int, int]:
    os.mkfifo(folder / "fifo")
    ours = os.open(folder / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    return ours, os.open(folder / "fifo", os.O_WRONLY)


class Reader:
    """Reads an output from when it is started."""

    def __init__(self, fd: int) -> None:
        self.fd, self.data = fd, b""
        os.set_blocking(fd, True)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        if not self._thread.is_alive():
            self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # a pty whose other end is closed
            while more := os.read(self.fd, 65536):
                self.data += more

    def records(self, last: int) -> list[dict[str, Any]]:
        """Up to the one with this sequence."""
        while f'"sequence": {last},'.encode() not in self.data or self.data[-1:] != b"\n":
            assert self._thread.is_alive()
            time.sleep(0.01)
        lines = (line.lstrip("x") for line in self.data.decode().splitlines())
        return [json.loads(line) for line in lines if line]


@pytest.fixture(params=["pty", "pipe"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Reader, str, int]]:
    """What reads it, its name, and the end that was filled to the brim."""
    ours, theirs = raw_pty() if request.param == "pty" else fifo(tmp_path)
    fill(theirs)
    name = os.ttyname(theirs) if request.param == "pty" else str(tmp_path / "fifo")
    yield Reader(ours), name, theirs
    os.close(ours)


def test_an_output_that_takes_nothing_holds_up_no_tick(
    output: tuple[Reader, str, int], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """And is named: its commands reach nobody, so the rules command."""
    reader, name, theirs = output
    drive = Drive(tmp_path, name)
    drive.run(lambda: drive.lost_at > 0, reader.start)
    assert drive.lost_at == drive.ticks, "the ticks went on"
    assert reader.data == b"", "nobody had to read for it"
    assert "LINK_LOST" not in {c for causes in drive.causes[:WAITS] for c in causes}
    assert set(drive.modes[-LOST:]) == {"FALLBACK"}
    assert not any(drive.reached[-LOST:]), "systemd hears of no decision that reaches nobody"
    assert drive.outputs.lines()[1:] == [f"sink {name}: {drive.ticks} decisions lost"]
    told = capfd.readouterr().err
    assert told.count(f"sink {name}: does not take decisions in time") == 1
    os.close(theirs)


def test_what_is_written_when_it_takes_bytes_again_is_fresh(
    output: tuple[Reader, str, int], tmp_path: Path
) -> None:
    reader, name, theirs = output
    drive = Drive(tmp_path, name)
    drive.on_lost = reader.start
    drive.run(drive.back, reader.start)
    os.close(theirs)
    records = reader.records(drive.ticks)
    sequences = [r["sequence"] for r in records]
    assert sequences == sorted(set(sequences))
    assert sequences[0] >= drive.lost_at - WAITS, "what was decided earlier was not begun"
    gaps = {b: b - a - 1 for a, b in pairwise(sequences) if b > a + 1}
    assert {r["sequence"]: r["lost"] for r in records if "lost" in r} == gaps
    assert drive.back()


STUCK = """
import threading
go, taken = threading.Event(), []
def hangs(decision, t_ns):
    taken.append(decision.sequence)
    go.wait()
def works(decision, t_ns):
    taken.append(decision.sequence)
"""


@pytest.fixture
def stuck(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "sink_stuck.py").write_text(STUCK)
    monkeypatch.syspath_prepend(tmp_path)
    import sink_stuck  # type: ignore[import-not-found]

    yield sink_stuck
    sink_stuck.go.set()
    del sys.modules["sink_stuck"]


def test_a_driver_that_hangs_gets_nothing_old_afterwards(stuck: Any, tmp_path: Path) -> None:
    drive = Drive(tmp_path, "sink_stuck:hangs")
    drive.on_lost = stuck.go.set
    drive.run(drive.back, stuck.go.set)
    assert drive.back()
    assert "LINK_LOST" in drive.causes[drive.lost_at - 1]
    assert stuck.taken[0] == 1
    assert stuck.taken[1] >= drive.lost_at - WAITS


def test_beside_a_microcontroller_a_sink_drives_nothing(stuck: Any, tmp_path: Path) -> None:
    drive = Drive(tmp_path, "sink_stuck:hangs", mcu=True)
    drive.run(drive.back, stuck.go.set)
    assert "RECORDER_LOST" in drive.causes[-1]
    assert drive.back() and all(drive.reached)


def test_one_that_hangs_takes_nothing_from_the_others(stuck: Any, tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    drive = Drive(tmp_path, "sink_stuck:hangs", str(file))
    drive.run(lambda: drive.lost_at > 0, stuck.go.set)
    assert drive.lost_at
    records = [json.loads(line) for line in file.read_text().splitlines()]
    assert [r["sequence"] for r in records] == list(range(1, drive.ticks + 1))
    assert drive.outputs.lines()[1].startswith("sink sink_stuck:hangs: ")
    assert len(drive.outputs.lines()) == 2


def test_what_a_sink_raises_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sink_raises.py").write_text("def take(*_):\n    raise SystemExit('enough')\n")
    monkeypatch.syspath_prepend(tmp_path)
    drive = Drive(tmp_path, "sink_raises:take")
    with pytest.raises((EdgeguardError, SystemExit), match="enough"):
        drive.run(lambda: False, drive._ended.set)


def test_a_stopped_terminal_stops_no_decision(tmp_path: Path) -> None:
    """`edgeguard run` whose stdout and stderr are one terminal that takes nothing."""
    from tests.faults.bench import camera_guard

    camera_guard(tmp_path, "none").close()  # writes the policy
    (tmp_path / "mine.py").write_text(
        "def speed(t_ns):\n    return {'speed': 20.0}\n"
        "def count(decision, t_ns):\n"
        "    with open('count', 'a') as file:\n        print(decision.sequence, file=file)\n"
    )
    np.savez(tmp_path / "drive.npz", x=np.zeros((600, 48, 64, 3), np.uint8))
    ours, theirs = raw_pty()
    fill(theirs)
    process = subprocess.Popen(
        [sys.executable, "-m", "edgeguard", "run", "camera.toml", "--source", "drive.npz",
         "--realtime", "--signal", "mine:speed", "--sink", "-", "--sink", "mine:count"],
        cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(theirs)
    try:
        rescue = threading.Timer(RESCUE_S, process.kill)
        rescue.start()
        counted = tmp_path / "count"
        while process.poll() is None and (
            not counted.exists() or counted.read_text().count("\n") < 150
        ):
            threading.Event().wait(0.05)
        assert process.poll() is None, "it decided 150 times while its terminal took nothing"
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate()
        rescue.cancel()
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert process.returncode == 0, said
    assert b"sink -: does not take decisions in time" in said
    assert b" decisions lost" in said
