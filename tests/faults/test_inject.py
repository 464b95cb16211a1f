# SPDX-License-Identifier: Apache-2.0
"""The campaign: a few injections of every fault, that it goes on where it was, and that it tells a
firmware that stops too late."""

from __future__ import annotations

import json
from copy import deepcopy
from functools import partial
from math import comb
from pathlib import Path
from random import Random
from typing import Any

import pytest
from attrs import evolve
from click.testing import CliRunner, Result

from edgeguard import config
from edgeguard.cli import campaigns
from edgeguard.cli.inject import command, figures
from edgeguard.errors import EdgeguardError
from edgeguard.zoo import models_dir
from firmware_bridge.campaign.case import Case
from firmware_bridge.campaign.drive import Drive
from firmware_bridge.campaign.judge import safe_us
from firmware_bridge.campaign.registry import FAULTS
from firmware_bridge.campaign.run import BY_ID, campaign, chunk, inject
from firmware_bridge.campaign.store import Store, summary, upper_bound
from firmware_bridge.campaign.table import with_steering
from firmware_bridge.native import CAUSES

SAFE_US = 50_000


@pytest.fixture(scope="module")
def rails() -> dict[str, Any]:
    return config.mcu_dict(config.load(models_dir() / "guard.toml"))


@pytest.fixture(scope="module")
def table(rails: dict[str, Any]) -> dict[str, Any]:
    return with_steering(rails)


def slow_to_stop(table: dict[str, Any]) -> dict[str, Any]:
    """Firmware that lets 300 ms pass before it minds a silent host."""
    made = deepcopy(table)
    for name in ("LINK_LOST", "LINK_FAULTY", "ANSWER_WRONG", "STALE_MODEL", "MEMBER_LOST"):
        made["policy"]["causes"][CAUSES.index(name)].update(on_us=300_000, off_us=300_000)
    for member in made["policy"]["members"]:
        member["max_age_us"] = 400_000
    return made


def steep(table: dict[str, Any]) -> dict[str, Any]:
    """Firmware whose rates are three times those that were promised."""
    made = deepcopy(table)
    for rows in ("rows", "degraded_rows"):
        for row in made["policy"]["channels"][0][rows]:
            row["rise"], row["fall"] = 3 * row["rise"], 3 * row["fall"]
    return made


def test_the_catalogues_link_and_mcu_faults_are_there() -> None:
    want = {"F12", "F13", "F14", "F15", "F16", "F17", "F18", "F19", "F20", "F22", "F23", "F24"}
    assert {fault.id for fault in FAULTS} == want


@pytest.mark.parametrize("fault", [f.id for f in FAULTS])
def test_no_wrong_command_reaches_the_actuator(fault: str, table: dict[str, Any]) -> None:
    for index in range(12):
        row = inject(BY_ID[fault], index, 7, table)
        assert row["w"] == 0, row
        assert row["x"] == 0, row
        assert row["c"] is not False, row
        assert row["t"] is None or row["t"] <= SAFE_US, row


@pytest.mark.parametrize("fault", ["F13", "F18", "F22", "F23"])
def test_a_vehicle_on_rails_is_driven_too(fault: str, rails: dict[str, Any]) -> None:
    assert len(rails["policy"]["channels"]) == 1
    assert sum(inject(BY_ID[fault], index, 1, rails)["w"] for index in range(6)) == 0


def test_an_injection_is_its_seeds_alone(table: dict[str, Any]) -> None:
    rows = [inject(BY_ID["F13"], 5, seed, table) for seed in (3, 3)]
    assert rows[0] == rows[1]
    kinds = {inject(BY_ID["F13"], index, 3, table)["k"] for index in range(12)}
    assert len(kinds) > 4


def test_firmware_that_stops_too_late_is_found(table: dict[str, Any]) -> None:
    broken = slow_to_stop(table)
    rows = [inject(BY_ID["F13"], 1, 0, table, broken)]
    rows += [inject(BY_ID["F24"], index, 0, table, broken) for index in range(12)]
    assert rows[0]["k"] == "lost 100%"
    assert rows[0]["t"] > 300_000
    assert "begins to stop" in rows[0]["why"][0]
    late = [row for row in rows[1:] if row["k"].startswith("host dies")]
    assert late
    assert all(row["w"] > 0 for row in late)


@pytest.mark.parametrize(("fault", "index"), [("F17", 2280), ("F17", 5216), ("F24", 3589)])
def test_what_firmware_may_do_is_not_wrong(fault: str, index: int, table: dict[str, Any]) -> None:
    """Go on with one of many commands that came just before; and steer back to the last wish when
    the limits that were in its way widen."""
    row = inject(BY_ID[fault], index, 0, table)
    assert row["w"] == 0, row


