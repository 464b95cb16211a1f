# SPDX-License-Identifier: Apache-2.0
"""The options of `edgeguard run` that record: what is refused, and when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

pytest.importorskip("mcap", reason="the recorder needs the extra record")

from edgeguard.cli.main import main
from edgeguard.cli.run_record import Recording, check
from edgeguard.errors import EdgeguardError
from tests.faults.bench import Bench, write_policy


def asked(path: Path) -> Recording:
    return Recording(path, None, None, None, None, None)


def changed(recording: Recording, **fields: Any) -> Recording:
    return attrs.evolve(recording, **fields)


def refused(recording: Recording, *sinks: str) -> str:
    with pytest.raises(EdgeguardError) as error:
        check(recording, sinks)
    return str(error.value)


def test_a_log_that_exists_is_refused_as_by_the_recorder(tmp_path: Path) -> None:
    log = tmp_path / "flight.mcap"
    log.write_text("mine")
    bench = Bench(write_policy(tmp_path))
    with pytest.raises(EdgeguardError) as later:
        bench.guard.record(log, key=tmp_path / "key.json")
    assert refused(asked(log)) == str(later.value)
    link = tmp_path / "link.mcap"
    link.symlink_to(tmp_path / "nowhere")
    assert "link.mcap: exists" in refused(asked(link))
    for limit in ("keep_mb", "keep_hours"):
        check(changed(asked(log), **{limit: 5.0}))  # its files are numbered


def test_what_is_not_there_is_not_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check(Recording(None, None, None, None, None, None), ("-",))
    check(asked(Path("flight.mcap")), ("-", "out.jsonl", "module:callable"))
    assert list(tmp_path.iterdir()) == [], "it only looks"


def test_a_sink_is_no_log_and_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    log = asked(Path("flight.mcap"))
    for name in ("flight.mcap", "./flight.mcap", str(tmp_path / "flight.mcap")):
        assert "is the log of --record" in refused(log, "-", name)
    check(changed(log, keep_mb=5.0), ("flight.mcap",))  # the log is flight-00001.mcap
    for option in ("key", "recipient"):
        Path(option).write_text("mine")
        assert "is read here" in refused(changed(log, **{option: Path(option)}), option)


@pytest.mark.parametrize(("option", "path"), [("--record", "path"), ("--record-key", "key")])
def test_a_name_that_is_empty(tmp_path: Path, option: str, path: str) -> None:
    """Of an unset variable; with a limit, the row would lie beside this folder."""
    recording = changed(asked(tmp_path / "flight.mcap"), keep_mb=5.0)
    assert refused(changed(recording, **{path: Path("")})) == f"{option}: names no file"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert f"{tmp_path / 'no'}: is no folder" in refused(asked(tmp_path / "no" / "flight.mcap"))


def test_options_without_a_log(tmp_path: Path) -> None:
    alone = Recording(None, tmp_path / "key.json", None, None, None, None)
    assert "belong to --record" in refused(alone)


@pytest.mark.parametrize("number", ["nan", "inf", "0"])
@pytest.mark.parametrize("option", ["--record-frames", "--keep-mb", "--keep-hours"])
def test_a_number_that_limits_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, number: str
) -> None:
    policy, log = write_policy(tmp_path), tmp_path / "flight.mcap"
    with pytest.raises(SystemExit) as ended:
        main(["run", str(policy), "--source", "simulated", "--record", str(log), option, number])
    assert ended.value.code == 2
    assert f"Invalid value for '{option}'" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.mcap"))


def test_a_refused_run_leaves_what_was_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, sink = tmp_path / "flight.mcap", tmp_path / "out.jsonl"
    log.write_text("a log")
    sink.write_text("decisions")
    with pytest.raises(SystemExit) as ended:
        main(["run", str(write_policy(tmp_path)), "--source", "simulated", "--record", str(log),
              "--sink", str(sink)])  # fmt: skip
    assert ended.value.code == 2
    assert "exists; a log is never overwritten" in capsys.readouterr().err
    assert (log.read_text(), sink.read_text()) == ("a log", "decisions")
