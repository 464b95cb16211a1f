# SPDX-License-Identifier: Apache-2.0
"""The loop around a real guard: deadlines, frames, sources that end or fail."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgeguard.decision import Decision
from edgeguard.intake import decoder
from edgeguard.intake.sources import Frame
from edgeguard.loop import Loop
from edgeguard.loop.loop import lasting, paced
from edgeguard.loop.realtime import sleep_until
from tests.faults.bench import MEMBERS, POLICY, Bench, camera_guard, certain, write_policy

pytestmark = pytest.mark.alone

PERIOD_NS = 10_000_000
PICTURE = np.zeros((48, 64, 3), np.uint8)


class Seen:
    """Writes down what a watcher is told, and may take its time over it."""

    def __init__(self, hold_up_s: dict[int, float] | None = None) -> None:
        self.frames: list[Frame] = []
        self.times_ns: list[int] = []
        self.decisions: list[Decision] = []
        self._hold_up_s = hold_up_s or {}

    def saw(self, frame: Frame) -> None:
        self.frames.append(frame)

    def decided(self, decision: Decision, t_ns: int) -> None:
        self.times_ns.append(t_ns)
        self.decisions.append(decision)
        time.sleep(self._hold_up_s.get(len(self.times_ns), 0.0))


def endless() -> Iterator[Frame]:
    time.sleep(3600)
    yield Frame(PICTURE, 0, None, {})


def frames(count: int, signals: Any = None) -> Iterator[Frame]:
    for n in range(count):
        yield Frame(PICTURE + n, n * 100_000_000, None, signals or {})


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(write_policy(tmp_path))
    made.guard.arm()
    return made


def a_loop(bench: Bench, seen: Seen) -> Loop:
    loop = Loop(bench.guard, bench.guard, "front", lambda t_ns: {"speed": 20.0})
    loop.watchers.append(seen)
    return loop


def test_every_deadline_is_met_or_counted(bench: Bench) -> None:
    seen = Seen(hold_up_s={5: 3.5 * PERIOD_NS / 1e9})
    loop = a_loop(bench, seen)
    start_ns = time.monotonic_ns()
    until_ns = start_ns + 40 * PERIOD_NS
    loop.real_time(endless(), until_ns)
    end_ns = time.monotonic_ns()
    timing = loop.timing
    assert timing.tick.total == timing.late.total == len(seen.times_ns)
    least = (until_ns - seen.times_ns[0]) // PERIOD_NS  # the grid begins before the first tick
    assert least <= len(seen.times_ns) + timing.skipped <= (end_ns - start_ns) // PERIOD_NS + 1
    assert timing.overruns >= 1
    assert timing.skipped >= 2
    assert timing.tick.max_ns >= 3.5 * PERIOD_NS
    assert end_ns >= until_ns


def test_no_tick_is_before_its_deadline() -> None:
    for ahead_ns in (0, 1, 50_000, 3_000_000):
        deadline_ns = time.monotonic_ns() + ahead_ns
        sleep_until(deadline_ns)
        assert time.monotonic_ns() >= deadline_ns


def test_a_tick_leaves_no_cycles_for_a_collector_that_rests(bench: Bench) -> None:
    loop = a_loop(bench, Seen())
    bench.say([0.1, 0.2, 0.3, 0.4, 0.0])
    loop.lockstep(frames(2))

    def left_by(ticks: int) -> int:
        gc.collect()
        loop.lockstep(frames(ticks))
        return gc.collect()

    gc.disable()
    try:
        assert 0 in [left_by(20) for _ in range(5)]  # a thread of another test may leave some, once
    finally:
        gc.enable()


def test_what_the_source_raises_ends_the_loop(bench: Bench) -> None:
    def broken() -> Iterator[Frame]:
        yield from frames(1)
        raise OSError("unplugged")

    with pytest.raises(OSError, match="unplugged"):
        a_loop(bench, Seen()).real_time(broken(), time.monotonic_ns() + 10**12)


CAMERA = "\n[camera.front]\nrate_hz = 10\nmax_age_ms = 250\n"


class LostError(Exception):
    """Frames were lost to a vehicle that the models drove."""


class UntilLost(Seen):
    @property
    def driven(self) -> bool:
        return any(decision.mode.name == "NOMINAL" for decision in self.decisions)

    def decided(self, decision: Decision, t_ns: int) -> None:
        super().decided(decision, t_ns)
        if self.driven and "FRAME_LOST" in decision.causes:
            raise LostError


@pytest.mark.parametrize("how", ["ends", "fails"])
def test_a_camera_that_is_lost_stops_the_vehicle_and_not_the_loop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    bench, seen = Bench(write_policy(tmp_path, POLICY + CAMERA)), UntilLost()
    bench.guard.arm()

    def unplugged() -> Iterator[Frame]:
        count = 0
        while not seen.driven:
            yield Frame(PICTURE + count % 256, time.monotonic_ns(), None, {})
            time.sleep(0.1)
            count += 1
        if how == "fails":
            raise OSError("unplugged")

    def signals(t_ns: int) -> dict[str, float]:
        for member in MEMBERS:
            bench.guard.suggest(member, certain("twenty"), t_ns - 5_000_000, t_ns)
        return {"speed": 20.0}

    loop = Loop(bench.guard, bench.guard, "front", signals)
    loop.watchers.append(seen)
    with pytest.raises(LostError):
        loop.real_time(lasting(unplugged()), time.monotonic_ns() + 20_000_000_000)
    assert seen.decisions[-1].mode.name == "FALLBACK"
    assert sum("camera lost" in message for message in caplog.messages) == 1


def test_a_camera_that_never_was_is_an_error(bench: Bench) -> None:
    def none() -> Iterator[Frame]:
        raise OSError("no such camera")
        yield

    with pytest.raises(OSError, match="no such camera"):
        a_loop(bench, Seen()).real_time(lasting(none()), time.monotonic_ns() + 10**12)


def test_the_end_of_the_source_is_the_end(bench: Bench) -> None:
    seen = Seen()
    a_loop(bench, seen).real_time(paced(frames(3)), time.monotonic_ns() + 10**12)
    assert seen.times_ns[-1] - seen.times_ns[0] >= 200_000_000 - 2 * PERIOD_NS


def test_watchers_see_the_frames_that_the_members_saw_and_their_signals(tmp_path: Path) -> None:
    seen = Seen()
    with camera_guard(tmp_path, "none") as guard:
        loop = Loop(guard, guard, "front", lambda t_ns: {})
        loop.watchers.append(seen)
        good = Frame(PICTURE, 0, None, {"speed": 20.0})
        grey = Frame(PICTURE[..., 0], 100_000_000, None, {"speed": 20.0})
        loop.lockstep([good, grey])
    assert len(seen.frames) == 1
    assert seen.frames[0] is good
    assert len(seen.decisions) == 11
    assert "INPUT_INVALID" not in seen.decisions[-1].present


def test_on_the_clock_the_last_frame_of_a_recording_counts(tmp_path: Path) -> None:
    """The source ends right behind it, so it is found together with the end."""
    seen = Seen()
    with camera_guard(tmp_path, "none") as guard:
        loop = Loop(guard, guard, "front", lambda t_ns: {"speed": 20.0})
        loop.watchers.append(seen)
        loop.real_time(iter([Frame(PICTURE, 0, None, {})]), time.monotonic_ns() + 10**12)
    assert loop.frames == 1
    assert seen.decisions, "and is decided about"


class EnoughError(Exception):
    """The test has seen what it wanted."""


class Until(Seen):
    """Ends the loop so many decisions after the first frame."""

    def __init__(self, decisions: int) -> None:
        super().__init__()
        self._left = decisions

    def decided(self, decision: Decision, t_ns: int) -> None:
        super().decided(decision, t_ns)
        self._left -= bool(self.frames)
        if self._left < 0:
            raise EnoughError


FORGER = """
import sys, json, os, struct, time
o = json.loads(sys.argv[1])
said = {"shape": [48, 64, 3], "t_ns": 10**30, "box": [0, 0, 1, 1]}
text = json.dumps(said | {"signals": {"engaged": 0, "speed": 60.0}}).encode()
while True:
    os.write(o["mouth"], struct.pack("<I", len(text)) + text + bytes(48 * 64 * 3))
    time.sleep(0.02)