class SlowWire(Case):
    """Every answer comes when its question was already asked again."""

    def start(self, *given: Any, **more: Any) -> Drive:
        drive = super().start(*given, **more)
        drive.up_us = 9_000
        self.go(7)
        return drive


def test_a_question_that_was_answered_is_no_evidence(table: dict[str, Any]) -> None:
    fault = BY_ID["F19"]
    cases = [SlowWire(fault, index, table, Random(f"7/F19/{index}")) for index in (3, 35, 58)]
    for case in cases:
        fault.inject(case)
        found = case.result()
        assert found.kind in {"no answer", "no verdict"}
        assert found.safe_us is not None
        assert 30_000 < found.safe_us <= SAFE_US, found
        assert found.wrong == 0, found


@pytest.mark.parametrize(("ms", "most_ms"), [(5, 50), (10, 50), (12, 52), (17, 57)])
def test_a_lost_link_is_found_by_the_turn_after_its_limit(ms: int, most_ms: int) -> None:
    """36 ms, a period, 2 ms on the wire and 2 ms of the turn."""
    assert safe_us(ms * 1000) == most_ms * 1000


FROZEN = 11  # of seed 7: the host's loop stands


class QuickTurns(Case):
    """What they decide is at the actuators at once."""

    def start(self, *given: Any, **more: Any) -> Drive:
        drive = super().start(*given, **more)
        self.turn_us, drive.turn_us = drive.turn_us, 0
        return drive


def test_what_a_turn_takes_counts(table: dict[str, Any]) -> None:
    usual = inject(BY_ID["F19"], FROZEN, 7, table)
    assert usual["k"] == "frozen"
    quick = QuickTurns(BY_ID["F19"], FROZEN, table, Random(f"7/F19/{FROZEN}"))
    quick.fault.inject(quick)
    found = quick.result().safe_us
    assert found is not None
    assert 36_000 < found < found + quick.turn_us == usual["t"] <= SAFE_US


def test_firmware_that_jumps_is_found(table: dict[str, Any]) -> None:
    for fault in ("F15", "F16"):
        row = inject(BY_ID[fault], 0, 0, table, steep(table))
        assert row["w"] > 0
        assert any("jumps" in text for text in row["why"])


@pytest.mark.parametrize("fault", ["F15", "F16"])
def test_where_nothing_must_be_named_no_name_is_right(
    fault: str, table: dict[str, Any], tmp_path: Path
) -> None:
    rows = [inject(BY_ID[fault], index, 7, table) for index in range(3)]
    assert [row["c"] for row in rows] == [None] * 3
    found = {f.id for f in figures(campaigns.twin(None), [summary(fault, rows)])}
    assert f"mcu.{fault}.injections" in found
    assert f"mcu.{fault}.cause_right" not in found


def test_a_stop_by_another_name_is_not_right(table: dict[str, Any]) -> None:
    """Neither where it has to stop nor where it may."""
    strange = evolve(BY_ID["F14"], causes=frozenset({"SELF_TEST"}))
    rows = [inject(fault, index, 7, table) for fault in (BY_ID["F14"], strange)
            for index in range(6)]  # fmt: skip
    may, must = (0, 1, 2, 4, 5), (3,)
    assert all(rows[index]["t"] is not None for index in (*may, *must))
    assert all(rows[index]["c"] is True for index in (*may, *must))
    assert all(rows[6 + index]["c"] is False for index in (*may, *must))


def test_what_is_found_fails_its_bars(table: dict[str, Any], tmp_path: Path) -> None:
    store = Store(tmp_path / "results.jsonl")
    make = partial(chunk, seed=0, table=table, firmware=steep(table))
    campaign({"F16": 2}, store, make)
    rows = [summary("F16", store.rows["F16"].values())]
    found = {f.id: f for f in figures(campaigns.twin(None), rows)}
    store.close()
    assert found["mcu.F16.wrong_commands"].value > 0
    assert found["mcu.F16.wrong_commands"].holds is False
    assert found["inject.total.wrong_commands"].holds is False


# ----------------------------------------------------------------- results


