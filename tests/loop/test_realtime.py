# SPDX-License-Identifier: Apache-2.0
"""Locked memory: only where nothing that comes later can fail for it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.alone

LIMITED = """
import mmap, os, resource
from edgeguard.loop.realtime import prepare
hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
most = 1 << 30 if hard == resource.RLIM_INFINITY else hard
resource.setrlimit(resource.RLIMIT_MEMLOCK, (most, most))
os.setgid(65534); os.setuid(65534)
print(f"at most {most} bytes may be" in "".join(prepare()), len(mmap.mmap(-1, most or 1)) > 0)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs: root, to set a limit and give rights up")
def test_under_a_limit_nothing_is_locked_and_no_later_mapping_fails() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("True True\n", "")
