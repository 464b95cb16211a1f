# SPDX-License-Identifier: Apache-2.0
"""What drives add up to: intervals against scipy, bars that fail when they should."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from rich.console import Console
from scipy import stats

from edgeguard import ConfigError, Guard, config
from edgeguard.cli.main import main
from edgeguard.config import GuardConfig
from edgeguard.streams.loops.clean import reaches
from edgeguard.streams.loops.drive import PERIOD_S, Sense
from edgeguard.streams.loops.matrix import (
    ABLATED,
    BARE,
    CELLS,
    NAMES,
    REMOVABLE,
    ablated,
    heeded,
    jobs,
)
from edgeguard.streams.loops.pursuit import Style
from edgeguard.streams.loops.report import figures, harmed, missed, poisson, ranks, table, wilson
from edgeguard.streams.loops.sensors import Errors
from edgeguard.streams.loops.steers import PERIOD_MS, SIGNALS, check, patient
from edgeguard.streams.loops.tracks import CALIBRATION, HELD, TEST, TRAIN
from edgeguard.streams.loops.vehicle import Pose
from edgeguard.zoo import models_dir
from tests.faults.bench import write_policy


def row(cell: str, mode: str, index: int = 0, **given: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "lap": True, "off": 0, "steps": 1000, "deviation_m": 3.0, "ruled": 0, "trips": 0,
        "trip": None, "safe": None, "unanswered": 0, "onsets": 1, "held": 0, "stops": 0,
        "behind_mps2": 4.0,
        "reward": 880.0, "jerk_mps3": 100.0, "causes": [], "detectors": [],
    }  # fmt: skip
    return {"cell": cell, "mode": mode, "i": index, **plain, **given}


CLEAN = [row("clean", mode, i) for mode in ("off", "on") for i in range(3)]


@pytest.mark.parametrize("events", [0, 1, 4, 20])
def test_poisson_intervals_are_garwoods(events: int) -> None:
    low, high = poisson(events)
    assert low == pytest.approx(stats.chi2.ppf(0.025, 2 * events) / 2 if events else 0.0, rel=1e-3)
    assert high == pytest.approx(stats.chi2.ppf(0.975, 2 * events + 2) / 2, rel=1e-3)


@pytest.mark.parametrize(("hits", "n"), [(0, 20), (20, 20), (3, 7)])
def test_wilson_intervals(hits: int, n: int) -> None:
    want = stats.binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson(hits, n) == pytest.approx((want.low, want.high), abs=1e-3)


def failed(rows: list[dict[str, Any]]) -> set[str]:
    return {f.id for f in figures(rows) if f.holds is False}


def test_a_clean_drive_holds_every_bar() -> None:
    assert failed(CLEAN) == set()


@pytest.mark.parametrize(
    ("given", "bars"),
    [
        ({"lap": False}, {"clean.on.finished", "matrix.lost_by_the_guard_alone"}),
        ({"off": 1}, {"clean.on.finished", "matrix.lost_by_the_guard_alone"}),
        ({"ruled": 100}, {"clean.on.rule_share_bar"}),
        ({"reward": 800.0}, {"clean.on.reward_ratio"}),
    ],
)
def test_a_clean_drive_that_the_guard_spoils_fails_its_bar(
    given: dict[str, Any], bars: set[str]
) -> None:
    spoilt = [*CLEAN[:5], row("clean", "on", 2, **given)]
    assert failed(spoilt) == {f"drive.{bar}" for bar in bars}


def test_cells_that_the_bare_networks_survive_are_no_misses() -> None:
    rows = [
        row("fog", "off"), row("fog", "on", lap=False),
        row("freeze", "off", off=9), row("freeze", "on", safe=4, off=2),
        row("flash", "off", lap=False), row("flash", "on", safe=3),
    ]  # fmt: skip
    assert missed(rows) == (["freeze", "flash"], ["freeze"])
    assert failed(rows) == {
        "drive.matrix.missed_share", "drive.matrix.missed_prompt", "drive.freeze.on.onset_ms_max",
        "drive.matrix.lost_by_the_guard_alone",  # in fog
    }  # fmt: skip


@pytest.mark.parametrize("mode", ["on", "mcu"])
@pytest.mark.parametrize(
    ("cell", "given", "bars"),
    [
        ("blackout", {"safe": 2}, set()),
        ("blackout", {"safe": 4}, {"onset_ms_max"}),
        ("blackout", {"safe": 2, "unanswered": 1}, {"never_safe"}),
        ("blackout", {"safe": None}, set()),
        ("NaN one", {"safe": None}, set()),  # the other two go on
        ("NaN one", {"safe": 400}, set()),  # something else happened later
        ("fog", {"safe": None}, set()),
    ],
)
def test_where_somebody_must_take_over_no_takeover_is_no_pass(
    cell: str, given: dict[str, Any], bars: set[str], mode: str
) -> None:
    rows = [row(cell, BARE[mode]), row(cell, mode, **given), row(cell, mode, 1, safe=2)]
    assert failed(rows) == {f"drive.{cell}.{mode}.{bar}" for bar in bars}


def test_a_microcontroller_has_a_turn_less() -> None:
    rows = [row("blackout", "off slow"), row("blackout", "mcu", safe=3)]
    assert failed(rows) == {"drive.blackout.mcu.onset_ms_max"}
    assert failed([row("blackout", "off"), row("blackout", "on", safe=3)]) == set()


def test_a_guard_that_loses_where_one_member_is_gone_fails_all_the_same() -> None:
    assert "drive.matrix.missed_prompt" in failed(
        [row("NaN one", "off", off=1), row("NaN one", "on", off=1)]
    )


def test_intervals_say_what_is_known_and_no_more() -> None:
    def of(rows: list[dict[str, Any]]) -> dict[str, Any]:
        return {f.id.rpartition(".")[2]: f.interval for f in figures(rows)}

    few = of([row("fog", "off", i, off=10 * i) for i in range(4)])
    assert few["offroad"] is None and few["laps"] is not None
    many = of([row("fog", "off", i, off=10 * i) for i in range(8)])
    low, high = many["offroad"]
    assert 0.0 <= low < 0.035 < high
    alike = of([row("fog", "off", i) for i in range(8)])
    assert alike["offroad"] is None, "none of eight is not none at all"
    assert alike["left_road"] == wilson(0, 8) and alike["left_road"][1] > 0.3


def test_a_drive_behind_the_microcontroller_is_held_against_one_at_its_own_pace() -> None:
    lost, kept = row("fog", "off", off=9), row("fog", "on", safe=0)
    rows = [lost, kept, row("fog", "mcu", off=1)]
    assert (missed(rows), missed(rows, "mcu")) == ((["fog"], []), ([], []))
    slow = row("fog", "off slow", off=9)
    assert missed([*rows, slow], "mcu") == (["fog"], ["fog"])
    assert missed([slow, row("fog", "mcu")], "mcu") == (["fog"], [])


def test_what_the_guard_alone_loses_is_counted_and_a_track_that_nobody_can_drive_is_not() -> None:
    rows = [row("fog", "off", i) for i in range(3)] + [
        row("fog", "on"), row("fog", "on", 1, lap=False), row("fog", "on", 2, off=3)
    ]  # fmt: skip
    assert harmed(rows) == ({"fog": 2}, 3)
    wild = [row("clean", "off", 2, off=1), row("clean", "on", 2)]
    assert harmed([*rows, *wild]) == ({"fog": 1}, 2)
    spoilt = [row("rain", "off", 2, off=1), row("rain", "on", 2, off=1)]
    assert missed(spoilt) == (["rain"], ["rain"]) and missed([*spoilt, *wild]) == ([], [])


@pytest.mark.parametrize("n", [6, 9, 20])
def test_intervals_of_a_median_leave_out_a_twentieth_at_most(n: int) -> None:
    low, high = ranks(list(range(n))) or (0, 0)
    outside = [stats.binom.cdf(k, n, 0.5) * 2 for k in (low, low + 1)]
    assert outside[0] <= 0.05 < outside[1] and low + high == n - 1
    assert ranks(range(5)) is None


def test_no_track_has_two_uses() -> None:
    uses = [set(seeds) for seeds in (TRAIN, HELD, CALIBRATION, TEST)]
    assert sum(map(len, uses)) == len(set.union(*uses))


def test_an_ablation_removes_what_it_names_and_nothing_else() -> None:
    loaded = config.load(models_dir("drive") / "guard.toml")
    for what, gone in REMOVABLE.items():
        left = ablated(loaded, ABLATED + what)
        active = {n for n, c in left.causes.items() if c.severity != "NOMINAL"}
        before = {n for n, c in loaded.causes.items() if c.severity != "NOMINAL"}
        removed = (set(loaded.detectors) - set(left.detectors)) | (before - active)
        assert removed == set(gone)


def test_without_dispersion_members_that_disagree_steer_all_the_same() -> None:
    """The guard's members say what they say here; the pictures are left out."""
    loaded = ablated(config.load(models_dir("drive") / "guard.toml"), ABLATED + "image")
    members = {n: evolve(m, runtime="external", camera=None) for n, m in loaded.members.items()}
    blind = evolve(loaded, members=members, cameras={})
    assert steered(blind) == (pytest.approx(0.0, abs=0.06), "FALLBACK"), "the rule"
    assert steered(ablated(blind, ABLATED + "dispersion")) == (
        pytest.approx(-0.1, abs=0.01), "NOMINAL"
    )  # fmt: skip


