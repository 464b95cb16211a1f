# SPDX-License-Identifier: Apache-2.0
"""What a recorder survives: its own death, the guard's, a full disk. The guard decides on."""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

pytest.importorskip("mcap", reason="the recorder needs the extra record")


from edgeguard.errors import EdgeguardError
from edgeguard.output.recorder import Recorder
from edgeguard.output.recorder import recorder as recorder_module
from edgeguard.output.recorder.log_reader import Log
from edgeguard.output.recorder.logs import Keep, Logs
from edgeguard.output.recorder.topics import NOTES, STATE, TAPE, Translator
from edgeguard.output.recorder.verify import State, verify
from edgeguard.replay import replay
from tests.faults.bench import Bench, write_policy
from tests.output.recorder.conftest import wait_for

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
    with room again, the log goes on and says how much is missing."""
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


def test_old_logs_make_room(tmp_path: Path, pinned: Callable[[], str]) -> None:
    """Every file that is left is a log of its own."""
    made = Bench(write_policy(tmp_path))
    recorder = made.guard.record(tmp_path / "row.mcap", key=tmp_path / "key.json", keep_mb=1.0)
    made.nominal()
    for _ in range(300):
        made.run(1000, "twenty")
        recorder.pace()
    made.guard.close()
    files = sorted(tmp_path.glob("row-*.mcap"))
    assert files[0].name != "row-00001.mcap", "the oldest are gone"
    assert sum(f.stat().st_size for f in files) <= 1.15e6
    for file in files:
        assert verify(file, pinned()).state is State.CLOSED
        outcome = replay(file)
        assert outcome.decisions > 100 and outcome.unknown == 0 and outcome.difference is None
    assert len({verify(file, pinned()).log_number for file in files}) == len(files)


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


class Taped(NamedTuple):
    """What a recording is made from, without a process that makes it."""

    about: dict[str, str]
    policy: bytes
    state: bytes
    folder: Path

    def logs(self, keep: Keep, **more: str) -> Logs:
        about = self.about | more
        translator = Translator(json.loads(about["policy"]))
        return Logs(self.folder / "row.mcap", self.folder / "key.json", about, translator, keep)


@pytest.fixture
def taped(bench: Bench, log: Path, tmp_path: Path) -> Taped:
    bench.nominal()
    bench.guard.close()
    tape = [e.data for e in Log(log).entries(TAPE)]
    (tmp_path / "key.json").unlink()
    state = next(r for r in tape if r[0] == STATE)
    return Taped(Log(log).about, tape[0], state, tmp_path)


def rows(folder: Path) -> list[Path]:
    return sorted(folder.glob("row-*.mcap"))


def test_many_short_recordings_stay_within_their_limit(taped: Taped) -> None:
    """Each ends before its file is full: the limit holds for all of them, and numbers go on."""
    for _ in range(12):
        logs = taped.logs(Keep(mb=1.0), more="x" * 200_000)
        logs.put(taped.policy)
        logs.close()
        assert sum(f.stat().st_size for f in rows(taped.folder)) <= 1.15e6
    assert [f.name for f in rows(taped.folder)][-1] == "row-00012.mcap"
    assert len(rows(taped.folder)) >= 4


def test_what_a_log_says_of_itself_does_not_make_it_full(taped: Taped) -> None:
    logs = taped.logs(Keep(mb=1.0), more="x" * 200_000)
    for record in (taped.policy, *[taped.state] * 10):
        logs.put(record)
    logs.close()
    assert len(rows(taped.folder)) == 1


def test_a_disk_without_room_for_a_log_uses_up_no_key(
    taped: Taped, pinned: Callable[[], str]
) -> None:
    """A key without a log would look like a log that was removed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for _ in range(2):
        logs = taped.logs(Keep(mb=1.0))
        logs.close()
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        try:
            with pytest.raises(OSError, match="too large"):
                taped.logs(Keep(mb=1.0), more="x" * 30_000)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [verify(file, pinned()).log_number for file in rows(taped.folder)] == [0, 1]


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


def test_a_clock_that_is_set_makes_no_log_old(taped: Taped, tmp_path: Path) -> None:
    """A machine that boots in 1970: what it wrote before it knew the time is fresh."""
    for number, age_s in ((1, 2 * 3600), (2, 60)):  # of an earlier run
        path = tmp_path / f"row-{number:05}.mcap"
        path.write_bytes(b"")
        os.utime(path, (time.time() - age_s,) * 2)
    logs = taped.logs(Keep(hours=1.0))
    logs.put(taped.policy)
    os.utime(tmp_path / "row-00003.mcap", (60, 60))
    logs._began_s -= 3600  # the next file is due
    logs.put(taped.state)
    logs.close()
    left = sorted(p.name for p in tmp_path.glob("row-*"))
    assert left == ["row-00002.mcap", "row-00003.mcap", "row-00004.mcap"]
