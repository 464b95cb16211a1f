# SPDX-License-Identifier: Apache-2.0
"""`edgeguard mcu` and `edgeguard run --mcu` as a user calls them."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeguard import config
from edgeguard.zoo import models_dir
from firmware_bridge.keys import Keys
from firmware_bridge.secret import write_secret
from firmware_bridge.sim import missing_tools
from tests.cli.running import POLICY
from tests.firmware_bridge.board import PATIENCE_S, Board, pseudo_terminal
from tests.firmware_bridge.rig import KEYS

pytestmark = pytest.mark.alone

DEMO = str(models_dir() / "guard.toml")
needs_qemu = pytest.mark.skipif(missing_tools() is not None, reason=f"needs: {missing_tools()}")


def edgeguard(
    *arguments: str, home: Path, path: str | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "XDG_CONFIG_HOME": str(home)}
    if path is not None:
        environment["PATH"] = path
    return subprocess.run(
        [sys.executable, "-m", "edgeguard", *arguments],
        capture_output=True, text=True, check=False, cwd=home, env=environment,
    )  # fmt: skip


def test_policy_writes_a_table_that_only_its_owner_reads(tmp_path: Path) -> None:
    done = edgeguard("mcu", "policy", DEMO, "-o", "table.c", home=tmp_path)
    assert done.returncode == 0, done.stderr
    table = tmp_path / "table.c"
    keys = tmp_path / "edgeguard" / "mcu-keys.json"
    assert table.stat().st_mode & 0o777 == keys.stat().st_mode & 0o777 == 0o600
    text = table.read_text()
    link_key = bytes.fromhex(json.loads(keys.read_text())["link_key"])
    assert ", ".join(f"0x{byte:02x}" for byte in link_key) in text
    assert "const eg_mcu_config_t eg_mcu_config = {" in text
    assert done.stdout.startswith("table.c: SHA-256 ")
    again = edgeguard("mcu", "policy", DEMO, home=tmp_path)
    assert again.stdout.split()[-1] == done.stdout.split()[-1]
    assert (tmp_path / "mcu_table.c").read_text() == text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mcu", "policy", "none.toml"], "none.toml"),
        (["mcu", "policy", DEMO, "--keys", "open.json"], "open.json: others than its owner"),
        (["mcu", "policy", DEMO, "-o", "no/where.c"], "no/where.c: No such file"),
        (["mcu", "policy", DEMO, "-o", "/dev/null"], "/dev/null: is no regular file"),
        (["mcu", "policy", DEMO, "--keys", "/dev/null"], "/dev/null: is no regular file"),
        (["mcu", "monitor", "/dev/nowhere"], "/dev/nowhere: "),
        (["mcu", "monitor", "can://nothing"], "want can://INTERFACE/CHANNEL"),
        (["mcu", "sim"], "apt-get install -y make gcc-arm-none-eabi"),
        (["run", DEMO, "--source", "simulated", "--mcu", "/dev/nowhere"], "/dev/nowhere: "),
        (["run", DEMO, "--source", "simulated", "--keys", "x"], "name it with --mcu"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "open.json").write_text("{}")
    (tmp_path / "open.json").chmod(0o644)
    done = edgeguard(*arguments, home=tmp_path, path="/nonexistent")
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """A guard of one model, and two seconds of signs that it knows."""
    labels = json.loads((models_dir() / "labels.json").read_text())
    with np.load(models_dir() / "plain.golden.npz") as golden:
        pixels = (golden["x"].astype(np.int16) + 128).astype(np.uint8)
    signs = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)[..., ::-1])
    means = "".join(f'"{label}" = 13.8\n' for label in labels)
    policy = POLICY + f"\n[channel.target_speed.means]\n{means}"
    (tmp_path / "guard.toml").write_text(policy)
    np.savez(tmp_path / "drive.npz", x=np.concatenate([signs] * 3)[:21])
    return tmp_path


def records(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_run_with_the_twin_closes_the_loop(drive: Path) -> None:
    """No signal is given: the twin measures the speed of its own vehicle."""
    done = edgeguard(
        "run", "guard.toml", "--source", "drive.npz", "--mcu", "twin", "--sink", "out.jsonl",
        home=drive,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    made = records(drive / "out.jsonl")
    assert len(made) == 201
    assert not any("INPUT_INVALID" in record["causes"] for record in made)
    assert made[-1]["mode"] == "NOMINAL"
    assert made[-1]["command"]["target_speed"] > 1.0
    assert done.stderr.splitlines()[0].startswith("mcu: ")
    assert "mcu: NOMINAL" in done.stderr


def test_a_moving_vehicle_does_not_arm(drive: Path) -> None:
    done = edgeguard(
        "run", "guard.toml", "--source", "drive.npz", "--mcu", "twin", "--signal", "speed=9",
        home=drive,
    )  # fmt: skip
    assert done.returncode == 2
    assert "--mcu twin: does not arm: the vehicle does not stand" in done.stderr
    assert "Traceback" not in done.stderr


class Monitor:
    """`mcu monitor` at a twin on a pty, in a terminal or not, and all that it printed so far."""

    def __init__(self, home: Path, port: str, keys: Keys, terminal: bool, seconds: float) -> None:
        text = {"link_key": keys.link.hex(), "operator_key": keys.operator.hex()}
        write_secret(home / "keys.json", json.dumps(text).encode())
        self._master, slave = pty.openpty() if terminal else os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "edgeguard", "mcu", "monitor", port,
             "--keys", "keys.json", "--seconds", str(seconds)],
            cwd=home, stdout=slave, env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
        )  # fmt: skip
        os.close(slave)
        self.said = ""

    def goes_on(self) -> bool:
        """Wait for more of it; False at its end."""
        try:
            data = os.read(self._master, 4096)
        except OSError:  # a terminal that nobody has open any more
            return False
        self.said += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", data.decode(errors="replace"))
        return bool(data)

    def says(self, text: str) -> bool:
        """Whether it prints that before it ends."""
        while text not in self.said and self.goes_on():
            pass
        return text in self.said

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)


def test_a_board_that_dies_is_silent_in_the_monitor(tmp_path: Path) -> None:
    mcu = config.mcu_dict(config.load(Path(DEMO)))
    for terminal in (False, True):
        with (
            pseudo_terminal() as (master, port),
            Board(mcu, KEYS, master) as board,
            Monitor(tmp_path, port, KEYS, terminal, PATIENCE_S) as monitor,
        ):
            assert monitor.says("NOT_ARMED"), monitor.said
            board.die()
            monitor.said = ""
            assert monitor.says("silent"), monitor.said


def test_the_monitor_takes_every_frame_of_a_healthy_link(tmp_path: Path) -> None:
    """As good as: a machine may be so busy that it hears ten at once."""
    mcu = config.mcu_dict(config.load(Path(DEMO)))
    with (
        pseudo_terminal() as (master, port),
        Board(mcu, KEYS, master),
        Monitor(tmp_path, port, KEYS, True, 3.0) as monitor,
    ):
        while monitor.goes_on():
            pass
    accepted = int(re.findall(r"accepted (\d+)", monitor.said)[-1])
    excess = [int(n) for n in re.findall(r"excess (\d+)", monitor.said)]
    assert accepted > 50
    assert max(excess, default=0) < accepted, "it was 4 times as many"


@needs_qemu
def test_the_firmware_boots_in_qemu_and_says_so(tmp_path: Path) -> None:
    """sim prints its port, monitor hears the firmware there, and the plant logs its commands."""
    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path)}
    sim = subprocess.Popen(
        [sys.executable, "-m", "edgeguard", "mcu", "sim", "--log", "plant.jsonl"],
        cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert sim.stdout is not None
        port = sim.stdout.readline().strip()
        assert port.startswith("/dev/"), sim.stderr.read() if sim.stderr else ""
        heard = edgeguard("mcu", "monitor", port, "--seconds", "3", home=tmp_path)
        assert heard.returncode == 0, heard.stderr
        assert "SAFE_STOP: NOT_ARMED" in heard.stdout
        assert "last reset POWER, 0 since power" in heard.stdout
    finally:
        sim.terminate()  # not SIGINT: a runner in the background hands it down ignored
        _, said = sim.communicate(timeout=60)
    assert sim.returncode == 0, said
    commands = [row for row in records(tmp_path / "plant.jsonl") if "target_q16" in row]
    assert len(commands) > 50
    assert {row["target_q16"] for row in commands} == {0}


@needs_qemu
@pytest.mark.parametrize("built", [False, True])
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_closed_terminal_leaves_no_keys_behind(
    tmp_path: Path, number: signal.Signals, built: bool
) -> None:
    """They are in what was built, in a temporary folder."""
    (tmp_path / "temporary").mkdir()
    places = {"XDG_CONFIG_HOME": str(tmp_path), "TMPDIR": str(tmp_path / "temporary")}
    heard = ["env", "--default-signal=HUP"]  # a runner under nohup hands it down ignored
    sim = subprocess.Popen(
        [*heard, sys.executable, "-m", "edgeguard", "mcu", "sim"], cwd=tmp_path,
        env=os.environ | places, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert sim.stdout is not None and sim.stderr is not None
    assert (sim.stdout if built else sim.stderr).readline()
    sim.send_signal(number)
    _, said = sim.communicate(timeout=60)
    assert "Traceback" not in said
    assert not list((tmp_path / "temporary").iterdir())


@needs_qemu
def test_a_log_that_cannot_be_written_ends_it(tmp_path: Path) -> None:
    done = edgeguard("mcu", "sim", "--log", "no/plant.jsonl", home=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "no/plant.jsonl: No such file or directory"
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@needs_qemu
def test_without_its_vehicle_it_ends(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path)}
    sim = subprocess.Popen(
        [sys.executable, "-m", "edgeguard", "mcu", "sim"],
        cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert sim.stdout is not None
        assert sim.stdout.readline().startswith("/dev/")
        children = Path(f"/proc/{sim.pid}/task/{sim.pid}/children").read_text().split()
        (plant,) = (
            pid
            for pid in children
            if b"firmware_bridge.plant" in Path(f"/proc/{pid}/cmdline").read_bytes()
        )
        os.kill(int(plant), signal.SIGKILL)
        _, said = sim.communicate(timeout=PATIENCE_S)
    finally:
        sim.terminate()
        sim.wait()
    assert sim.returncode == 1
    assert "the plant ended with -9" in said
