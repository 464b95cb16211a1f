# SPDX-License-Identifier: Apache-2.0
"""The campaign's faults that need real processes: a few of each, and guards that are broken.

Commands are judged here, not times: the machine may be busy. Where a guard is slow by its own fault
it is slower than any machine.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from click.testing import CliRunner

from edgeguard import config, observing
from edgeguard.card import Card
from edgeguard.cli import campaigns
from edgeguard.cli.inject import Beside, command
from edgeguard.config import GuardConfig
from edgeguard.decision import Core
from edgeguard.errors import EdgeguardError
from edgeguard.inference import memory
from edgeguard.loop import realtime
from edgeguard.streams.campaign import faults_parsers, faults_workers, live, run
from edgeguard.streams.campaign.fault import Fault
from edgeguard.streams.campaign.live import LiveCase, strike
from edgeguard.streams.campaign.mutations import SOURCES, mutated, source
from edgeguard.streams.campaign.road import Road
from edgeguard.streams.campaign.run import BY_ID, inject, seen_by
from edgeguard.zoo import models_dir

pytestmark = pytest.mark.alone

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
    monkeypatch.setattr(observing.Seat, "notice", lambda seat, core: None)

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
    """The others have their quorum: no command is wrong, and nothing has a bound. That it is late,
    and much later lost, is no name of its death."""
    row = inject(ONE_DIES, apart(ONE_DIES.id), 0, demo, seen=seen)
    assert (row["w"], row["c"]) == (0, True), row
    monkeypatch.setattr(observing.Seat, "notice", lambda seat, core: None)
    monkeypatch.setattr(live, "PATIENCE_US", 100e3)  # a member is lost 350 ms after its last answer
    row = inject(ONE_DIES, apart(ONE_DIES.id), 0, demo, seen=seen)
    assert row["c"] is False, row


def test_a_liar_that_is_only_late_is_not_named(
    demo: GuardConfig, seen: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observing.Seat, "notice", lambda seat, core: None)
    row = inject(told("another picture's"), 0, 0, demo, seen=seen)
    assert row["c"] is False, row


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("how", ["rewritten", "shrinks"])
def test_a_lie_that_was_never_told_is_found(
    how: str, demo: GuardConfig, seen: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults_workers, "_told", lambda hit, how: None)
    monkeypatch.setattr(faults_workers, "DIES_MS", 0.0)
    row = inject(told(how), 0, 0, demo, seen=seen)
    assert row["why"] == ["it never did it"], row


def test_a_guard_that_holds_its_tick_up_is_found(
    demo: GuardConfig, seen: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands that come late are right ones: only the time tells."""
    notice = observing.Seat.notice

    def slowly(seat: observing.Seat, core: Core) -> None:
        if not seat.member.alive and not seat.lost:
            time.sleep(0.5)
        notice(seat, core)

    monkeypatch.setattr(observing.Seat, "notice", slowly)
    row = inject(ONE_DIES, apart(ONE_DIES.id), 0, demo, seen=seen)
    assert row["d"] >= 500_000 and row["m"] >= 30, row
    assert any("holds a tick up" in text for text in row["why"]), row


def sleeps_too_long(monkeypatch: pytest.MonkeyPatch, s: float, when: Callable[[], bool]) -> None:
    """A machine that lets some ticks begin too late."""
    sleep_until = realtime.sleep_until

    def late(deadline_ns: int) -> None:
        sleep_until(deadline_ns)
        if when():
            time.sleep(s)

    monkeypatch.setattr(realtime, "sleep_until", late)


def test_an_injection_that_the_machine_held_up_is_made_again_and_counted(
    demo: GuardConfig, seen: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "PATIENCE_US", 150e3)
    monkeypatch.setattr(run, "ATTEMPTS", 2)
    made: list[int] = []
    late: list[bool] = []
    sleeps_too_long(monkeypatch, 0.2, lambda: bool(late) and late.pop())

    def no_fault(c: LiveCase) -> None:
        made.append(c.index)
        c.start()
        late.extend([True] * (made.count(c.index) <= c.index))  # so many of its attempts
        c.begin("none")
        c.end()

    rows = [inject(workers_fault(no_fault), index, 0, demo, seen=seen) for index in (1, 2)]
    assert [(row["g"], row["w"]) for row in rows] == [(1, 0), (2, 1)], rows
    assert rows[1]["why"][-1] == "the loop is held up in each of 2 attempts"


def test_a_late_tick_excuses_no_other(
    demo: GuardConfig, seen: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard hears stopped workers for 150 ms longer than promised; the tick in which it then
    acts was in time."""
    late: list[bool] = []
    monkeypatch.setattr(run, "ATTEMPTS", 1)
    sleeps_too_long(monkeypatch, 0.3, lambda: bool(late) and late.pop())

    def all_stop(c: LiveCase) -> None:
        c.start()
        c.begin("stopped")
        c.must(c.bound_ms("STALE_MODEL", silence=True))
        strike(c.workers(), signal.SIGSTOP)
        late.append(True)
        c.go(900)
        c.end()

    members = {n: evolve(m, max_age_ms=m.max_age_ms + 150) for n, m in demo.members.items()}
    runs = evolve(demo, members=members, guard=evolve(demo.guard, max_gap_ms=5000.0))
    row = inject(workers_fault(all_stop), 0, 0, demo, runs, seen=seen)
    assert any("bound 370 ms" in text for text in row["why"]), row


@pytest.mark.usefixtures("patient")
def test_a_trip_on_the_clock_before_the_fault_is_counted(demo: GuardConfig, seen: Road) -> None:
    def tires(c: LiveCase) -> None:
        c.start()
        c.keep_time()
        strike(c.workers(), signal.SIGSTOP)
        c.go(600)
        c.begin("none")
        c.end()

    row = inject(workers_fault(tires), 0, 0, demo, seen=seen)
    assert row["x"] == 1, row
    assert "before the fault, on the clock" in row["why"][0]


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
