# SPDX-License-Identifier: Apache-2.0
"""The host's campaign: every fault a few times; and that a guard which is broken is found."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from attrs import evolve
from click.testing import CliRunner, Result

from edgeguard import Mode, config
from edgeguard.cli import campaigns
from edgeguard.cli.inject import command
from edgeguard.config import GuardConfig
from edgeguard.decision import Shadow
from edgeguard.errors import EdgeguardError
from edgeguard.guard import Guard
from edgeguard.inference import onnx
from edgeguard.streams.campaign import faults_inputs
from edgeguard.streams.campaign.case import Case
from edgeguard.streams.campaign.fault import Fault
from edgeguard.streams.campaign.outlive import outlived
from edgeguard.streams.campaign.registry import FAULTS
from edgeguard.streams.campaign.run import BY_ID, chunk, inject
from edgeguard.zoo import models_dir
from firmware_bridge.campaign.store import Store

pytestmark = pytest.mark.alone

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


def lasting(demo: GuardConfig) -> GuardConfig:
    """Hears what members said for 100 ms longer than it promised."""
    members = {n: evolve(m, max_age_ms=m.max_age_ms + 100) for n, m in demo.members.items()}
    return evolve(demo, members=members)


def deaf_to_less(demo: GuardConfig) -> GuardConfig:
    """No member is ever sure enough to lower anything, and nobody minds."""
    channel = demo.channels["target_speed"]
    lower = evolve(channel.lower, certainty=1.0)
    channels = {"target_speed": evolve(channel, lower=lower)}
    return relaxed(evolve(demo, channels=channels), "OPERATION_DENIED", severity="NOMINAL")


def steep(demo: GuardConfig) -> GuardConfig:
    """Thrice the rates that were promised."""
    channel = demo.channels["target_speed"]
    return evolve(demo, channels={"target_speed": evolve(channel, rise=4.5, fall=12.0)})


BROKEN = {
    "old suggestions": ("F05", patient, "does not act"),
    "old suggestions at the actuator": ("F23", patient, "the fallback command never came"),
    "suggestions a little too old": ("F05", lasting, "bound 370 ms"),
    "suggestions a little too old, at the actuator": ("F23", lasting, "bound 370 ms"),
    "late ones with daring labels": ("F03", trusting, "is allowed"),
    "lower signs": ("F16", deaf_to_less, "is allowed"),
    "lower signs after a release": ("F15", deaf_to_less, "is allowed"),
    "frozen pictures": (
        "F04", lambda c: relaxed(c, "FROZEN_INPUT", severity="NOMINAL"), "does not act"
    ),
    "what frozen pictures show": (
        "F04", lambda c: relaxed(c, "FROZEN_INPUT", severity="NOMINAL"), "is allowed"
    ),
    "a lost signal": ("F06", lambda c: relaxed(c, "INPUT_INVALID", on_ms=900.0), "bound"),
    "rates": ("F16", steep, "jumps"),
    "the worst of many": (
        "F21", lambda c: relaxed(c, "INPUT_INVALID", severity="FALLBACK"), "is the worst"
    ),
    "flapping": ("F22", lambda c: relaxed(c, "INPUT_INVALID", severity="FALLBACK"), "not act"),
    "chattering": ("F22", lambda c: relaxed(c, "FROZEN_INPUT", off_ms=60.0), "chatters"),
    "rules that are lost": (
        "F27", lambda c: relaxed(c, "CONTROLLER_LOST", on_ms=900.0), "no controlled stop"
    ),
}  # fmt: skip
MOST = {"late ones with daring labels", "lower signs", "rules that are lost",
        "suggestions a little too old, at the actuator"}  # fmt: skip


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
    found = [row for row in rows if any(words in text for text in row.get("why", ()))]
    assert len(found) > (6 if name in MOST else 0), rows
    assert all(row["w"] for row in found)


def test_causes_that_get_lost_among_many_are_found(
    demo: GuardConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Guard, "note", lambda guard, causes: None)
    row = inject(BY_ID["F21"], 0, 0, demo)
    assert any("causes at once" in text for text in row["why"]), row


def test_ages_that_begin_anew_when_a_counter_wraps_are_found(
    demo: GuardConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All members seem to have spoken just then."""
    suggest, decide = Guard.suggest, Guard.decide
    said: dict[str, tuple[Guard, str, object]] = {}
    last_ns = [0]

    def keeps(guard: Guard, member: str, scores: object, *when: int) -> None:
        said[member] = guard, member, scores
        suggest(guard, member, scores, *when)

    def forgets(guard: Guard, signals: dict[str, float], t_ns: int) -> object:
        before_ns, last_ns[0] = last_ns[0], t_ns
        if any(before_ns < wrap_ns <= t_ns for wrap_ns in faults_inputs.WRAPS_NS):
            for one in said.values():
                suggest(*one, t_ns, t_ns)
        return decide(guard, signals, t_ns)

    monkeypatch.setattr(Guard, "suggest", keeps)
    monkeypatch.setattr(Guard, "decide", forgets)
    fault = evolve(BY_ID["F20"], inject=silent)
    rows = [inject(fault, index, 0, demo) for index in range(4)]
    assert all(any("bound 370 ms" in text for text in row.get("why", ())) for row in rows), rows


