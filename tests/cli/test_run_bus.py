# SPDX-License-Identifier: Apache-2.0
"""`edgeguard run --bus`: a real monitor over python-can's virtual bus, beside a real loop."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeguard.cli import run_bus
from edgeguard.evidence import bus
from edgeguard.intake.sources import Frame
from edgeguard.loop import Loop
from tests.faults.bench import POLICY, Bench, camera_guard, certain, write_policy

can = pytest.importorskip("can", reason="needs the extra can")

pytestmark = pytest.mark.alone

NAME = "can:virtual/car"
DETECTOR = """
[detector.strangers]
kind = "bus"
feature = "unknown"
above = 0.5
max_age_ms = 400
"""
ROW = "\n[cause.BUS_INTRUSION]\noff_ms = 200\n"


@pytest.fixture
def learnt(tmp_path: Path) -> Path:
    """A bus on which 0x10 and 0x20 are at home."""
    trace = [bus.Frame(n * 0.01, 0x20 if n % 5 == 0 else 0x10, bytes([n % 256])) for n in range(99)]
    bus.save(bus.learn(trace), tmp_path / "bus.json")
    return tmp_path / "bus.json"


class Drive:
    """A guard on the clock, beside a bus on which its own units send at every tick."""

    def __init__(self, folder: Path, learnt: Path) -> None:
        self.guard = Bench(write_policy(folder, POLICY + DETECTOR + ROW)).guard
        self.learnt = learnt
        self.modes: list[str] = []
        self.present: list[tuple[str, ...]] = []
        self.done: Callable[[], bool] = lambda: False
        self.at: Callable[[], object] = lambda: None
        self._ended = threading.Event()

    def run(self, at: Callable[[], object], done: Callable[[], bool]) -> None:
        """at: is called at every tick; until done."""
        self.at, self.done = at, done
        loop = Loop(self.guard, self.guard, "front", self._signals)
        loop.watchers.append(self)
        with contextlib.ExitStack() as stack:
            run_bus.attach(NAME, self.learnt, loop, self.guard, True, stack)
            self.guard.arm()
            loop.real_time(self._source())

    def _signals(self, t_ns: int) -> dict[str, float]:
        for member in ("one", "two", "three"):
            self.guard.suggest(member, certain("twenty"), t_ns - 5_000_000, t_ns)
        return {"speed": 20.0}

    def _source(self) -> Iterator[Frame]:
        self._ended.wait()
        yield from ()

    def saw(self, frame: Frame) -> None: ...

    def decided(self, decision: Any, t_ns: int) -> None:
        self.modes.append(decision.mode.name)
        self.present.append(decision.present)
        self.at()
        if self.done() or len(self.modes) > 3000:
            self._ended.set()


def send(sender: Any, identifier: int) -> None:
    sender.send(can.Message(arbitration_id=identifier, data=b"\x01", is_extended_id=False))


def test_a_stranger_on_the_bus_hands_over_to_the_rules(tmp_path: Path, learnt: Path) -> None:
    drive = Drive(tmp_path, learnt)
    with can.Bus(interface="virtual", channel="car") as sender:
        struck: list[int] = []

        def at() -> None:
            send(sender, 0x10)
            if drive.modes[-50:] == ["NOMINAL"] * 50 and not struck:
                struck.append(len(drive.modes))
                send(sender, 0x7FF)

        def done() -> bool:
            return bool(struck) and "BUS_INTRUSION" in drive.present[-1]

        drive.run(at, done)
    assert struck, "with its own units alone the models command"
    assert "BUS_INTRUSION" in drive.present[-1] and drive.modes[-1] == "FALLBACK"


def test_a_bus_that_hangs_holds_up_no_tick_and_is_not_trusted(
    tmp_path: Path, learnt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its driver never returns: ticks are counted, and the numbers get too old."""
    drive, hangs, real = Drive(tmp_path, learnt), threading.Event(), can.Bus
    released = threading.Event()

    class Hanging:
        def __init__(self, **given: Any) -> None:
            self._bus = real(**given)

        def recv(self, timeout: float) -> Any:
            if hangs.is_set():
                released.wait(60.0)
            return self._bus.recv(timeout)

        def shutdown(self) -> None:
            self._bus.shutdown()

    monkeypatch.setattr(can, "Bus", Hanging)
    stopped: list[int] = []

    def at() -> None:
        if drive.modes[-20:] == ["NOMINAL"] * 20 and not stopped:
            stopped.append(len(drive.modes))
            hangs.set()
        if stopped and len(drive.modes) == stopped[0] + 120:
            released.set()  # or closing would wait for it

    drive.run(at, lambda: bool(stopped) and len(drive.modes) > stopped[0] + 120)
    after = drive.present[stopped[0] :]
    assert len(after) > 120, "the ticks went on"
    assert "BUS_INTRUSION" in after[110] and drive.modes[stopped[0] + 110] == "FALLBACK"


def test_of_several_windows_the_worst_counts(tmp_path: Path, learnt: Path) -> None:
    made = Bench(write_policy(tmp_path, POLICY + DETECTOR + ROW))
    watched = run_bus.Watched(made.guard, bus.load(learnt))

    def present(*windows: int) -> bool:
        """At the next tick; windows: strangers in each."""
        for strangers in windows:
            for _ in range(strangers):
                watched.frame(0.0, 0x7FF, b"x")
            watched.window(made.now_ns)
        watched.serve()
        return "BUS_INTRUSION" in made.tick().present

    assert present(), "before the first window"
    assert not present(0)
    assert not present(), "it stands for a while"
    assert present(0, 1, 0)
    assert not present(0)


@pytest.mark.parametrize(
    ("detector", "arguments", "complaint"),
    [
        (DETECTOR, ["--bus", NAME], "say what is normal there: --bus-learnt FILE"),
        (DETECTOR, ["--bus", NAME, "--bus-learnt", "bus.json"], "add --realtime"),
        (DETECTOR, ["--bus-learnt", "bus.json"], "of which bus? name it with --bus"),
        (DETECTOR.replace("400", "109"), ["--bus", NAME, "--bus-learnt", "bus.json", "--realtime"],
         "detector.strangers.max_age_ms: is 109; --bus gives a number every 100 ms"),
        (DETECTOR, ["--bus", "can0", "--bus-learnt", "bus.json", "--realtime"], "want can:CHANNEL"),
        (DETECTOR, ["--bus", NAME, "--bus-learnt", "drive.npz", "--realtime"],
         "is not what was learnt of a bus"),
        ("", ["--bus", NAME, "--bus-learnt", "bus.json", "--realtime"],
         'there is no detector of kind "bus"'),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(
    tmp_path: Path, learnt: Path, detector: str, arguments: list[str], complaint: str
) -> None:
    done = run(tmp_path, detector, *arguments)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert complaint in done.stderr


def test_that_nobody_reads_the_bus_is_told(tmp_path: Path, learnt: Path) -> None:
    done = run(tmp_path, DETECTOR)
    assert done.returncode == 0, done.stderr
    assert "detector.strangers: nobody reads a bus, so it trips; add --bus" in done.stderr
    assert '"BUS_INTRUSION"' in done.stdout


def run(folder: Path, detector: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    camera_guard(folder, "none").close()
    with (folder / "camera.toml").open("a") as file:
        file.write(detector)
    np.savez(folder / "drive.npz", x=np.zeros((3, 48, 64, 3), np.uint8))
    return subprocess.run(
        [sys.executable, "-m", "edgeguard", "run", "camera.toml", "--source", "drive.npz",
         "--signal", "speed=20", *arguments],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
