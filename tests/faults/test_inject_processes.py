# SPDX-License-Identifier: Apache-2.0
"""The campaign's faults that need real processes: a few of each, and guards that are broken.

Commands are judged here, not times: the machine may be busy. Where a guard is slow by its own fault
it is slower than any machine.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from click.testing import CliRunner

from edgeguard import config, wiring
from edgeguard.card import Card
from edgeguard.cli import campaigns
from edgeguard.cli.inject import Beside, command
from edgeguard.config import GuardConfig
from edgeguard.decision import Core
from edgeguard.errors import EdgeguardError
from edgeguard.inference import memory
from edgeguard.streams.campaign import faults_parsers, faults_recorder, faults_workers, live
from edgeguard.streams.campaign.case import Case, Fault
from edgeguard.streams.campaign.live import LiveCase
from edgeguard.streams.campaign.mutations import SOURCES, mutated, source
from edgeguard.streams.campaign.road import Road
from edgeguard.streams.campaign.run import BY_ID, inject, seen_by
from edgeguard.zoo import models_dir

DEMO = models_dir() / "guard.toml"
CAUSES = faults_workers.CAUSES


@pytest.fixture(scope="module")
def demo() -> GuardConfig:
    return config.load(DEMO)


@pytest.fixture(scope="module")
def seen() -> Road:
    return seen_by(DEMO, models_dir() / "stream.npz")


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "PATIENCE_US", 60e6)


def workers_fault(make: Callable[[LiveCase], None]) -> Fault:
    return Fault("F00", "", "", CAUSES, make, world="workers", alone=True)


def told(how: str) -> Fault:
    """All members tell this lie."""

    def lie(c: LiveCase) -> None:
        c.start()
        faults_workers.lie(c, how, c.workers(), lost=True)

    return workers_fault(lie)


# ----------------------------------------------------------- what members do


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(("fault", "index"), [("F01", 0), ("F01", 7), ("F02", 0), ("F29", 0)])
def test_no_wrong_command_whatever_a_worker_does(
    fault: str, index: int, demo: GuardConfig, seen: Road
) -> None:
    row = inject(BY_ID[fault], index, 0, demo, seen=seen)
    assert (row["w"], row["x"]) == (0, 0), row
    assert row["r"] > 0, "the members command again"
    assert row["j"] >= 0, "how late the loop itself woke up is told"
    assert row["d"] > 0, "and what the guard took for a tick"


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("how", ["another picture's", "rewritten", "shrinks"])
def test_no_wrong_command_whatever_stands_in_shared_memory(
    how: str, demo: GuardConfig, seen: Road
) -> None:
    row = inject(told(how), 0, 0, demo, seen=seen)
    assert row["w"] == 0, row
    assert (row["b"] is None) == (how != "another picture's"), "only that has to be acted on"


class Credulous:
    """The deciding end of a ring that takes an answer to anything for one to what was asked."""

    def __init__(self, answers: memory.Answers) -> None:
        self._native, self._map = answers.native, answers.map

    def __getattr__(self, name: str) -> Any:
        return getattr(self._native, name)

    def expect(self, epoch: int, serial: int, content: int) -> int:
        self._body = serial % 2 * len(self._map) // 2 + 64  # behind the header of its slot
        return self._native.expect(epoch, serial, content)

    def take(self, scores: np.ndarray, embedding: np.ndarray | None) -> int:
        ready_ns = self._native.take(scores, embedding)
        if ready_ns < 0:
            body = self._map[self._body : self._body + scores.nbytes]
            scores[:] = np.frombuffer(body, scores.dtype)
            return time.monotonic_ns()
        return ready_ns


def test_a_ring_that_believes_every_answer_is_found(
    demo: GuardConfig, seen: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = memory.Answers.create

    def credulous(card: Card) -> memory.Answers:
        made = create(card)
        made.native = Credulous(made)  # type: ignore[assignment]
        return made

    monkeypatch.setattr(memory.Answers, "create", credulous)
    row = inject(told("a dead worker's"), 0, 0, demo, seen=seen)
    assert row["w"] > 0
    assert any("is allowed" in text for text in row["why"]), row


def test_a_guard_that_does_not_notice_a_death_is_found(
    demo: GuardConfig, seen: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiring.Seat, "notice", lambda seat, core: None)

    def all_die(c: LiveCase) -> None:
        c.start()
        faults_workers.die(c, "SIGKILL", c.workers(), lost=True)

    row = inject(workers_fault(all_die), 0, 0, demo, seen=seen)
    assert row["w"] > 0
    assert any("bound 20 ms" in text for text in row["why"]), row


def one_dies(c: LiveCase) -> None:
    c.start()
    faults_workers.die(c, "SIGKILL", c.workers()[:1], lost=False)


ONE_DIES = workers_fault(one_dies)


def apart(fault: str) -> int:
    """The index of an injection in which each member has a process of its own."""
    return next(n for n in range(100) if Random(f"0/{fault}/{n}").randint(1, 3) == 3)


@pytest.mark.usefixtures("patient")
def test_a_guard_that_does_not_name_one_dead_worker_is_found(
    demo: GuardConfig, seen: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others have their quorum: no command is wrong, and nothing has a bound."""
    row = inject(ONE_DIES, apart(ONE_DIES.id), 0, demo, seen=seen)
    assert (row["w"], row["c"]) == (0, True), row
    monkeypatch.setattr(wiring.Seat, "notice", lambda seat, core: None)
    deaf = {n: evolve(m, deadline_ms=5e3, max_age_ms=5e3) for n, m in demo.members.items()}
    runs = evolve(demo, members=deaf)
    row = inject(ONE_DIES, apart(ONE_DIES.id), 0, demo, runs, seen=seen)
    assert row["c"] is False, row


