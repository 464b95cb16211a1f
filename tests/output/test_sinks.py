# SPDX-License-Identifier: Apache-2.0
"""Sinks: what a decision becomes, and what cannot be opened is said in one sentence."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgeguard.errors import EdgeguardError
from edgeguard.output import JsonLines, open_sink

KEYS = {
    "t_ns", "sequence", "mode", "command", "active", "operator_request", "causes", "present",
    "detectors", "evidence", "ages_ms",
}  # fmt: skip


def decision(sequence: int) -> Any:
    return SimpleNamespace(
        sequence=sequence, mode=SimpleNamespace(name="NOMINAL"), command={"v": 1.5}, active=True,
        operator_request=False, causes=("LATE",), present=(), detectors=("left",),
        evidence={"v": {"label": -1}}, ages_ms={"front": 3.0},
    )  # fmt: skip


def test_a_file_holds_one_object_for_each_decision_at_once(tmp_path: Path) -> None:
    sink = open_sink(str(tmp_path / "out.jsonl"))
    for n in range(3):
        sink(decision(n), n * 10)
        lines = (tmp_path / "out.jsonl").read_text().splitlines()
        assert len(lines) == n + 1, "written without waiting for the next"
    records = [json.loads(line) for line in lines]
    assert all(set(record) == KEYS for record in records)
    assert [(r["t_ns"], r["sequence"]) for r in records] == [(0, 0), (10, 1), (20, 2)]
    assert (records[0]["mode"], records[0]["causes"]) == ("NOMINAL", ["LATE"])


def test_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    open_sink("-")(decision(1), 7)
    assert json.loads(capfd.readouterr().out)["t_ns"] == 7


def test_a_gap_is_marked(tmp_path: Path) -> None:
    sink = open_sink(str(tmp_path / "out.jsonl"))
    for sequence in (5, 6, 9, 10):
        sink(decision(sequence), 0)
    records = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    assert [r.get("lost") for r in records] == [None, None, 2, None]


def test_a_pipe_that_somebody_made_not_block_gets_whole_lines() -> None:
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    sink, found = JsonLines(theirs), b""
    writer = threading.Thread(target=lambda: [sink(decision(n), n) for n in range(1000)])
    writer.start()
    while found.count(b"\n") < 1000:
        found += os.read(ours, 4096)
    writer.join()
    assert [json.loads(line)["t_ns"] for line in found.splitlines()] == list(range(1000))
    for fd in (ours, theirs):
        os.close(fd)


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sink_good.py").write_text("seen = []\ndef take(*a): seen.append(a)\nlimit = 3\n")
    (tmp_path / "sink_wild.py").write_text("1 / 0\n")
    (tmp_path / "sink_broken.py").write_text("def take(\n")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("modules")
def test_a_callable_is_handed_the_decision_itself() -> None:
    import sink_good  # type: ignore[import-not-found]

    given = decision(1)
    open_sink("sink_good:take")(given, 5)
    assert sink_good.seen == [(given, 5)]


@pytest.mark.usefixtures("modules")
@pytest.mark.parametrize(
    "name",
    [
        "sink_good:limit", "sink_good:nothing", "sink_good:", ":take", "sink_wild:take",
        "sink_broken:take", "sink_nowhere:take", "/nowhere/out.jsonl", "/",
    ],
)  # fmt: skip
def test_what_cannot_be_opened_is_named(name: str) -> None:
    with pytest.raises(EdgeguardError) as caught:
        open_sink(name)
    assert str(caught.value).startswith(f"sink {name}: ")
    assert "\n" not in str(caught.value)


def test_a_pipe_that_nobody_reads_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(EdgeguardError, match="nobody reads this pipe"):
        open_sink(str(tmp_path / "pipe"))
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    open_sink(str(tmp_path / "pipe"))(decision(0), 0)
    assert json.loads(os.read(reader, 4096))["sequence"] == 0
    os.close(reader)


def test_what_is_in_a_file_goes_with_the_first_decision(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_text("of the last run\n" * 100)
    sink = open_sink(str(tmp_path / "out.jsonl"))
    assert (tmp_path / "out.jsonl").read_text() == "of the last run\n" * 100
    for n in range(2):
        sink(decision(n), n)
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 2
