# SPDX-License-Identifier: Apache-2.0
"""What the telemetry process gave up: it really tries."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgeguard import _isolation
from tests.output.telemetry.conftest import Served

pytestmark = pytest.mark.alone

TRIES = """
import os, sys
from edgeguard.output.telemetry.server import confine
print(*confine(), file=sys.stderr, end="")
def tried(what):
    try:
        what()
    except OSError as error:
        return type(error).__name__
    return "done"
print(tried(lambda: open(sys.argv[1])), tried(lambda: open(sys.argv[1], "w")),
      tried(lambda: os.listdir("/")), tried(lambda: os.execv("/bin/true", ["true"])))
"""


@pytest.mark.skipif(_isolation.landlock_abi() == 0, reason="this kernel has no Landlock")
def test_it_has_no_files_and_starts_no_programs(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("token")
    done = subprocess.run(
        [sys.executable, "-c", TRIES, str(tmp_path / "secret")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.split() == ["PermissionError"] * 4
    assert (tmp_path / "secret").read_text() == "token"


REFUSED = """
import sys
from edgeguard import _isolation
from edgeguard.output.telemetry import server
def refuses():
    raise OSError("not here")
_isolation.drop_capabilities = refuses  # a kernel without them
class Board:
    def receive(self): pass
    hello = {}
server.serve(Board(), "127.0.0.1", 0, lambda: print("serving"))
"""


def test_what_the_kernel_refuses_is_said_in_a_file_too(tmp_path: Path) -> None:
    with (tmp_path / "stderr").open("w") as file:
        done = subprocess.run(
            [sys.executable, "-c", REFUSED], stdout=subprocess.PIPE, stderr=file, text=True,
            check=False,
        )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "serving\n")
    assert "capabilities: not here" in (tmp_path / "stderr").read_text()


def test_it_has_the_ordinary_class() -> None:
    """Whatever the guard was started with: a page must not get ahead of it."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        pytest.skip("needs: the right to SCHED_FIFO")
    try:
        served = Served()
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    found = os.sched_getscheduler(served.pid)
    served.close()
    assert found == os.SCHED_OTHER


def test_the_working_directory_holds_no_code_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "prometheus_client.py").write_text("raise OSError('shadowed')\n")
    monkeypatch.chdir(tmp_path)
    Served().close()