def steered(loaded: GuardConfig) -> tuple[float, str]:
    """Command and mode after a second in which the members say -0.4, -0.1 and 0.3, the rule 0."""
    want = {"grey": -0.4, "colour": -0.1, "hard": 0.3}
    signals = dict.fromkeys(("lateral", "drift", "aim", "rule"), 0.0)
    signals |= {"speed": 10.0, "rule_speed": 10.0}
    cards = config.load_cards(loaded)
    with Guard(patient(loaded)) as guard:
        guard.arm()
        for tick in range(50):
            t_ns = tick * 20_000_000
            guard.suggest("cruise", np.float32([10.0]), t_ns, t_ns)
            for name, value in want.items():
                spec = cards[name].scores
                raw = np.array([round(value / spec.scale) + spec.zero_point], np.int8)
                guard.suggest(name, raw, t_ns, t_ns)
            made = guard.decide(signals, t_ns)
    return made.command["steering"], made.mode.name


def test_an_attacker_heeds_the_detectors_that_are_there() -> None:
    loaded = config.load(models_dir("drive") / "guard.toml")
    assert heeded(loaded, "on").detectors == loaded.detectors
    assert heeded(loaded, "off").detectors == heeded(loaded, "off slow").detectors == {}
    gone = heeded(ablated(loaded, ABLATED + "members against rule"), ABLATED)
    assert set(loaded.detectors) - set(gone.detectors) == set(REMOVABLE["members against rule"])


