# SPDX-License-Identifier: Apache-2.0
"""A person is asked and comes, comes late, or does not come; and advice that asks a person."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeguard import Guard, Mode
from edgeguard.adapters.card import number
from edgeguard.adapters.handover import Handover
from edgeguard.decision import Decision
from edgeguard.errors import ConfigError
from edgeguard.output.mcu import Behind, InTwin
from firmware_bridge.keys import make_keys
from tests.adapters.pages import ROOT, follow

TOKEN = "a-token-of-the-operator"
PERIOD_S, SILENT_S, DEADLINE_S = 0.02, 2.0, 10.0
PATIENCE_S = 0.2 + 3 * PERIOD_S  # max_age_ms of the planner
STOP_S = DEADLINE_S + 0.05 + 3 * PERIOD_S  # and on_ms of INPUT_INVALID


def write(folder: Path, old: str = "", new: str = "") -> Path:
    """The page's policy, changed."""
    page = (ROOT / "docs" / "integrations" / "person.md").read_text(encoding="utf-8")
    policy = "#" + page.split("# guard.toml", 1)[1].split("```")[0]
    assert old in policy
    number("target_speed", 0, 10, "m/s").save(folder / "planner.card.json")
    (folder / "guard.toml").write_text(policy.replace(old, new), encoding="utf-8")
    return folder / "guard.toml"


class Drive:
    """The planner wants 8 m/s and is silent from second 2 on; the car does what it is told."""

    def __init__(self, policy: Path) -> None:
        self.guard = Guard.load(policy, TOKEN)
        self.guard.arm()
        self.asked: list[float] = []
        self.person = Handover(self.guard, lambda decision: self.asked.append(self.t_s))
        self.tick, self.speed = 0, 0.0

    @property
    def t_s(self) -> float:
        return self.tick * PERIOD_S

    def until(self, t_s: float, planner: bool = False) -> list[Decision]:
        made = []
        while self.t_s < t_s:
            t_ns = 1_000_000_000 + self.tick * 20_000_000
            if planner or self.t_s < SILENT_S:
                self.guard.suggest("planner", np.array([8.0], np.float32), t_ns, t_ns)
            made.append(self.person.decide({"speed": self.speed}, t_ns))
            self.speed = made[-1].command["target_speed"]
            self.tick += 1
        return made


@pytest.fixture
def drive(tmp_path: Path) -> Drive:
    found = Drive(write(tmp_path))
    before = found.until(SILENT_S)
    assert before[-1].mode == Mode.NOMINAL and found.person.left_s is None
    found.asked.clear()  # the planner was silent before the first tick, too
    return found


def test_nobody_comes_and_the_vehicle_stops_at_the_deadline_and_not_before(drive: Drive) -> None:
    made = drive.until(SILENT_S + 14)
    assert len(drive.asked) == 1
    asked_s = drive.asked[0] - SILENT_S
    assert 0 < asked_s <= PATIENCE_S
    stops = [SILENT_S + i * PERIOD_S for i, d in enumerate(made) if d.mode == Mode.SAFE_STOP]
    assert DEADLINE_S < stops[0] - drive.asked[0] <= STOP_S
    after = made[round((stops[0] - SILENT_S) / PERIOD_S) :]
    assert all(d.mode == Mode.SAFE_STOP for d in after), "latched"
    assert drive.speed == 0.0
    assert drive.person.left_s is None and len(drive.asked) == 1


def test_after_the_stop_only_a_person_lets_it_go_on(drive: Drive) -> None:
    drive.until(SILENT_S + 15)
    assert all(d.mode == Mode.SAFE_STOP for d in drive.until(drive.t_s + 1, planner=True))
    assert drive.guard.rearm("somebody") is not None
    assert drive.guard.rearm(TOKEN) is None
    assert drive.until(drive.t_s + 2, planner=True)[-1].mode == Mode.NOMINAL
    assert drive.speed > 1.0


def test_a_person_who_comes_in_time_drives_and_no_clock_runs(drive: Drive) -> None:
    drive.until(SILENT_S + 9)
    left = drive.person.left_s
    assert left is not None and 1.0 <= left <= 1.3
    drive.person.accept()
    made = drive.until(drive.t_s + 15)
    assert not any(d.active for d in made) and drive.person.left_s is None
    assert all(d.mode < Mode.SAFE_STOP for d in made)
    assert made[-1].command["target_speed"] == pytest.approx(drive.speed), "as they drive"


def test_a_planner_that_comes_back_ends_the_demand_and_the_next_one_has_all_its_time(
    drive: Drive,
) -> None:
    drive.until(SILENT_S + 9)
    drive.until(drive.t_s + 1, planner=True)
    assert drive.person.left_s is None
    again = drive.until(drive.t_s + 9)
    assert len(drive.asked) == 2
    assert all(d.mode < Mode.SAFE_STOP for d in again)


def test_a_bell_that_fails_stops_no_clock(tmp_path: Path) -> None:
    drive = Drive(write(tmp_path))

    def broken(decision: Decision) -> None:
        raise OSError("no bell")

    drive.person = Handover(drive.guard, broken)
    assert drive.until(SILENT_S + 12)[-1].mode == Mode.SAFE_STOP


