# SPDX-License-Identifier: Apache-2.0
"""What drives add up to: intervals against scipy, bars that fail when they should."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from edgeguard.streams.loops.matrix import ABLATED, CELLS, REMOVABLE, ablated, jobs
from edgeguard.streams.loops.report import figures, missed, poisson, wilson
from edgeguard.streams.loops.tracks import CALIBRATION, HELD, TEST, TRAIN


def row(cell: str, mode: str, index: int = 0, **given: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "lap": True, "off": 0, "steps": 1000, "deviation_m": 3.0, "ruled": 0, "trips": 0,
        "trip": None, "safe": None, "stops": 0, "behind_mps2": 4.0, "reward": 880.0,
        "jerk_mps3": 100.0, "causes": [], "detectors": [],
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
    ("given", "bar"),
    [
        ({"lap": False}, "finished"),
        ({"off": 1}, "finished"),
        ({"ruled": 100}, "rule_share_bar"),
        ({"reward": 800.0}, "reward_ratio"),
    ],
)
def test_a_clean_drive_that_the_guard_spoils_fails_its_bar(given: dict[str, Any], bar: str) -> None:
    spoilt = [*CLEAN[:5], row("clean", "on", 2, **given)]
    assert failed(spoilt) == {f"drive.clean.on.{bar}"}


def test_cells_that_the_bare_networks_survive_are_no_misses() -> None:
    rows = [
        row("fog", "off"), row("fog", "on", lap=False),
        row("freeze", "off", off=9), row("freeze", "on", safe=4, off=2),
        row("flash", "off", lap=False), row("flash", "on", safe=3),
    ]  # fmt: skip
    assert missed(rows) == (["freeze", "flash"], ["freeze"])
    assert failed(rows) == {
        "drive.matrix.missed_share", "drive.matrix.missed_prompt", "drive.freeze.on.onset_ms_max",
    }  # fmt: skip


def test_a_drive_behind_the_microcontroller_is_held_against_one_at_its_own_pace() -> None:
    lost, kept = row("fog", "off", off=9), row("fog", "on", safe=0)
    assert missed([lost, kept, row("fog", "mcu", off=1)]) == (["fog"], [])
    slow = row("fog", "off slow", off=9)
    assert missed([lost, kept, slow, row("fog", "mcu", off=1)]) == (["fog"], ["fog"])
    assert missed([slow, row("fog", "mcu")]) == (["fog"], [])


def test_no_track_has_two_uses() -> None:
    uses = [set(seeds) for seeds in (TRAIN, HELD, CALIBRATION, TEST)]
    assert sum(map(len, uses)) == len(set.union(*uses))


def test_an_ablation_removes_what_it_names_and_nothing_else() -> None:
    from edgeguard import config
    from edgeguard.zoo import models_dir

    loaded = config.load(models_dir("drive") / "guard.toml")
    for what, gone in REMOVABLE.items():
        left = ablated(loaded, ABLATED + what)
        active = {n for n, c in left.causes.items() if c.severity != "NOMINAL"}
        before = {n for n, c in loaded.causes.items() if c.severity != "NOMINAL"}
        removed = (set(loaded.detectors) - set(left.detectors)) | (before - active)
        assert removed == set(gone)


def test_a_cut_link_is_driven_bare_and_behind_the_microcontroller() -> None:
    asked = jobs(Path("guard.toml"), list(CELLS), ["off", "on"], 2)
    assert {j.mode for j in asked if j.cell == "link cut"} == {"off slow", "mcu"}
    assert len({(j.key, j.index) for j in asked}) == len(asked)