"""


def test_a_decoder_that_was_taken_over_does_not_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoder, "_PROGRAM", FORGER)
    seen = Until(5)
    with camera_guard(tmp_path, "none") as guard:
        loop = Loop(guard, guard, "front", lambda t_ns: {"speed": 20.0})
        loop.watchers.append(seen)
        with pytest.raises(EnoughError):
            loop.real_time(decoder.camera(3))
    assert all(decision.active for decision in seen.decisions)
    assert max(decision.command["target_speed"] for decision in seen.decisions) <= 20.0


def test_a_frame_that_waited_is_late(tmp_path: Path) -> None:
    def waited() -> Iterator[Frame]:
        while True:
            yield Frame(PICTURE, time.monotonic_ns() - 200_000_000, None, {})
            time.sleep(0.02)

    seen = Until(3)
    with camera_guard(tmp_path, "none") as guard:
        loop = Loop(guard, guard, "front", lambda t_ns: {"speed": 20.0})
        loop.watchers.append(seen)
        with pytest.raises(EnoughError):
            loop.real_time(waited())
    assert "LATE" in seen.decisions[-1].present


@pytest.mark.parametrize("how", ["its time is up", "a watcher raises"])
def test_after_the_loop_its_source_is_closed(tmp_path: Path, how: str) -> None:
    np.savez(tmp_path / "drive.npz", x=np.zeros((1000, 32, 32, 3), np.uint8))
    closed = threading.Event()

    def source() -> Iterator[Frame]:
        try:
            yield from decoder.confined(str(tmp_path / "drive.npz"), 100.0)
        finally:
            closed.set()

    kept = source()  # as `edgeguard run` keeps it
    with camera_guard(tmp_path, "none") as guard:
        files, threads = set(os.listdir("/proc/self/fd")), set(threading.enumerate())
        pumps: set[threading.Thread] = set()

        def prepare() -> None:
            pumps.update(set(threading.enumerate()) - threads)

        loop = Loop(guard, guard, "front", lambda t_ns: {"speed": 20.0})
        if how == "a watcher raises":
            loop.watchers.append(Until(3))
            with pytest.raises(EnoughError):
                loop.real_time(lasting(paced(kept)), None, prepare)
        else:
            loop.real_time(lasting(paced(kept)), time.monotonic_ns() + 50_000_000, prepare)
        assert closed.wait(30.0)
        (pump,) = pumps
        pump.join(30.0)
        assert not pump.is_alive()
        assert set(os.listdir("/proc/self/fd")) == files


def test_a_frame_counts_in_the_tick_that_sees_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a clock that moves by 50 ms when a frame is seen, and else from deadline to deadline."""
    now_ns = [0]

    def sleep(t_ns: int) -> None:
        now_ns[0] = max(now_ns[0], t_ns)

    class Slow(Seen):
        def saw(self, frame: Frame) -> None:
            now_ns[0] += 50_000_000

    def one() -> Iterator[Frame]:
        yield Frame(PICTURE, 0, None, {})
        handed.set()
        seen.wait(30.0)

    handed, seen = threading.Event(), threading.Event()
    monkeypatch.setattr("edgeguard.loop.loop.time", SimpleNamespace(monotonic_ns=lambda: now_ns[0]))
    monkeypatch.setattr("edgeguard.loop.loop.sleep_until", sleep)
    bench = Bench(write_policy(tmp_path, POLICY + CAMERA))
    bench.guard.arm()
    loop = a_loop(bench, Slow())
    loop.real_time(one(), 100_000_000, lambda: handed.wait(30.0))
    seen.set()
    assert (loop.timing.tick.max_ns, loop.timing.decision.max_ns) == (50_000_000, 0)


