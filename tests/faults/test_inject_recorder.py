# SPDX-License-Identifier: Apache-2.0
"""F25: the log says the truth about itself, and a recorder that does not keep its promises is
found."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeguard import config, sandbox
from edgeguard.config import GuardConfig
from edgeguard.streams.campaign import faults_recorder
from edgeguard.streams.campaign.case import Case
from edgeguard.streams.campaign.fault import Fault
from edgeguard.streams.campaign.run import inject
from edgeguard.zoo import models_dir

pytest.importorskip("mcap", reason="the recorder needs the extra record")

from edgeguard.output.recorder import recorder
from edgeguard.output.recorder.log_reader import Entry, Log
from edgeguard.output.recorder.topics import DECISION, GAP

pytestmark = pytest.mark.alone

CAUSES = frozenset({"RECORDER_LOST"})


@pytest.fixture(scope="module")
def demo() -> GuardConfig:
    return config.load(models_dir() / "guard.toml")


@pytest.mark.parametrize(
    "kind",
    [faults_recorder.full_disk, faults_recorder.killed, faults_recorder.stopped,
     faults_recorder.guard_killed, faults_recorder.tampered, faults_recorder.full_sink],
)  # fmt: skip
def test_f25_the_log_says_the_truth_about_itself(
    kind: Callable[..., None], demo: GuardConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults_recorder, "NOTICED", 1.0)

    def fails(c: Case) -> None:
        kind(c, faults_recorder.Flight(c, tmp_path))

    row = inject(Fault("F25", "", "", frozenset({"RECORDER_LOST"}), fails), 1, 0, demo)
    assert (row["w"], row["x"]) == (0, 0), row
    assert row["c"] is not False, row


def test_f25_a_log_that_lost_more_than_it_says_is_found(demo: GuardConfig, tmp_path: Path) -> None:
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


NEVER_FLUSHES = (
    "from edgeguard.output.recorder import process as p;"
    "p.FLUSH_S, p.BATCH, p.CLOSE_S = 1e9, 1 << 26, 0.1; p.main()"
)


@pytest.mark.parametrize(
    "kind", [faults_recorder.killed, faults_recorder.guard_killed, faults_recorder.full_disk]
)
def test_f25_a_recorder_that_never_flushes_is_found(
    kind: Callable[..., None], demo: GuardConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By whatever ends a log, or should."""
    monkeypatch.setattr(sandbox, "command_line", lambda *_: [sys.executable, "-c", NEVER_FLUSHES])
    monkeypatch.setattr(faults_recorder, "BOTH", 1.0)
    monkeypatch.setattr(faults_recorder, "FOR_GOOD", 1.0)
    monkeypatch.setattr(faults_recorder, "FULL_S", 0.5)

    def fails(c: Case) -> None:
        kind(c, faults_recorder.Flight(c, tmp_path))

    row = inject(Fault("F25", "", "", CAUSES, fails), 0, 0, demo)
    assert any("log ends at decision 0" in text for text in row["why"]), row


def test_f25_a_recorder_that_is_gone_and_not_missed_is_found(
    demo: GuardConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults_recorder, "GONE_S", 0.3)
    monkeypatch.setattr(recorder, "LOOK_S", 60.0)

    def fails(c: Case) -> None:
        faults_recorder.killed(c, faults_recorder.Flight(c, tmp_path))

    row = inject(Fault("F25", "", "", CAUSES, fails), 0, 0, demo)
    assert "waited 0.3 s in vain: RECORDER_LOST" in row["why"]