@pytest.mark.parametrize("signals", [None, 5, "speed"])
def test_signals_that_are_none_stop_the_vehicle_as_they_do_without_it(
    tmp_path: Path, signals: Any
) -> None:
    drive = Drive(write(tmp_path))
    drive.until(1.0, planner=True)
    for tick in range(50, 60):
        made = drive.person.decide(signals, 1_000_000_000 + tick * 20_000_000)
    assert made.mode == Mode.SAFE_STOP and "INPUT_INVALID" in made.causes


@pytest.mark.parametrize("stamp", [None, 1e9, "soon", 10**30])
def test_a_clock_that_breaks_stops_no_deadline(drive: Drive, stamp: Any) -> None:
    drive.until(SILENT_S + 1)
    left = drive.person.left_s
    assert left is not None
    for _ in range(100):
        made = drive.person.decide({"speed": drive.speed}, stamp)
    assert "TIME_FAULT" in made.present
    assert drive.person.left_s == pytest.approx(left - 100 * PERIOD_S, abs=2 * PERIOD_S)


@pytest.mark.parametrize("step_ns", [0, -20_000_000])
def test_a_clock_that_stands_or_runs_back_stops_no_deadline(drive: Drive, step_ns: int) -> None:
    drive.until(SILENT_S + 1)
    left, stamp = drive.person.left_s, 1_000_000_000 + drive.tick * 20_000_000
    assert left is not None
    for i in range(100):
        drive.person.decide({"speed": drive.speed}, stamp + i * step_ns)
    assert drive.person.left_s == pytest.approx(left - 100 * PERIOD_S, abs=2 * PERIOD_S)
    for i in range(450):
        made = drive.person.decide({"speed": drive.speed}, stamp + (100 + i) * step_ns)
    assert made.mode == Mode.SAFE_STOP


def test_stamps_of_numpy_are_stamps(drive: Drive) -> None:
    drive.until(SILENT_S + 1)
    left = drive.person.left_s
    drive.person.decide({"speed": 0.0}, np.int64(1_000_000_000 + round((SILENT_S + 3) * 1e9)))
    assert left is not None and drive.person.left_s == pytest.approx(left - 2, abs=0.1)


def test_what_a_link_proved_reaches_the_guard(tmp_path: Path) -> None:
    proved = "range = [0.0, 10.0]\nauthenticated = true\n\n[signal.waiting]"
    drive = Drive(write(tmp_path, "range = [0.0, 10.0]\n\n[signal.waiting]", proved))
    for tick in range(10):
        t_ns = 1_000_000_000 + tick * 20_000_000
        made = drive.person.decide({}, t_ns, {"speed": 0.0})
    assert "INPUT_INVALID" not in made.present


def test_it_stands_before_a_microcontroller_as_well(tmp_path: Path) -> None:
    policy = write(tmp_path, "period_ms = 20", "period_ms = 10")
    with Guard.load(policy, TOKEN) as guard:
        behind = Behind(guard, InTwin(guard.config, make_keys()))
        asked: list[Decision] = []
        person = Handover(behind, asked.append)
        behind.arm()
        for tick in range(100):  # the planner says nothing
            person.decide({"speed": 0.0}, 1_000_000_000 + tick * 10_000_000)
        assert len(asked) == 1 and person.left_s is not None
        person.accept()
        assert not person.decide({"speed": 0.0}, 2_000_000_000).active
        behind.close()


def test_what_a_link_proved_reaches_the_guard_behind_a_microcontroller(tmp_path: Path) -> None:
    proved = "range = [0.0, 10.0]\nauthenticated = true\n\n[signal.waiting]"
    policy = write(tmp_path, "range = [0.0, 10.0]\n\n[signal.waiting]", proved)
    policy.write_text(policy.read_text().replace("period_ms = 20", "period_ms = 10"))
    with Guard.load(policy, TOKEN) as guard:
        behind = Behind(guard, InTwin(guard.config, make_keys()))
        person = Handover(behind, print)
        behind.arm()
        made = [person.decide({}, 10**9 + i * 10**7, {"speed": 0.0}) for i in range(20)]
        assert not any("INPUT_INVALID" in one.present for one in made)
        behind.close()


@pytest.mark.parametrize(("old", "new"), [
    ("[signal.waiting]", "[signal.patience]"), ('unit = "s"\n', 'unit = "m"\n'),
])  # fmt: skip
def test_a_policy_without_a_deadline_is_refused(tmp_path: Path, old: str, new: str) -> None:
    with Guard.load(write(tmp_path, old, new)) as guard, pytest.raises(ConfigError) as caught:
        Handover(guard, ask=print)
    assert "guard.toml: signal.waiting: want it, in s" in str(caught.value)


def test_the_page_word_for_word(tmp_path: Path) -> None:
    _, drives, _, advice = follow("person.md", tmp_path)
    came, stopped = (part.splitlines() for part in drives.strip("\n").split("\n\n"))
    assert came[-3].endswith("FALLBACK, 7.9 m/s") and came[-2].startswith(
        " 9.00 s: a person drives"
    )
    assert came[-1].endswith("re-armed: not at standstill")
    assert stopped[-2].startswith("15.2") and "SAFE_STOP" in stopped[-2]
    assert stopped[-1].endswith("re-armed: yes")
    said = [line.split(" -> ")[1] for line in advice.splitlines()]
    assert said[0] == "harmless" and said[2] == said[4] == "urgent"
    assert all(said[i].startswith("ask a person ") for i in (1, 3, 5, 6))
    assert "LATE" in said[3], "and not what was said of the case before"