def log_of(folder: Path, said: np.ndarray, rule: np.ndarray) -> Path:
    """A log of a drive in which nothing else happens."""
    names = ("grey", "colour", "hard", "lateral", "drift", "aim", "mean", "contrast", "sharpness")
    columns = [said, said, said, *[np.zeros(len(said))] * 6, rule]
    log = folder / "1.csv"
    np.savetxt(
        log, np.stack(columns, 1), delimiter=",", header=",".join([*names, "rule"]), comments=""
    )
    return log


def test_limits_hold_answers_against_the_rule_of_the_next_step(tmp_path: Path) -> None:
    """As the guard does, which compares before it takes what is new. Networks that always say what
    the rule says are as far from it there as it moves in a step."""
    rule = 0.9 * np.sin(np.arange(500) * 0.05)
    loaded = config.load(models_dir("drive") / "guard.toml")
    found = {r.name: r for r in reaches(loaded, [log_of(tmp_path, rule, rule)])}
    assert 0.02 < found["apart_grey"].high <= 0.046
    behind = np.append(rule[1:], rule[-1])
    found = {r.name: r for r in reaches(loaded, [log_of(tmp_path, behind, rule)])}
    assert found["apart_grey"].high == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (["--tracks", "80"], "80 is not in the range 1<=x<=79"),
        (["--mcu", "twin", "--ablate"], "--ablate: is driven without a microcontroller"),
        (["--takeover", "guard.toml"], "--takeover guard.toml: want .svg or .png or .pdf; GUARD"),
        (["--demo", "guard.toml"], "--demo guard.toml: want .gif; GUARD.TOML comes before"),
        (["--takeover", "no/where.svg"], "no/where.svg: there is no folder no"),
        (["--matrix", "--cells", "fog"], "--cells: leave out --matrix"),
        (["--demo", "x.gif", "--matrix"], "--demo: leave out --matrix"),
        (["--takeover", "x.svg", "--mcu", "twin"], "--takeover: leave out --mcu"),
        (["--calibrate", "--demo", "x.gif", "--cells", "fog"], "leave out --demo, --cells"),
        (["--cells", " "], "--cells: names nothing"),
        (["--cells", "dark"], "--cells: no dark; --cells '?' names all"),
        (["--calibrate", "--json", "f.json"], "--calibrate makes no figures"),
        (["nowhere.toml"], "nowhere.toml"),
        (["guard.toml"], "guard.toml: camera: want front alone; this policy is none of the racing"),
    ],
)
def test_what_cannot_be_driven_is_refused(
    line: list[str], complaint: str, capsys: pytest.CaptureFixture[str],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    write_policy(tmp_path)
    with pytest.raises(SystemExit) as done:
        main(["drive", *line])
    said = capsys.readouterr().err
    assert done.value.code == 2
    assert complaint in said and "Traceback" not in said


def renamed(table: str, old: str) -> Callable[[GuardConfig], GuardConfig]:
    """The policy with another name for one of its rows."""

    def change(loaded: GuardConfig) -> GuardConfig:
        rows = {"other" if name == old else name: r for name, r in getattr(loaded, table).items()}
        return evolve(loaded, **{table: rows})

    return change


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (renamed("cameras", "front"), "camera: want front alone"),
        (renamed("channels", "steering"), "channel: want steering and speed"),
        (renamed("members", "cruise"), "member: want cruise external, and no other"),
        (renamed("signals", "aim"), "signal: this car has speed, lateral, drift, aim, rule, rule_"),
        (lambda c: evolve(c, guard=evolve(c.guard, period_ms=10.0)), "guard.period_ms: want 20"),
    ],
)
def test_a_policy_of_another_vehicle_is_refused_before_a_drive(
    change: Callable[[GuardConfig], GuardConfig], complaint: str
) -> None:
    loaded = config.load(models_dir("drive") / "guard.toml")
    check(loaded)
    with pytest.raises(ConfigError, match=complaint):
        check(change(loaded))


