# SPDX-License-Identifier: Apache-2.0
"""Processes that work for us: they end with us, and each may have a core."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgeguard.processes import processes

PARENT = """
import os, sys, time
from edgeguard.processes import processes
if __name__ == "__main__":
    with processes(1) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 600).result()
"""


def test_a_killed_campaign_leaves_no_worker(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        worker = int(run.stdout.readline())
        assert Path(f"/proc/{worker}").exists()
        run.send_signal(signal.SIGKILL)
        run.wait()
    end_s = time.monotonic() + 60
    while _lives(worker) and time.monotonic() < end_s:
        time.sleep(0.01)
    assert not _lives(worker)


BUSY = """
import os, sys, time
from edgeguard.processes import processes
if __name__ == "__main__":
    with processes(2) as pool:
        work = [pool.submit(time.sleep, 600) for _ in range(8)]
        print(pool.submit(os.getpid).running(), *pool._processes, flush=True)
        time.sleep(float(sys.argv[1]))
        [w.result() for w in work]
"""


@pytest.mark.parametrize("begun_s", [0.0, 5.0])  # before and after the workers are there
def test_ctrl_c_waits_for_nobody(tmp_path: Path, begun_s: float) -> None:
    """As a terminal sends it: to all processes of the group."""
    script = tmp_path / "busy.py"
    script.write_text(BUSY)
    with subprocess.Popen(
        [sys.executable, str(script), "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    ) as run:  # fmt: skip
        assert run.stdout is not None and run.stderr is not None
        _, *workers = map(str, run.stdout.readline().split())
        time.sleep(begun_s)
        os.killpg(run.pid, signal.SIGINT)
        run.wait(timeout=120)  # eight sleeps of ten minutes are left
        assert "KeyboardInterrupt" in run.stderr.read()
    assert not any(_lives(int(worker)) for worker in workers)


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"  # dead, and perhaps not yet reaped by whoever inherited it


def test_each_stays_on_a_core() -> None:
    with processes(1, pinned=True) as pool:
        assert pool.submit(os.sched_getaffinity, 0).result() == {min(os.sched_getaffinity(0))}
    with processes(1) as pool:
        assert pool.submit(os.sched_getaffinity, 0).result() == os.sched_getaffinity(0)
