# SPDX-License-Identifier: Apache-2.0
"""What a recorder survives: its own death, the guard's, a full disk. The guard decides on."""

from __future__ import annotations

import logging
import mmap
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("mcap", reason="the recorder needs the extra record")

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from edgeguard._core import Mode, Tape
from edgeguard.errors import EdgeguardError
from edgeguard.explain import explain
from edgeguard.output.recorder import Recorder
from edgeguard.output.recorder import recorder as recorder_module
from edgeguard.output.recorder.log_reader import Log
from edgeguard.output.recorder.topics import NOTES
from edgeguard.output.recorder.verify import State, verify
from edgeguard.replay import replay
from tests.faults.bench import Bench, write_policy
from tests.output.recorder.conftest import wait_for
from tests.output.recorder.test_box import pair

pytestmark = pytest.mark.alone

DRIVE = """
import sys, time
from pathlib import Path
from tests.faults.bench import Bench
folder = Path(sys.argv[1])
bench = Bench(folder / "guard.toml")
recorder = bench.guard.record(folder / "flight.mcap", key=folder / "key.json")
print(recorder.process_id, flush=True)
bench.guard.arm()
while True:
    bench.run(30, "twenty")
    print(bench.decision.sequence, flush=True)
    time.sleep(0.003)
"""


def gone(process_id: int) -> bool:
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


def driven(folder: Path, decisions: int) -> tuple[subprocess.Popen[str], int, int]:
    """A guard in a process of its own, which has recorded so much: it, its recorder's process, and
    the last sequence that it printed."""
    write_policy(folder)
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVE, str(folder)],
        stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert process.stdout is not None
    recorder = int(process.stdout.readline())
    last = 0
    while last < decisions:
        last = int(process.stdout.readline())
    return process, recorder, last


@pytest.mark.parametrize("decisions", [1, 50, 700])
def test_the_guard_is_killed(
    tmp_path: Path, log: Path, pinned: Callable[[], str], decisions: int
) -> None:
    """Its recorder lives on and writes what was on the tape: nothing is lost."""
    process, recorder, last = driven(tmp_path, decisions)
    process.kill()
    process.wait()
    wait_for("the recorder ends", lambda: gone(recorder))
    verdict = verify(log, pinned())
    assert verdict.state is State.NOT_CLOSED
    assert verdict.text == f"not closed, ends at record {verdict.records}"
    assert verdict.decisions >= last
    outcome = replay(log)
    assert (outcome.decisions, outcome.difference) == (verdict.decisions, None)


def test_both_are_killed(tmp_path: Path, log: Path, pinned: Callable[[], str]) -> None:
    """What was flushed is there, and vouched for."""
    process, recorder, _ = driven(tmp_path, 50)
    wait_for("a flush", lambda: verify(log, pinned()).decisions > 50)
    flushed = verify(log, pinned()).decisions
    os.kill(recorder, signal.SIGKILL)
    process.kill()
    process.wait()
    wait_for("the recorder is gone", lambda: gone(recorder))
    verdict = verify(log, pinned())
    assert verdict.state is State.NOT_CLOSED
    assert verdict.decisions >= flushed
    outcome = replay(log)
    assert outcome.difference is None and outcome.decisions >= flushed


def ticks_until_lost(bench: Bench) -> Callable[[], bool]:
    def ticks() -> bool:  # each call comes some 10 ms after the one before
        bench.run(100, "twenty")
        return "RECORDER_LOST" in bench.decision.causes

    return ticks