def test_what_a_policy_may_ask_of_this_car_is_what_its_loop_gives() -> None:
    circle = np.array([(100 * np.cos(a), 100 * np.sin(a)) for a in np.linspace(0, 6.2, 200)])
    moving = Sense.of(SimpleNamespace(path=circle), Errors(), 0, Style())
    assert set(moving.signals(Pose(100.0, 0.0, 1.6, 20.0), 0.0)) == set(SIGNALS)
    assert PERIOD_MS == 1000 * PERIOD_S


def test_a_cut_link_is_driven_bare_and_behind_the_microcontroller() -> None:
    asked = jobs(Path("guard.toml"), list(CELLS), ["off", "on"], 2)
    assert {j.mode for j in asked if j.cell == "link cut"} == {"off slow", "mcu"}
    assert len({(j.key, j.index) for j in asked}) == len(asked)


def test_cells_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(["drive", "--cells", "?"])
    assert done.value.code == 0
    assert capsys.readouterr().out.splitlines() == list(NAMES)


@pytest.mark.parametrize("width", [80, 100, 120, 150, 189, 190])
def test_what_counts_is_there_to_read_on_every_terminal(width: int) -> None:
    given = {"safe": 3, "causes": ["FROZEN_INPUT", "ASSOCIATION_BROKEN"], "detectors": ["left"]}
    rows = [
        *CLEAN, row("printed patch", "off", lap=False, off=1), row("printed patch", "on", **given)
    ]  # fmt: skip
    out = StringIO()
    Console(width=width, file=out).print(table(rows, "on", width))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width and "…" not in out.getvalue()
    told = {line.split("│")[1].strip(): line.split("│") for line in lines if line[0] == "│"}
    clean, patch = told["clean"], told["printed patch"]
    assert " ".join(patch[2:9]).split() == ["0/1", "1/1", "0.1%", "0.0%", "0.0%", "60", "60"]
    assert clean[7].strip() == "-", "nothing goes wrong there"
    assert any("left FROZEN_INPUT" in cell for cell in patch) == (width >= 100)
