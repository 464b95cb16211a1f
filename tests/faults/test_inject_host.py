# SPDX-License-Identifier: Apache-2.0
"""The host's campaign: every fault a few times; and that a guard which is broken is found."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest
from attrs import evolve
from click.testing import CliRunner, Result

from edgeguard import Mode, config
from edgeguard.cli.inject import command
from edgeguard.config import GuardConfig
from edgeguard.errors import EdgeguardError
from edgeguard.streams.campaign.case import Case, Fault
from edgeguard.streams.campaign.registry import FAULTS
from edgeguard.streams.campaign.run import BY_ID, inject
from edgeguard.zoo import models_dir

NOTHING = Fault("none", "no fault", "nothing happens", frozenset(), lambda c: None)


@pytest.fixture(scope="module")
def demo() -> GuardConfig:
    return config.load(models_dir() / "guard.toml")


def test_the_catalogues_host_faults_are_there() -> None:
    ticks = {"F03", "F04", "F05", "F06", "F07", "F15", "F16", "F20", "F21", "F22", "F23", "F27"}
    processes = {"F01", "F02", "F25", "F28", "F29"}  # see test_inject_processes.py
    assert {fault.id for fault in FAULTS} == ticks | {"F08", "F26"} | processes
    assert {f.id for f in FAULTS if f.most} == {"F08", "F26"} | processes


IN_HERE = [f for f in FAULTS if f.world == "puppets" and f.id != "F25"]


@pytest.mark.parametrize("fault", IN_HERE, ids=lambda fault: fault.id)
def test_no_wrong_command_whatever_happens(fault: Fault, demo: GuardConfig) -> None:
    for index in range(6):
        row = inject(fault, index, 7, demo)
        assert row["w"] == 0, row
        assert row["x"] == 0, row
        assert row["c"] is not False, row
        if row["b"] is not None:
            assert row["t"] <= row["b"]


def test_without_a_fault_nothing_is_found(demo: GuardConfig) -> None:
    """The judge agrees with a guard that is left alone, also when limits fall one after another."""
    for index in range(10):
        case = Case(NOTHING, index, demo, Random(index), demo)
        case.start()
        case.go(8000)
        assert case.judge.wrong == []
        assert case.false_trips == 0
        case.close()


def test_an_injection_is_its_seeds_alone(demo: GuardConfig) -> None:
    for fault in ("F05", "F20", "F22"):
        assert inject(BY_ID[fault], 3, 1, demo) == inject(BY_ID[fault], 3, 1, demo)
    assert inject(BY_ID["F05"], 3, 1, demo) != inject(BY_ID["F05"], 3, 2, demo)


def test_a_trip_when_a_counter_wraps_is_a_false_trip(
    demo: GuardConfig,
) -> None:
    """A clock that falls back at 2^31 us: the campaign must not take that for a right cause."""

    def wraps(c: Case) -> None:
        c.start()
        c.begin("wraps")
        first = c.now_ns
        c.stamp = lambda t_ns: t_ns if t_ns < first + 10**9 else t_ns - 2**31 * 1000
        c.go(1500)
        if c.worst >= Mode.FALLBACK:
            c.trips_falsely("when a counter wraps")
        c.end()

    row = inject(Fault("F20", "", "", frozenset({"TIME_FAULT"}), wraps), 0, 0, demo)
    assert row["x"] == 1


# ------------------------------------------------- guards that are not what they promise


def patient(demo: GuardConfig) -> GuardConfig:
    """Hears what members said five seconds ago."""
    members = {n: evolve(m, max_age_ms=5000.0) for n, m in demo.members.items()}
    return evolve(demo, members=members)


def relaxed(demo: GuardConfig, cause: str, **row: object) -> GuardConfig:
    """A cause that does less than it should."""
    causes = {**demo.causes, cause: evolve(demo.causes[cause], **row)}
    return evolve(demo, causes=causes)


def trusting(demo: GuardConfig) -> GuardConfig:
    """One member is enough, whatever it says."""
    channel = demo.channels["target_speed"]
    demand = evolve(channel.raise_, certainty=0.05, quorum=1)
    channels = {"target_speed": evolve(channel, raise_=demand, lower=demand)}
    members = {n: evolve(m, deadline_ms=5000.0, max_age_ms=5000.0) for n, m in demo.members.items()}
    return evolve(demo, channels=channels, members=members)


def steep(demo: GuardConfig) -> GuardConfig:
    """Thrice the rates that were promised."""
    channel = demo.channels["target_speed"]
    return evolve(demo, channels={"target_speed": evolve(channel, rise=4.5, fall=12.0)})


BROKEN = {
    "old suggestions": ("F05", patient, "does not act"),
    "old suggestions at the actuator": ("F23", patient, "the fallback command never came"),
    "late ones with daring labels": ("F03", trusting, "is allowed"),
    "frozen pictures": (
        "F04", lambda c: relaxed(c, "FROZEN_INPUT", severity="NOMINAL"), "does not act"
    ),
    "a lost signal": ("F06", lambda c: relaxed(c, "INPUT_INVALID", on_ms=900.0), "bound"),
    "rates": ("F16", steep, "jumps"),
    "flapping": ("F22", lambda c: relaxed(c, "INPUT_INVALID", severity="FALLBACK"), "not act"),
}  # fmt: skip


def test_a_fault_that_gets_no_name_is_counted(demo: GuardConfig) -> None:
    """No command is wrong where the others have their quorum: only the name tells."""

    def nothing_happens(c: Case) -> None:
        c.start()
        c.hold()
        c.begin("unnoticed", must_be_named=c.index == 0)
        c.go(500)
        c.end()

    fault = Fault("F05", "", "", frozenset({"MEMBER_LOST"}), nothing_happens)
    assert [inject(fault, index, 0, demo)["c"] for index in range(2)] == [False, None]


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_guard_is_found(name: str, demo: GuardConfig) -> None:
    fault, breaks, words = BROKEN[name]
    rows = [inject(BY_ID[fault], i, 0, demo, breaks(demo)) for i in range(12)]
    found = [row for row in rows if row["w"]]
    assert found, rows
    assert any(words in text for row in found for text in row["why"]), found


# ------------------------------------------------------------------- command line


def run(folder: Path, *arguments: str) -> Result:
    line = ["--results", str(folder), "--jobs", "1", *arguments]
    return CliRunner().invoke(command, line, standalone_mode=False)


def test_the_table_the_figures_and_going_on(tmp_path: Path) -> None:
    to = tmp_path / "figures.json"
    done = run(tmp_path, "--faults", "F05,F26", "--n", "2", "--json", str(to))
    assert done.return_value == 0, done.output
    found = {f["id"]: f for f in json.loads(to.read_text())["figures"]}
    assert found["inject.F05.injections"]["value"] == 2
    assert found["inject.total.wrong_commands"] | {"n": 4} == found["inject.total.wrong_commands"]
    (stored,) = tmp_path.glob("host-seed0-*.jsonl")
    stored.write_text(stored.read_text().replace('"w":0', '"w":1', 1))
    again = run(tmp_path, "--faults", "F05,F26", "--n", "2")
    assert again.return_value == 1
    assert "FAILED inject.total.wrong_commands" in again.output


def test_a_guard_without_labels_is_told_why(tmp_path: Path) -> None:
    text = (models_dir() / "guard.toml").read_text()
    start, end = text.index("[channel.target_speed.means]"), text.index("# Pictures that nobody")
    policy = tmp_path / "guard.toml"
    text = text[:start] + '[channel.target_speed.means]\n"Stop" = 0.0\n\n' + text[end:]
    for name in ("plain.onnx", "compact.tflite", "robust.onnx"):
        text = text.replace(f'"{name}"', f'"package:gtsrb/{name.partition(".")[0]}"')
    policy.write_text(text)
    done = run(tmp_path, str(policy), "--n", "1")
    assert isinstance(done.exception, EdgeguardError)
    assert "at least two classes" in str(done.exception)
