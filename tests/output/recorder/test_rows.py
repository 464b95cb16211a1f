# SPDX-License-Identifier: Apache-2.0
"""A row of logs: which of them stay, for how long, and how much room they take."""

from __future__ import annotations

import json
import mmap
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

pytest.importorskip("mcap", reason="the recorder needs the extra record")

from edgeguard._core import Mode, Tape
from edgeguard.errors import EdgeguardError
from edgeguard.explain import explain
from edgeguard.output.recorder.log_reader import Log
from edgeguard.output.recorder.logs import Keep, Logs
from edgeguard.output.recorder.process import Turns
from edgeguard.output.recorder.topics import NOTES, STATE, TAPE, Translator
from edgeguard.output.recorder.verify import State, verify
from edgeguard.replay import replay
from tests.faults.bench import Bench, write_policy


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
    first = explain(files[1]).changes[0]
    assert (first.before, first.after, first.cause) == (None, Mode.NOMINAL, "")
    assert first.why == "as the log begins"


class Taped(NamedTuple):
    """What a recording is made from, without a process that makes it."""

    about: dict[str, str]
    policy: bytes
    state: bytes
    folder: Path

    def logs(
        self, keep: Keep, warn: Callable[[str], object] = lambda _: None, **more: str
    ) -> Logs:  # fmt: skip
        about = self.about | more
        translator = Translator(json.loads(about["policy"]))
        path, key = self.folder / "row.mcap", self.folder / "key.json"
        return Logs(path, key, about, translator, keep, warn=warn)


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


def stale(folder: Path, number: int, age_s: float) -> None:
    """A log of an earlier run."""
    path = folder / f"row-{number:05}.mcap"
    path.write_bytes(b"")
    os.utime(path, (time.time() - age_s,) * 2)


def left(folder: Path) -> list[int]:
    return [int(path.stem.removeprefix("row-")) for path in rows(folder)]


HOUR = 3600.0


@pytest.mark.parametrize(
    ("ages_s", "kept"),
    [
        ((0.9 * HOUR, 0.8 * HOUR, 0.7 * HOUR), [3, 4]),  # the newest stays; records are older
        ((0.8 * HOUR, 0.7 * HOUR, 0.6 * HOUR, 0.0), [2, 3, 4, 5]),
        ((280.5 * HOUR, 280.3 * HOUR, 280 * HOUR), [3, 4]),  # it was off for ten days
        ((1e9, 1e9 - 60, 60.0), [1, 2, 3, 4]),  # the clock was not set yet
        ((1e9, 1e9 - 60, 2 * HOUR, 60.0), [4, 5]),  # nor were these, which are older than that
        ((120.0, 1e9, 60.0), [1, 2, 3, 4]),  # a battery that ran down
        ((120.0, 2 * HOUR, 60.0), [1, 2, 3, 4]),  # a clock that is behind
    ],
)
def test_how_long_logs_of_earlier_runs_stay(
    taped: Taped, ages_s: tuple[float, ...], kept: list[int]
) -> None:
    for number, age_s in enumerate(ages_s, 1):
        stale(taped.folder, number, age_s)
    taped.logs(Keep(hours=1.0)).close()
    assert left(taped.folder) == kept


def test_hours_count_from_the_first_record_of_a_file(taped: Taped) -> None:
    """A file is begun every eighth of an hour, and it is looked then."""
    logs = taped.logs(Keep(hours=1.0))
    logs.put(taped.policy)
    began_s = [0.0]
    for eighth in range(1, 20):
        logs._began_s -= HOUR / 8 + 1
        logs._ended_s = {path: s - HOUR / 8 - 1 for path, s in logs._ended_s.items()}
        logs.put(taped.state)
        began_s.append(eighth * (HOUR / 8 + 1))
        oldest_s = began_s[-1] - began_s[left(taped.folder)[0] - 1]
        assert oldest_s + HOUR / 8 <= HOUR + 10, "until it is looked again"
    logs.close()
    assert len(rows(taped.folder)) >= 6


