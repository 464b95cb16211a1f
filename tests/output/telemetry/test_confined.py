# SPDX-License-Identifier: Apache-2.0
"""What the telemetry process gave up: it really tries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgeguard import _isolation

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