def test_a_guard_that_holds_its_tick_up_is_found(
    demo: GuardConfig, seen: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands that come late are right ones: only the time tells."""
    notice = wiring.Seat.notice

    def slowly(seat: wiring.Seat, core: Core) -> None:
        if not seat.member.alive and not seat.lost:
            time.sleep(0.5)
        notice(seat, core)

    monkeypatch.setattr(wiring.Seat, "notice", slowly)
    row = inject(ONE_DIES, apart(ONE_DIES.id), 0, demo, seen=seen)
    assert row["d"] >= 500_000 and row["m"] >= 30, row
    assert any("holds a tick up" in text for text in row["why"]), row


# ------------------------------------------------------------- the recorder


@pytest.mark.parametrize(
    "kind",
    [faults_recorder.full_disk, faults_recorder.killed, faults_recorder.stopped,
     faults_recorder.guard_killed, faults_recorder.tampered, faults_recorder.full_sink],
)  # fmt: skip
def test_f25_the_log_says_the_truth_about_itself(
    kind: Callable[..., None], demo: GuardConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mcap", reason="the recorder needs the extra record")

    monkeypatch.setattr(faults_recorder, "NOTICED", 1.0)

    def fails(c: Case) -> None:
        kind(c, faults_recorder.Flight(c, tmp_path))

    row = inject(Fault("F25", "", "", frozenset({"RECORDER_LOST"}), fails), 1, 0, demo)
    assert (row["w"], row["x"]) == (0, 0), row
    assert row["c"] is not False, row


def test_f25_a_log_that_lost_more_than_it_says_is_found(demo: GuardConfig, tmp_path: Path) -> None:
    pytest.importorskip("mcap", reason="the recorder needs the extra record")

    def loses(c: Case) -> None:
        flight = faults_recorder.Flight(c, tmp_path)
        flight.begin()
        c.go(500)
        c.guard._core.record(None)  # nobody records any more, and nobody says so
        c.go(500)
        c.guard.close()
        flight.check(closed=True)
        flight.check(closed=False)
        flight.log.write_bytes(flight.log.read_bytes()[:-1])
        flight.check(closed=True)

    row = inject(Fault("F25", "", "", frozenset(), loses), 0, 0, demo)
    lost, not_closed, cut = row["why"]
    assert "decisions are missing, it tells 0" in lost
    assert "want NOT_CLOSED" in not_closed
    assert "not closed" in cut


def test_f25_a_gap_that_is_not_where_decisions_are_missing_is_found(
    demo: GuardConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log tells as many missing records as there are, in all, but elsewhere."""
    pytest.importorskip("mcap", reason="the recorder needs the extra record")
    from edgeguard.output.recorder.log_reader import Entry, Log
    from edgeguard.output.recorder.topics import DECISION, GAP

    def loses(c: Case) -> None:
        flight = faults_recorder.Flight(c, tmp_path)
        flight.begin()
        c.go(500)
        c.guard.close()
        entries = list(Log(flight.log).entries("/edgeguard/tape"))
        decided = [i for i, e in enumerate(entries) if e.data[0] == DECISION]
        del entries[decided[20]]
        gap = Entry("/edgeguard/tape", 0, bytes([GAP]) + (5).to_bytes(4, "little"))
        entries.insert(decided[30], gap)
        monkeypatch.setattr(Log, "entries", lambda self, *topics: iter(entries))
        c.why += [f"{missing} of {told}" for missing, told in flight._gaps(True) if missing > told]

    row = inject(Fault("F25", "", "", frozenset(), loses), 0, 0, demo)
    assert row["why"] == ["1 of 0"]


# ------------------------------------------------------------------ parsers


@pytest.mark.usefixtures("patient")
def test_f28_spoilt_files_end_in_an_absent_source_or_member(
    demo: GuardConfig, seen: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cv2", reason="pictures are read with OpenCV (extra images)")
    monkeypatch.setattr(faults_parsers, "FILES", 2)
    row = inject(BY_ID["F28"], 0, 0, demo, seen=seen)
    assert (row["w"], row["x"]) == (0, 0), row
    assert 0 < row["t"] <= row["b"], "in simulated time"


@pytest.mark.parametrize("kind", dict.fromkeys(SOURCES))
def test_no_mutant_is_the_file_that_it_was_made_from(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("cv2", reason="pictures are read with OpenCV (extra images)")
    picture = np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3)
    whole = source(picture, kind, tmp_path)
    made = {mutated(whole, Random(n)) for n in range(100)}
    assert whole not in made
    assert len(made) > 90


# ------------------------------------------------------------- command line


def test_what_cannot_be_made_here_is_left_out_and_said(tmp_path: Path) -> None:
    line = [str(DEMO), "--results", str(tmp_path), "--jobs", "1", "--faults", "F05", "--n", "1"]
    done = CliRunner().invoke(command, line, standalone_mode=False)
    assert done.return_value == 0, done.output
    assert "F01, F02, F28, F29 left out: --pictures FOLDER says what the cameras see" in done.output
    (stored,) = tmp_path.glob("host-*.jsonl")
    assert json.loads(stored.read_text())["o"] > 0


def test_a_target_without_cameras_takes_no_pictures(tmp_path: Path) -> None:
    with pytest.raises(EdgeguardError, match="--pictures: --target twin has no cameras"):
        campaigns.campaign_of("twin", None, tmp_path)


def test_slow_faults_are_made_less_often() -> None:
    host = campaigns.host(None)
    chosen = [f for f in host.faults if f.id in ("F01", "F05", "F28")]
    assert host.counts(chosen, None, False) == {"F01": 300, "F05": 10_000, "F28": 2000}
    assert host.counts(chosen, None, True) == {"F01": 30, "F05": 300, "F28": 200}
    assert host.counts(chosen, 500, False) == {"F01": 300, "F05": 500, "F28": 500}


def test_lateness_and_recovery_stand_beside_the_time_to_the_safe_command() -> None:
    rows = [
        {"t": 12_000, "b": 20_000, "r": 400, "o": 650, "j": 150, "d": 900},
        {"t": 22_000, "b": 20_000, "r": None, "o": 900, "j": 4100},
        {"t": None, "b": None, "r": 10, "o": 0},
    ]
    found = {f.id: f for f in Beside.of(rows).figures("x")}
    assert found["x.over_bound_ms_max"].value == 2
    assert found["x.over_bound_ms_max"].holds is False
    assert found["x.woke_late_ms_max"].value == 4.1
    assert (found["x.held_ms_max"].value, found["x.held_ms_max"].n) == (0.9, 1)
    assert (found["x.outside_ms_median"].value, found["x.outside_ms_max"].value) == (650, 650)
    assert (found["x.recovered_ms_max"].value, found["x.recovered_ms_max"].n) == (400, 2)
