# SPDX-License-Identifier: Apache-2.0
"""What was decided comes out again, bit for bit, here and on another processor."""

from __future__ import annotations

import contextlib
import random
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("mcap", reason="the recorder needs the extra record")


from edgeguard._core import Replayer
from edgeguard.decision import Policy
from edgeguard.errors import EdgeguardError
from edgeguard.explain import explain
from edgeguard.output.recorder.log_reader import Log
from edgeguard.output.recorder.topics import (
    ARM,
    DECISION,
    POLICY,
    RAW_SCORES,
    STATE,
    TAKEOVER,
    TAPE,
)
from edgeguard.output.recorder.verify import State, verify
from edgeguard.replay import export, policy_of, replay
from tests.faults.bench import Bench, certain
from tests.output.recorder.conftest import eventful
from tests.output.recorder.processors import COMPILERS, built


def test_every_decision_is_computed_again(
    bench: Bench, log: Path, pinned: Callable[[], str]
) -> None:
    eventful(bench)
    bench.guard.close()
    outcome = replay(log)
    assert (outcome.decisions, outcome.unknown, outcome.lost) == (bench.ticks, 0, 0)
    assert outcome.difference is None
    verdict = verify(log, pinned())
    assert (verdict.state, verdict.decisions) == (State.CLOSED, bench.ticks)
    kinds = {entry.data[0] for entry in Log(log).entries(TAPE)}
    assert {POLICY, STATE, DECISION, ARM, TAKEOVER} <= kinds


def test_commands_in_the_log_are_those_that_were_given(bench: Bench, log: Path) -> None:
    eventful(bench)
    bench.guard.close()
    found = Log(log)
    reader = Replayer(Policy(policy_of(found)))
    decisions = [e for e in found.entries(TAPE) if e.data[0] == DECISION]
    commands = [reader.decision(e.data)[1].command["target_speed"] for e in decisions]
    assert commands == bench.commands


def test_raw_scores_are_kept(bench: Bench, log: Path) -> None:
    bench.guard.arm()
    bench.say(certain("ten", 0.9))
    bench.tick()
    bench.guard.close()
    scores = [entry.data for entry in Log(log).entries(RAW_SCORES)]
    assert len(scores) == 3
    assert {s[1] for s in scores} == {0, 1, 2}
    assert all(s[7:] == certain("ten", 0.9).tobytes() for s in scores)