def silent(c: Case) -> None:
    faults_inputs.clocks(c, faults_inputs.silent_over_the_wrap)


@pytest.mark.parametrize(
    ("fault", "kinds"),
    [("F08", {"accelerator", "swapped"}), ("F20", {"wraps", "silent", "steps"}),
     ("F22", {"signal", "camera"}), ("F27", {"commanding", "a shadow"})],
)  # fmt: skip
def test_a_fault_comes_in_all_its_ways(fault: str, kinds: set[str], demo: GuardConfig) -> None:
    rows = [inject(BY_ID[fault], index, 1, demo) for index in range(20)]
    assert {kind for kind in kinds for row in rows if kind in row["k"]} == kinds
    assert all(row["c"] is not False for row in rows), rows


def test_a_guard_that_takes_the_processor_in_its_place_is_found(
    demo: GuardConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = onnx._session
    monkeypatch.setattr(onnx, "_session", lambda *given: session(*given[:3], (onnx.CPU,)))
    rows = [inject(BY_ID["F08"], index, 1, demo) for index in range(20)]
    assert {(row["k"], *row["why"]) for row in rows if row["w"]} == {("accelerator", "arms")}


def test_a_guard_that_exits_is_found(demo: GuardConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """F27: a controller that calls exit() ends the program."""
    shadow_run = Shadow.run

    def exits(shadow: Shadow, *given: Any) -> Any:
        made = shadow_run(shadow, *given)
        if shadow.failure and shadow.failure.startswith("SystemExit"):
            raise SystemExit(3)
        return made

    monkeypatch.setattr(Shadow, "run", exits)
    rows = [inject(BY_ID["F27"], index, 0, demo) for index in range(20)]
    assert {row["k"].partition(",")[0] for row in rows if row["w"]} == {"exits"}


def test_an_injection_that_the_process_dies_of_is_found_and_the_others_are_made(
    demo: GuardConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(c: Case) -> None:
        if c.index == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if c.index == 2:
            os._exit(0)
        c.kind = "lives"

    monkeypatch.setitem(BY_ID, "F05", evolve(BY_ID["F05"], inject=dies))
    rows = chunk("F05", [0, 1, 2, 3], 0, models_dir() / "guard.toml")
    assert [(row["i"], row["k"], row["w"]) for row in rows] == [
        (0, "lives", 0), (1, "", 1), (2, "", 1), (3, "lives", 0)
    ]  # fmt: skip
    assert [row["why"] for row in rows[1:3]] == [
        ["the deciding process was ended by SIGKILL"],
        ["the deciding process was ended by itself with exit code 0"],
    ]


def test_a_bug_of_a_fault_is_told(demo: GuardConfig) -> None:
    def raises(index: int) -> dict[str, Any]:
        raise KeyError(index)

    with pytest.raises(RuntimeError, match="KeyError: 7"):
        outlived(raises, [7], lambda index, ending: {})


# ------------------------------------------------------------------- command line


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A guard whose files may be changed."""
    ignored = shutil.ignore_patterns("stream.npz", "*.float.*")
    return Path(shutil.copytree(models_dir(), tmp_path / "guard", ignore=ignored)) / "guard.toml"


def test_a_policy_that_changes_meanwhile_ends_the_campaign(copied: Path, tmp_path: Path) -> None:
    """Before workers start, which read it anew."""
    campaign = campaigns.host(copied, models_dir() / "stream.npz")
    store = Store(tmp_path / "x.jsonl")

    def changed(fault: str, done: int) -> None:
        copied.write_text(copied.read_text() + "# another\n")

    with pytest.raises(EdgeguardError, match=r"x\.jsonl: .* changed while this was made"):
        campaign.go({"F26": 1, "F01": 1}, 0, store, 1, changed)
    assert set(store.rows) == {"F26"}
    store.close()


def test_the_key_is_of_all_that_the_guard_reads(copied: Path) -> None:
    """A guard that was calibrated anew is another: what was kept of it before is none of its."""
    ood = copied.with_name("ood.toml")
    for made, names in (
        (campaigns.host(ood), ("ood.calibration.toml", "ood.calibration.npz", "ood.toml")),
        (campaigns.host(copied), ("plain.card.json", "plain.golden.npz", "labels.json")),
        (campaigns.twin(copied), ("guard.toml", "plain.card.json", "plain.onnx")),
    ):
        for name in names:
            file = copied.with_name(name)
            before = file.read_bytes()
            file.write_bytes(before + b" ")
            assert made.key_now() != made.key, name
            file.unlink()
            assert made.key_now() != made.key, name
            file.write_bytes(before)
            assert made.key_now() == made.key


def test_the_key_is_not_of_what_the_guard_is_not_made_of(copied: Path) -> None:
    """A token is changed while a campaign runs, and a card of somebody else lies beside it."""
    copied.with_name("op.token").write_text("of a person, and long enough")
    copied.write_text(copied.read_text() + '\n[telemetry]\ntoken_file = "op.token"\n')
    made = campaigns.host(copied)
    copied.with_name("op.token").write_text("of another one, as long as that")
    shutil.copy(copied.with_name("plain.card.json"), copied.with_name("other.card.json"))
    assert made.key_now() == made.key


def test_no_figures_are_written_of_a_guard_that_changed(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changes(c: Case) -> None:
        copied.write_text(copied.read_text() + "# another\n")

    monkeypatch.setitem(BY_ID, "F05", evolve(BY_ID["F05"], inject=changes))
    to = tmp_path / "figures.json"
    done = run(tmp_path, str(copied), "--faults", "F05", "--n", "1", "--json", str(to))
    assert "changed while this was made" in str(done.exception)
    assert not to.exists()


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
    worst = found["inject.F05.over_bound_ms_max"]
    assert found["inject.total.over_bound_ms_max"] == worst | {
        "id": "inject.total.over_bound_ms_max"
    }
    assert found["inject.total.cause_right_least"]["value"] == 1
    (stored,) = tmp_path.glob("host-seed0-*.jsonl")
    one_bad = stored.read_text().replace('"w":0', '"w":1', 1).replace('"c":true', '"c":false', 1)
    stored.write_text(one_bad)
    again = run(tmp_path, "--faults", "F05,F26", "--n", "2")
    assert again.return_value == 1
    assert "FAILED inject.total.wrong_commands" in again.output
    assert "FAILED inject.total.cause_right_least: 0.5" in again.output


def test_figures_do_not_replace_the_policy(copied: Path, tmp_path: Path) -> None:
    text = copied.read_text()
    done = run(tmp_path, str(copied), "--faults", "F05", "--n", "1", "--json", str(copied))
    assert "--json" in str(done.exception)
    assert "is read here, and would be lost" in str(done.exception)
    assert copied.read_text() == text


def test_a_process_of_the_pool_that_is_killed_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*given: object) -> None:
        raise BrokenProcessPool("a traceback of many lines")

    monkeypatch.setitem(
        campaigns.TARGETS, "host", lambda policy: evolve(campaigns.host(policy), go=killed)
    )
    done = run(tmp_path, "--faults", "F05", "--n", "1")
    assert isinstance(done.exception, EdgeguardError)
    assert "the same command goes on from here" in str(done.exception)


def test_an_interrupted_injection_leaves_nothing_behind(tmp_path: Path) -> None:
    """Ctrl-C is told to both processes. Not while the parent is still in its fork: there Python
    loses what a hook raises, and with it logging's lock."""
    waits = re.compile(r"\d+ \(.*\) S ")

    def long(index: int) -> dict[str, Any]:
        with TemporaryDirectory(dir=tmp_path):
            while not waits.match(Path(f"/proc/{os.getppid()}/stat").read_text()):
                time.sleep(0.01)
            os.kill(os.getppid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)
        return {}

    with pytest.raises(KeyboardInterrupt):
        outlived(long, [0], lambda index, ending: {})
    assert list(tmp_path.iterdir()) == []


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
