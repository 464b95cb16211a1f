# SPDX-License-Identifier: Apache-2.0
"""The recorder without its extra: who calls it in a loop of his own is told what to install."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgeguard.zoo import models_dir

SCRIPT = """
import sys
sys.modules[sys.argv[1]] = None  # as if it were not installed
from edgeguard import Guard
from edgeguard.errors import EdgeguardError
with Guard.load(sys.argv[2]) as guard:
    try:
        guard.record(sys.argv[3])
    except EdgeguardError as error:
        print(error)
"""


@pytest.mark.parametrize("package", ["mcap", "cryptography"])
def test_a_missing_package_is_named_with_its_extra(tmp_path: Path, package: str) -> None:
    arguments = (package, str(models_dir() / "guard.toml"), str(tmp_path / "flight.mcap"))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    said = f"needs {package}; pip install 'edgeguard-monitor[record]'\n"
    assert done.stdout == f"edgeguard.output.recorder: {said}"
    assert not list(tmp_path.iterdir())
