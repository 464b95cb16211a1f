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
import sys, time
from pathlib import Path
from tempfile import TemporaryDirectory
from edgeguard.processes import processes

def work(folder, i, for_s):
    with TemporaryDirectory(dir=folder):
        (Path(folder) / f"{i}.begun").touch()
        time.sleep(for_s)

if __name__ == "__main__":
    folder, for_s = sys.argv[1], float(sys.argv[2])
    with processes(2) as pool:
        some = [pool.submit(work, folder, i, for_s) for i in range(40)]
        while len(list(Path(folder).glob("*.begun"))) < 2:
            time.sleep(0.01)
        print("both", flush=True)
        if sys.argv[3] == "fails":
            raise OSError("disk full")
        [one.result() for one in some]
"""


@pytest.mark.parametrize(
    ("to", "for_s"),
    [("group", 600), ("parent", 0.5), ("nobody", 0.5)],  # a terminal; kill -INT; it fails itself
)
def test_what_was_not_begun_is_not_begun_any_more(tmp_path: Path, to: str, for_s: float) -> None:
    script, folder = tmp_path / "busy.py", tmp_path / "here"
    script.write_text(BUSY)
    folder.mkdir()
    how = "fails" if to == "nobody" else "waits"
    with subprocess.Popen(
        [sys.executable, str(script), str(folder), str(for_s), how],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as run:  # fmt: skip
        assert run.stdout is not None and run.stderr is not None
        assert run.stdout.readline() == "both\n"
        if to == "group":
            os.killpg(run.pid, signal.SIGINT)
        if to == "parent":
            run.send_signal(signal.SIGINT)
        run.wait(timeout=120)  # forty sleeps of ten minutes, in the group's case
        why = "OSError: disk full" if to == "nobody" else "KeyboardInterrupt"
        assert why in run.stderr.read()
    begun = [file.name for file in folder.iterdir()]
    assert all(name.endswith(".begun") for name in begun), "they left in order"
    assert len(begun) <= (2 if to == "group" else 8), (
        "two at work, and what the queue had given out"
    )


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