PREPARE = """
import gc, os, resource, sys, threading
from edgeguard.loop.realtime import prepare
if sys.argv[1] == "nobody":
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
    resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
    os.setgid(65534); os.setuid(65534)
beside = threading.Event()
thread = threading.Thread(target=beside.wait)
thread.start()
print(*prepare(), sep="\\n")
locked = next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmLck"))
fifo = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO
assert fifo == (os.sched_getscheduler(thread.native_id) & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO)
beside.set()
thread.join()
child = os.fork() or os._exit(os.sched_getscheduler(0))
print("state", locked > 0, fifo, gc.isenabled(), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize("who", ["as-is", "nobody"])
def test_what_the_system_refuses_is_said_and_what_it_gives_is_there(who: str) -> None:
    if who == "nobody" and os.geteuid() != 0:
        who = "as-is"  # we are as good as nobody
    done = subprocess.run(
        [sys.executable, "-c", PREPARE, who], capture_output=True, text=True, check=True
    )
    refusals, _, state = done.stdout.partition("state ")
    locked, fifo, collects, inherited = state.split()
    assert (locked == "False") == ("memory is not locked" in refusals)
    assert (fifo == "False") == ("no FIFO priority" in refusals)
    assert collects == "False"
    assert int(inherited) == os.SCHED_OTHER
    if who == "nobody":
        assert (locked, fifo) == ("False", "False")