def test_it_goes_on_where_it_was(table: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "deep" / "results.jsonl"
    done: list[tuple[str, int]] = []

    def go(n: int) -> Store:
        done.clear()
        store = Store(path)
        campaign({"F16": n, "F18": n}, store, partial(chunk, seed=0, table=table),
                 progress=lambda fault, k: done.append((fault, k)))  # fmt: skip
        store.close()
        return store

    first = go(2)
    assert sum(k for _, k in done) == 4
    go(2)
    assert done == []
    text = path.read_text()
    path.write_text(text[:-9])  # killed while it wrote
    again = go(3)
    assert sum(k for _, k in done) == 3  # one more of each, and the one that was cut off
    assert len(path.read_text().splitlines()) == 6
    assert all(again.rows[f][i] == first.rows[f][i] for f in ("F16", "F18") for i in range(2))


def test_a_file_that_is_no_result_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"f": "F16", "i": 0}\nnonsense\n')
    with pytest.raises(EdgeguardError, match=r"x\.jsonl: line 2 is no result"):
        Store(path)


def test_a_second_writer_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    first = Store(path)
    first.add([{"f": "F16", "i": 0}])
    with pytest.raises(EdgeguardError, match=r"x\.jsonl: another process writes it"):
        Store(path)
    first.add([{"f": "F16", "i": 1}])
    first.close()
    second = Store(path)
    assert sorted(second.rows["F16"]) == [0, 1]
    second.close()


def test_two_processes_find_what_one_does(table: dict[str, Any], tmp_path: Path) -> None:
    stores = [Store(tmp_path / name) for name in ("one", "two")]
    for jobs, store in enumerate(stores, 1):
        campaign({"F18": 3}, store, partial(chunk, seed=0, table=table), jobs=jobs)
        store.close()
    assert stores[0].rows == stores[1].rows


@pytest.mark.parametrize(("k", "n"), [(1, 100), (3, 20), (10, 10_000), (40, 41)])
def test_the_bound_is_the_one_of_clopper_and_pearson(k: int, n: int) -> None:
    p = upper_bound(k, n)
    at_most = sum(comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))
    assert at_most == pytest.approx(0.05, rel=1e-6)


def test_the_bound_of_none_is_three_over_n() -> None:
    assert upper_bound(0, 10_000) == pytest.approx(3e-4)
    assert upper_bound(0, 0) == upper_bound(5, 5) == 1.0


# ------------------------------------------------------------- command line


def run(folder: Path, *arguments: str) -> Result:
    line = ["--target", "twin", "--results", str(folder), "--jobs", "1", *arguments]
    return CliRunner().invoke(command, line, standalone_mode=False)


def test_the_table_and_the_figures(tmp_path: Path) -> None:
    to = tmp_path / "figures.json"
    done = run(tmp_path, "--faults", "f18,F16", "--n", "2", "--json", str(to))
    assert done.return_value == 0, done.output
    for word in ("F16", "F18", "wrong commands", "95 % bound", "cause named", "false trips"):
        assert word in done.output
    document = json.loads(to.read_text())
    found = {figure["id"]: figure for figure in document["figures"]}
    assert found["mcu.F18.injections"]["value"] == 2
    assert found["mcu.F18.wrong_commands"]["interval"] == [0.0, 1.0]
    assert 0 < found["mcu.F18.time_to_safe_ms_max"]["value"] <= 50
    assert found["mcu.ramp_ms_max"]["holds"]
    assert "mcu.F16.time_to_safe_ms_max" not in found  # nothing has to stop
    assert document["seed"] == 0


def test_a_wrong_command_is_exit_code_1(tmp_path: Path) -> None:
    assert run(tmp_path, "--faults", "F16", "--n", "1").return_value == 0
    (stored,) = tmp_path.glob("twin-seed0-*.jsonl")
    stored.write_text(stored.read_text().replace('"w":0', '"w":2'))
    done = run(tmp_path, "--faults", "F16", "--n", "1")
    assert done.return_value == 1
    assert "FAILED mcu.F16.wrong_commands" in done.output


def test_a_curve_needs_steering(tmp_path: Path) -> None:
    done = run(tmp_path, str(models_dir() / "guard.toml"), "--faults", "F16", "--n", "1")
    assert done.return_value == 0
    assert "F24 left out: this vehicle has no steering channel" in done.output
    assert "mcu.F24" not in done.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--faults", "F99"], "has no F99; known: F12, F13"),
        (["--faults", "F09"], "F09: edgeguard lab flips"),
        (["--faults", ","], "no such fault"),
        (["nowhere.toml"], "nowhere.toml"),
        (["--json", "no/such/folder.json"], "there is no folder"),
    ],
)
def test_what_the_user_got_wrong_is_one_line(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    done = run(tmp_path, *arguments)
    assert isinstance(done.exception, EdgeguardError | OSError)
    assert words in str(done.exception)
    assert "\n" not in str(done.exception)