@pytest.mark.parametrize(
    "name", ["250101", "999999", "20261125", "2511251200", "202511251200", "000000012345"]
)
def test_a_file_that_is_named_by_its_date_is_none_of_the_row(taped: Taped, name: str) -> None:
    theirs = taped.folder / f"row-{name}.mcap"
    theirs.write_bytes(b"mine")
    os.utime(theirs, (time.time() - 100 * HOUR,) * 2)
    taped.logs(Keep(hours=1.0)).close()
    assert theirs.read_bytes() == b"mine"
    assert (taped.folder / "row-00001.mcap").exists()


def test_a_row_goes_on_beyond_five_digits(taped: Taped) -> None:
    stale(taped.folder, 99_998, 2 * HOUR)
    stale(taped.folder, 99_999, 2 * HOUR)
    for _ in range(2):
        taped.logs(Keep(hours=1.0)).close()
    assert left(taped.folder) == [100_000, 100_001]
    assert [f.name for f in rows(taped.folder)] == [
        "row-000000100000.mcap", "row-000000100001.mcap"
    ]  # fmt: skip


def test_the_last_number_is_told(taped: Taped) -> None:
    (taped.folder / "row-000099999999.mcap").write_bytes(b"")
    with pytest.raises(EdgeguardError, match=r"row\.mcap: no number is left after 99999999; move"):
        taped.logs(Keep(hours=1.0))


def test_a_file_that_cannot_be_removed_holds_up_no_other(taped: Taped) -> None:
    """Neither the recording nor the removal of the rest; it is told once, and by name."""
    for number in (1, 3):  # nobody can unlink these, whoever he is
        (taped.folder / f"row-{number:05}.mcap").mkdir()
        os.utime(taped.folder / f"row-{number:05}.mcap", (time.time() - 4 * HOUR,) * 2)
    (taped.folder / "row-00002.mcap").symlink_to("nowhere")
    for number in (4, 5, 6):
        stale(taped.folder, number, 3 * HOUR)
    told: list[str] = []
    logs = taped.logs(Keep(hours=1.0), warn=told.append)
    logs.put(taped.policy)
    assert left(taped.folder) == [1, 2, 3, 6, 7]
    for _ in range(2):
        logs._began_s -= HOUR
        logs.put(taped.state)
    assert not logs.stuck
    logs.close()
    assert left(taped.folder) == [1, 2, 3, 7, 8, 9]
    assert len(told) == 1 and "row-00001.mcap: cannot be removed" in told[0]


def test_a_folder_that_cannot_be_read_ends_no_recording(
    taped: Taped, tmp_path: Path, pinned: Callable[[], str]
) -> None:
    """A card that was pulled and put back: this file goes on until the next can be begun."""
    (tmp_path / "card").mkdir()
    logs = taped._replace(folder=tmp_path / "card").logs(Keep(hours=1.0))
    logs.put(taped.policy)
    (tmp_path / "card").rename(tmp_path / "pulled")
    logs._began_s -= HOUR
    logs.put(taped.state)
    assert "No such file" in logs.stuck
    (tmp_path / "pulled").rename(tmp_path / "card")
    logs.put(taped.state)
    logs.close()
    assert not logs.stuck and left(tmp_path / "card") == [1, 2]
    (tmp_path / "key.pub").write_text((tmp_path / "card" / "key.pub").read_text())
    for file in rows(tmp_path / "card"):
        assert verify(file, pinned()).state is State.CLOSED


def test_a_next_file_that_cannot_be_begun_is_told(taped: Taped) -> None:
    """The log goes on beyond its limit, which a warning and a note say, and not for ever."""
    logs = taped.logs(Keep(hours=1.0))
    tape = Tape(mmap.mmap(-1, 1 << 17))
    turns = Turns(tape, logs, None)
    logs.put(taped.policy)
    (taped.folder / "key.json").chmod(0o640)
    for _ in range(2):
        logs._began_s -= HOUR
        logs.put(taped.state)
    turns.turn()
    assert tape.failing and "chmod 600" in logs.stuck
    (taped.folder / "key.json").chmod(0o600)
    logs._began_s -= HOUR
    logs.put(taped.state)
    turns.turn()
    assert not tape.failing
    logs.close()
    assert left(taped.folder) == [1, 2]
    notes = [json.loads(e.data)["message"] for e in Log(rows(taped.folder)[0]).entries(NOTES)]
    assert len(notes) == 1 and notes[0].startswith("the next file cannot be begun, this one goes")
