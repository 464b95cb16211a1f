# SPDX-License-Identifier: Apache-2.0
"""`edgeguard run` under a service manager: a real socket, and a loop that stops deciding."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edgeguard.cli import run
from edgeguard.loop import Watcher
from edgeguard.loop.systemd import Notify
from tests.faults.bench import Bench, camera_guard, write_policy

pytestmark = pytest.mark.alone

SIGNALS = """
import time
began = []
def speed(t_ns):
    began.append(t_ns)
    if len(began) == 100:
        print("standing", flush=True)
        time.sleep(3600)
    return {"speed": 15.0}
"""


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@edgeguard{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(address.replace("@", "\0"))
        heard.settimeout(60.0)
        yield address, heard


def test_a_loop_that_stands_still_says_nothing(
    manager: tuple[str, socket.socket], tmp_path: Path
) -> None:
    address, heard = manager
    camera_guard(tmp_path, "none").close()  # writes the policy
    (tmp_path / "mine.py").write_text(SIGNALS)
    np.savez(tmp_path / "drive.npz", x=np.zeros((50, 48, 64, 3), np.uint8))
    process = subprocess.Popen(
        [sys.executable, "-m", "edgeguard", "run", "camera.toml", "--source", "drive.npz",
         "--realtime", "--signal", "mine:speed", "--sink", "out.jsonl"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env=os.environ | {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "150000"},
    )  # fmt: skip
    try:
        assert heard.recv(100) == b"READY=1"
        while not (tmp_path / "out.jsonl").read_text():  # it had decided
            assert process.poll() is None
        assert [heard.recv(100) for _ in range(5)] == [b"WATCHDOG=1"] * 5
        assert process.stdout is not None
        assert process.stdout.readline() == "standing\n"
        heard.setblocking(False)
        drained = 0
        while True:
            try:
                heard.recv(100)
                drained += 1
            except BlockingIOError:
                break
        assert drained <= 100 * 10 // 50 + 1
        heard.settimeout(0.6)  # four times the limit: systemd would have ended it
        with pytest.raises(TimeoutError):
            heard.recv(100)
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()


def test_decisions_that_reach_nobody_are_not_reported(
    manager: tuple[str, socket.socket], tmp_path: Path
) -> None:
    address, heard = manager
    bench, reached = Bench(write_policy(tmp_path)), [False]
    notify = Notify(address, 0, lambda: reached[0])
    heard.setblocking(False)

    def said() -> bytes:
        notify.decided(bench.tick(), bench.now_ns)
        try:
            return heard.recv(100)
        except BlockingIOError:
            return b""

    assert said() == b""
    reached[0] = True
    assert (said(), said()) == (b"READY=1", b"WATCHDOG=1")
    reached[0] = False
    assert said() == b""


def test_it_reports_what_all_others_were_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recorder, too, which is the last that `run` adds."""
    pytest.importorskip("mcap", reason="needs the extra record")
    camera_guard(tmp_path, "none").close()
    np.savez(tmp_path / "drive.npz", x=np.zeros((2, 48, 64, 3), np.uint8))
    found: list[list[Watcher]] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(run, "_turn", lambda made, options: found.append(made.loop.watchers))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    recording = ["--record", "log.mcap", "--record-key", "key.json", "--seconds", "1"]
    done = CliRunner().invoke(run.command, ["camera.toml", "--source", "drive.npz", *recording])
    assert done.exit_code == 0, done.output
    assert [type(watcher).__name__ for watcher in found[0]] == ["Outputs", "Pace", "Notify"]


@pytest.mark.parametrize(
    ("environment", "messages"),
    [
        ({"WATCHDOG_USEC": "soon"}, "WATCHDOG_USEC: 'soon' is no time in microseconds"),
        ({"WATCHDOG_USEC": "0"}, "WATCHDOG_USEC: '0' is no time in microseconds"),
    ],
)
def test_a_limit_that_is_none_is_refused(
    tmp_path: Path, environment: dict[str, str], messages: str
) -> None:
    camera_guard(tmp_path, "none").close()
    np.savez(tmp_path / "drive.npz", x=np.zeros((2, 48, 64, 3), np.uint8))
    done = subprocess.run(
        [sys.executable, "-m", "edgeguard", "run", "camera.toml", "--source", "drive.npz"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"NOTIFY_SOCKET": "/nowhere"} | environment,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (2, messages + "\n")
