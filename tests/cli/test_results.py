# SPDX-License-Identifier: Apache-2.0
"""Results replace those of before once they are whole, and go straight to what is no file."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from edgeguard import figures
from edgeguard.errors import EdgeguardError
from edgeguard.zoo import models_dir
from tests.cli.test_written import contents, edgeguard, room

GUARD = models_dir() / "guard.toml"


def test_a_full_disk_costs_no_result_of_before(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "old.json"
    old.write_text("of before")
    with room(100):
        with pytest.raises(EdgeguardError, match=r"old\.json: File too large"):
            figures.write(old, [], None, ["numpy"])
        assert edgeguard("check", GUARD, "--json", old) == 2
    assert f"{old}: File too large" in capfd.readouterr().err
    assert contents(tmp_path) == {old: b"of before"}


def test_check_has_no_third_exit_code(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    to = tmp_path / "no" / "x.json"
    assert edgeguard("check", GUARD, "--json", to) == 2
    assert capfd.readouterr().err == f"{to}: No such file or directory\n"


def test_a_result_keeps_mode_and_link(tmp_path: Path) -> None:
    file, link, fresh = (tmp_path / name for name in ("a.json", "link.json", "new.json"))
    file.write_text("of before")
    file.chmod(0o640)
    link.symlink_to(file.name)
    umask = os.umask(0o027)
    try:
        for path in (link, fresh):
            figures.write(path, [], None, [])
    finally:
        os.umask(umask)
    assert link.is_symlink() and json.loads(file.read_text())["figures"] == []
    assert [stat.S_IMODE(path.stat().st_mode) for path in (file, fresh)] == [0o640, 0o640]


def test_what_is_no_ordinary_file_is_written_to_as_it_is(tmp_path: Path) -> None:
    """Also where it only leads to one: what follows goes into the same file."""
    check = f"{sys.executable} -m edgeguard check {GUARD} --json"
    for line in (
        f"{check} /dev/stdout | cat > piped",
        f"mkfifo pipe; cat pipe > fifo & {check} pipe; wait",
        f"{check} >(cat > process); while [ ! -s process ]; do sleep 0.05; done",
        f"ln -s /dev/stdout link; {{ echo before; {check} link; echo; echo after; }} > redirected",
    ):
        subprocess.run(["bash", "-c", line], cwd=tmp_path, check=True, timeout=60)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    for name in ("piped", "fifo", "process"):
        assert "policy" in json.loads((tmp_path / name).read_text())
    said = (tmp_path / "redirected").read_text()
    assert said.startswith("before\n{") and said.endswith("}\n\nafter\n")
    assert len(list(tmp_path.iterdir())) == 6


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A short drive, closed."""
    pytest.importorskip("mcap", reason="the recorder needs the extra record")
    from tests.faults.bench import Bench, write_policy

    bench = Bench(write_policy(tmp_path), start_ns=0)
    bench.guard.record(tmp_path / "flight.mcap", key=tmp_path / "key.json")
    bench.nominal()
    bench.run(1000, "twenty")
    bench.guard.close()
    return tmp_path / "flight.mcap"


def test_a_damaged_log_costs_no_tape_of_before(
    log: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from mcap.opcode import Opcode

    from edgeguard.output.recorder.log_reader import raw_records

    tape, page = log.with_name("t.bin"), log.with_name("x.html")
    assert edgeguard("replay", log, "--tape", tape) == 0
    assert edgeguard("explain", log, "--html", page) == 0
    before = contents(log.parent)
    with room(2000):
        assert edgeguard("replay", log, "--tape", tape) == 2
        assert edgeguard("explain", log, "--html", page) == 2
    said = capfd.readouterr().err
    assert f"--tape {tape}: File too large" in said and f"{page}: File too large" in said
    assert contents(log.parent) == before
    damaged = bytearray(log.read_bytes())
    *_, chunk = (raw for raw in raw_records(bytes(damaged)) if raw.opcode == Opcode.CHUNK)
    damaged[chunk.end - 200 : chunk.end] = bytes(200)
    log.write_bytes(damaged)
    assert edgeguard("replay", log, "--tape", tape) == 2
    assert contents(log.parent) == before | {log: bytes(damaged)}