@pytest.mark.parametrize(("offset", "says"), [(-1, "every check ran"), (-55, "command was")])
def test_the_first_difference_is_named(
    bench: Bench, log: Path, offset: int, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log with another decision in it: one bit of the recorded output differs."""
    bench.nominal()
    bench.guard.close()
    entries = list(Log(log).entries(TAPE))
    at = next(i for i, e in enumerate(entries) if e.data[0] == DECISION and i > 40)
    changed = bytearray(entries[at].data)
    changed[offset] ^= 1
    entries[at] = entries[at]._replace(data=bytes(changed))
    monkeypatch.setattr(Log, "entries", lambda self, *topics: iter(entries))
    outcome = replay(log)
    assert outcome.difference is not None and says in outcome.difference
    assert outcome.decisions == sum(e.data[0] == DECISION for e in entries[:at])


def test_every_bit_of_a_recorded_decision_counts(bench: Bench, log: Path) -> None:
    """Flip each: the core comes to something else, or says that it is no record. Bits of the input
    may be ones that nothing depends on; of the output, none is."""
    bench.nominal()
    bench.guard.close()
    tape = [entry.data for entry in Log(log).entries(TAPE)]
    last = max(i for i, record in enumerate(tape) if record[0] == DECISION)
    replayer = Replayer(Policy(policy_of(Log(log))))
    output = len(tape[last]) - (15 + 4 * 3 + 19 + 8 + 4 * 7)  # no camera, 3 members, 1 channel
    for bit in range(8 * output, 8 * len(tape[last])):
        changed = bytearray(tape[last])
        changed[bit // 8] ^= 1 << bit % 8
        replayer.feed(tape[0])
        state = max(i for i, r in enumerate(tape[:last]) if r[0] == STATE)
        for record in tape[state:last]:
            assert replayer.feed(record) in ("same", "nothing")
        assert replayer.feed(bytes(changed)) == "differs", f"bit {bit}"


def test_what_is_no_log_is_said(tmp_path: Path) -> None:
    for content in (b"", b"x", b"\x89MCAP0\r\n", b"\x89MCAP0\r\n" + bytes(100)):
        (tmp_path / "no.mcap").write_bytes(content)
        with pytest.raises(EdgeguardError, match=r"no\.mcap"):
            replay(tmp_path / "no.mcap")
    with pytest.raises(EdgeguardError, match="No such file"):
        replay(tmp_path / "nowhere.mcap")


def built_or_skipped(where: str, folder: Path) -> list[str]:
    compiler, runner = COMPILERS[where]
    for tool in (compiler, *runner):
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool}")
    return built(where, folder)


def test_another_processor_comes_to_the_same(bench: Bench, log: Path, tmp_path: Path) -> None:
    eventful(bench)
    bench.guard.close()
    with (tmp_path / "tape").open("wb") as out:
        export(log, out)
    said = set()
    for where in COMPILERS:
        command = [*built_or_skipped(where, tmp_path), str(tmp_path / "tape")]
        said.add(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert len(said) == 1
    assert said.pop().startswith(f"{bench.ticks} decisions ")


def test_the_program_finds_a_difference_and_no_tape(
    bench: Bench, log: Path, tmp_path: Path
) -> None:
    bench.nominal()
    bench.guard.close()
    command = built_or_skipped("x86-64", tmp_path)
    tape = bytearray()
    for entry in Log(log).entries(TAPE):
        tape += struct.pack("<I", len(entry.data)) + entry.data
    for change, status in ((len(tape) - 1, 1), (4, 2), (0, 2)):
        changed = bytearray(tape)
        changed[change] ^= 0x40
        (tmp_path / "changed").write_bytes(changed)
        done = subprocess.run([*command, str(tmp_path / "changed")], check=False)
        assert done.returncode == status


def test_a_forged_log_is_refused_in_words(
    bench: Bench, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stands in it, nobody sees a traceback."""
    bench.nominal()
    bench.guard.close()
    found = Log(log)
    entries, about = list(found.entries(TAPE)), dict(found.about)
    dice = random.Random(1)
    for _ in range(300):
        at = dice.randrange(len(entries))
        data = bytearray(entries[at].data[: dice.randrange(len(entries[at].data) + 1)])
        if data:
            data[dice.randrange(min(len(data), 3))] = dice.randrange(256)
        forged = [*entries[:at], entries[at]._replace(data=bytes(data)), *entries[at + 1 :]]
        monkeypatch.setattr(Log, "entries", lambda self, *topics, forged=forged: iter(forged))
        for tool in (replay, explain):
            with contextlib.suppress(EdgeguardError):
                tool(log)
    monkeypatch.undo()
    for policy in ("", "{}", "[]", "3", '"x"', "[" * 100_000, about["policy"][:-1], None):
        said = {**about, "policy": policy} if policy is not None else {}
        monkeypatch.setattr(Log, "_read_start", lambda self, s=said: setattr(self, "about", s))
        for tool in (replay, explain):
            with pytest.raises(EdgeguardError):
                tool(log)


@pytest.mark.parametrize("label", [-1, 5, 2**31 - 1, -(2**31)])
def test_a_held_label_outside_the_table_is_malformed(bench: Bench, log: Path, label: int) -> None:
    """The core looks labels up without a check: it never holds such a one."""
    bench.nominal()
    bench.guard.close()
    tape = [entry.data for entry in Log(log).entries(TAPE)]
    replayer = Replayer(Policy(policy_of(Log(log))))
    state = bytearray(next(r for r in tape if r[0] == STATE))
    member = len(state) - 9 - 3 * 73  # a channel's state, and those of three members
    replayer.feed(tape[0])
    state[member + 12] = 1
    struct.pack_into("<i", state, member + 17, 4)
    assert replayer.feed(bytes(state)) == "nothing", "the last label of the table"
    struct.pack_into("<i", state, member + 17, label)
    replayer.feed(tape[0])
    assert replayer.feed(bytes(state)) == "malformed"
    state[member + 12] = 0
    assert replayer.feed(bytes(state)) == "nothing", "what is not held is not looked up"