def test_the_recorder_is_killed(
    bench: Bench, recorder: Recorder, log: Path, pinned: Callable[[], str],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    bench.nominal()
    wait_for("a flush", lambda: verify(log, pinned()).decisions == 100)
    os.kill(recorder.process_id, signal.SIGKILL)
    wait_for("it is noticed", ticks_until_lost(bench))
    assert bench.decision.mode.name == "NOMINAL", "a lost recorder only warns"
    assert bench.command == 20.0
    with caplog.at_level(logging.WARNING):
        bench.guard.close()
    assert "not closed" in caplog.text
    assert verify(log, pinned()).state is State.NOT_CLOSED
    assert replay(log).decisions == 100


def test_the_recorder_stands_still(
    bench: Bench, recorder: Recorder, log: Path, pinned: Callable[[], str]
) -> None:
    """Stopped, it is noticed; let go, it catches up and nothing is missing."""
    bench.nominal()
    os.kill(recorder.process_id, signal.SIGSTOP)
    wait_for("it is noticed", ticks_until_lost(bench))
    os.kill(recorder.process_id, signal.SIGCONT)

    def found() -> bool:
        recorder.pace()
        bench.run(100, "twenty")
        return "RECORDER_LOST" not in bench.decision.causes

    wait_for("it is back", found)
    bench.guard.close()
    outcome = replay(log)
    assert (outcome.decisions, outcome.lost, outcome.difference) == (bench.ticks, 0, None)
    assert verify(log, pinned()).state is State.CLOSED


def limit(process_id: int, size: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.prlimit(process_id, resource.RLIMIT_FSIZE, (size, hard))


def test_a_full_disk(
    bench: Bench, recorder: Recorder, log: Path, pinned: Callable[[], str]
) -> None:
    """The file may not grow: the guard warns and decides on; what was written stays verifiable;
    with room again, the log goes on and says how much is missing. What happened meanwhile is not
    explained by what was seen before."""
    bench.nominal()
    wait_for("a flush", lambda: verify(log, pinned()).decisions == 100)
    limit(recorder.process_id, log.stat().st_size + 100)
    wait_for("it is noticed", ticks_until_lost(bench))
    while recorder.tape.waiting < recorder.tape.room - 1000:  # what the tape holds is not lost
        bench.run(1000, "twenty")
    bench.run(1000, "twenty")
    assert bench.decision.mode.name == "NOMINAL" and bench.command == 20.0
    full = verify(log, pinned())
    assert (full.state, full.decisions) == (State.NOT_CLOSED, 100)
    bench.signals["speed"] = float("nan")
    bench.run(100, "twenty")
    bench.signals["speed"] = 20.0
    assert bench.decision.mode.name == "SAFE_STOP"
    limit(recorder.process_id, resource.RLIM_INFINITY)

    def found() -> bool:
        recorder.pace()
        bench.run(100, "twenty")
        return "RECORDER_LOST" not in bench.decision.causes

    wait_for("it is back", found)
    bench.guard.close()
    assert verify(log, pinned()).state is State.CLOSED
    outcome = replay(log)
    assert outcome.difference is None and outcome.unknown == 0
    assert outcome.lost > 0
    assert bench.ticks - outcome.lost <= outcome.decisions < bench.ticks
    notes = [entry.data for entry in Log(log).entries(NOTES)]
    assert len(notes) >= 1 and b"records are missing here" in notes[0]
    story = explain(log)
    stop = story.changes[-1]
    assert (stop.before, stop.after) == (Mode.NOMINAL, Mode.SAFE_STOP)
    assert (stop.cause, stop.why) == ("INPUT_INVALID", "after the gap")
    lost = [span for span in story.causes if span.name == "RECORDER_LOST"]
    assert len(lost) >= 2 and lost[0].end_ns < stop.t_ns


def test_a_disk_that_stays_full(
    bench: Bench, recorder: Recorder, log: Path, pinned: Callable[[], str],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    bench.nominal()
    wait_for("a flush", lambda: verify(log, pinned()).decisions == 100)
    limit(recorder.process_id, log.stat().st_size + 10)
    bench.run(1000, "twenty")
    with caplog.at_level(logging.WARNING):
        bench.guard.close()
    assert "not closed: File too large" in caplog.text
    assert verify(log, pinned()).state is State.NOT_CLOSED


def test_no_log_is_overwritten(tmp_path: Path, log: Path) -> None:
    log.write_text("mine")
    made = Bench(write_policy(tmp_path))
    with pytest.raises(EdgeguardError, match="exists; a log is never overwritten"):
        made.guard.record(log, key=tmp_path / "key.json")
    assert log.read_text() == "mine"
    made.nominal()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    made = Bench(write_policy(tmp_path))
    with pytest.raises(EdgeguardError, match="No such file"):
        made.guard.record(tmp_path / "no" / "x.mcap", key=tmp_path / "key.json")


def test_a_limit_on_files_that_the_tape_does_not_fit_in(silent: Bench, log: Path) -> None:
    """It counts for memory that is shared, too."""
    before = set(os.listdir("/proc/self/fd"))
    limit(os.getpid(), 200 << 10)
    try:
        with pytest.raises(EdgeguardError) as refused:
            silent.guard.record(log, key=log.with_name("key.json"))
    finally:
        limit(os.getpid(), resource.RLIM_INFINITY)
    assert str(refused.value).startswith(f"recorder: {log}: cannot be begun: File too large")
    assert "\n" not in str(refused.value) and "ulimit -f" in str(refused.value)
    assert set(os.listdir("/proc/self/fd")) <= before, "none is left open"
    assert not log.exists() and not log.with_name("key.json").exists()


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 0.0, -1.0])
@pytest.mark.parametrize("name", ["keep_mb", "keep_hours", "frames_hz"])
def test_a_number_that_limits_nothing(
    silent: Bench, tmp_path: Path, log: Path, name: str, number: float
) -> None:
    public = pair(tmp_path, "mine", X25519PrivateKey).with_suffix(".pem.pub")
    with pytest.raises(EdgeguardError, match=f"{name}: is {number}; want a finite number"):
        silent.guard.record(log, key=log.with_name("key.json"), recipient=public, **{name: number})
    assert not list(tmp_path.glob("*.mcap"))


def test_hours_that_cannot_be_kept(silent: Bench, log: Path) -> None:
    """A file ends at a state, each 1,000 decisions: 10 s here, and an eighth of the limit."""
    with pytest.raises(EdgeguardError, match=r"the 10 s of 1000 decisions: keep 0\.03 hours or mo"):
        silent.guard.record(log, key=log.with_name("key.json"), keep_hours=0.02)
    silent.guard.record(log, key=log.with_name("key.json"), keep_hours=0.03)


def test_a_key_without_a_name(silent: Bench, log: Path) -> None:
    with pytest.raises(EdgeguardError, match="names no file for the key"):
        silent.guard.record(log, key=Path())
    assert not log.exists()


def test_a_log_that_cannot_be_made_uses_up_no_key(tmp_path: Path, log: Path) -> None:
    log.write_text("mine")
    made = Bench(write_policy(tmp_path))
    with pytest.raises(EdgeguardError, match="never overwritten"):
        made.guard.record(log, key=tmp_path / "key.json")
    assert not (tmp_path / "key.json").exists()
    (tmp_path / "key.json").write_text("no key")
    with pytest.raises(EdgeguardError):
        made.guard.record(tmp_path / "other.mcap", key=tmp_path / "key.json")
    assert not (tmp_path / "other.mcap").exists(), "nor does a missing key leave a file"


def test_a_recorder_that_stands_still_does_not_hold_up_the_end(
    bench: Bench, recorder: Recorder, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """Its pipe is full of notes, so that nobody can tell it to close."""
    monkeypatch.setattr(recorder_module, "CLOSE_S", 0.3)
    os.kill(recorder.process_id, signal.SIGSTOP)
    rescue = threading.Timer(60.0, os.kill, (recorder.process_id, signal.SIGCONT))
    rescue.start()
    for _ in range(200):
        recorder.note("x" * 1000)
        time.sleep(0.001)
    with caplog.at_level(logging.WARNING):
        bench.guard.close()
    rescue.cancel()
    assert "not closed: it stands still" in caplog.text


def test_a_recorder_has_the_ordinary_class(silent: Bench, tmp_path: Path) -> None:
    """Whatever the guard was started with: it must not get ahead of it."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        pytest.skip("needs: the right to SCHED_FIFO")
    try:
        recorder = silent.guard.record(tmp_path / "x.mcap", key=tmp_path / "key.json")
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    assert os.sched_getscheduler(recorder.process_id) == os.SCHED_OTHER


def test_the_working_directory_holds_no_code_of_the_recorder(
    silent: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mcap", "zstandard"):
        (tmp_path / f"{name}.py").write_text("raise OSError('shadowed')\n")
    monkeypatch.chdir(tmp_path)
    silent.guard.record(tmp_path / "x.mcap", key=tmp_path / "key.json")


def test_a_gap_of_one_record_is_told_to_the_guard(silent: Bench) -> None:
    silent.guard.arm()
    tape = Tape(mmap.mmap(-1, 1 << 16))
    silent.guard._core.record(tape)
    waiting = -1
    while tape.waiting > waiting:
        waiting = tape.waiting
        silent.tick()
    tape.take(1 << 20)
    assert "RECORDER_LOST" not in silent.decision.present
    present = ["RECORDER_LOST" in silent.tick().present for _ in range(2)]
    assert present == [True, False]
    silent.guard._core.record(None)
