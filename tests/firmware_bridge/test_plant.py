# SPDX-License-Identifier: Apache-2.0
"""The vehicle's process: what it drives, what it logs, and that it outlives whom it talks to."""

from __future__ import annotations

import itertools
import json
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from firmware_bridge import plant
from firmware_bridge.native import lib

PATIENCE_S = 20.0


def command(count: int, target: float, steering: float = 0.0) -> bytes:
    return plant.pack(
        struct.pack(
            "<BBHIii", 2, 0, count, 10_000 * count, int(target * 65536), int(steering * 65536)
        )
    )


@pytest.mark.parametrize("payload", [b"", b"\0", b"\0\0", b"abc", bytes(range(64)), b"\x01" * 200])
def test_frames_are_cobs_and_crc_as_the_firmware_has_them(payload: bytes) -> None:
    wire = plant.pack(payload)
    assert wire[0] == wire[-1] == 0
    assert 0 not in wire[1:-1]
    assert plant.unpack(wire[1:-1]) == payload
    crc = lib.eg_crc_end(lib.eg_crc(lib.EG_CRC_START, payload, len(payload)))
    assert plant.cobs_decode(wire[1:-1])[-4:] == struct.pack("<I", crc)
    for at in range(1, len(wire) - 1):
        assert plant.unpack(wire[1:at] + bytes([wire[at] ^ 0x20]) + wire[at + 1 : -1]) is None


def test_what_is_no_frame_is_none() -> None:
    for junk in (b"", b"\x05a", b"\x01", b"\x02\0", b"\0"):
        assert plant.unpack(junk) is None


def test_the_vehicle_follows_and_stops() -> None:
    car = plant.Vehicle(speed=10.0, target=10.0, steering=0.05)
    for _ in range(200):
        car.move(0.005)
    assert car.speed == pytest.approx(10.0)
    assert car.angle == pytest.approx(0.05, abs=1e-3)
    assert car.y > 0.5  # left is positive
    car.target = 0.0
    slowest = car.speed
    for _ in range(1000):
        car.move(0.005)
        assert slowest - plant.BRAKE_MS2 * 0.005 - 1e-9 <= car.speed <= slowest
        slowest = car.speed
    assert car.speed == pytest.approx(0.0, abs=1e-3)


class Running:
    """A plant's process, and the microcontroller's end of its wire."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.log = folder / "plant.jsonl"
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "firmware_bridge.plant", "--listen", "tcp:127.0.0.1:0",
                "--log", str(self.log), *arguments,
            ],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(PATIENCE_S)

    def rows(self) -> list[dict[str, float]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    made = Running(tmp_path, "--speed", "3.0", "--angle", "0.1")
    yield made
    if made.process.poll() is None:
        made.process.kill()
        made.process.wait()


def hear(wire: socket.socket) -> tuple[int, int, int]:
    """The next sensor frame: valid bits, speed and angle in Q16.16."""
    held = b""
    while True:
        held += wire.recv(4096)
        for piece in held.split(b"\0")[:-1]:
            payload = plant.unpack(piece)
            if payload:
                _, valid, _, speed, angle = struct.unpack("<BBHii", payload)
                return valid, speed, angle


def test_it_says_what_it_measures_and_logs_every_command(running: Running) -> None:
    with running.connect() as wire:
        assert hear(wire) == (3, 3 * 65536, round(0.1 * 65536))
        frames = command(1, 2.5) + b"junk" + command(2, 2.0, -0.25)
        for i in range(0, len(frames), 7):  # as a UART would
            wire.sendall(frames[i : i + 7])
        hear(wire)
        hear(wire)
    with running.connect() as wire:  # QEMU was restarted: the vehicle was not
        wire.sendall(command(3, 0.0))
        while hear(wire)[1] > 2 * 65536:
            pass
    assert running.stop() == 0
    first, *rows = running.rows()
    assert first["plant"] == 1
    assert [row["count"] for row in rows] == [1, 2, 3]
    assert [row["target_q16"] for row in rows] == [163840, 131072, 0]
    assert rows[1]["steering"] == -0.25
    assert [row["stamp_us"] for row in rows] == [10_000, 20_000, 30_000]
    assert all(a["t_ns"] <= b["t_ns"] for a, b in itertools.pairwise(rows))


@pytest.mark.parametrize("where", ["nowhere", "tcp:x", "unix:"])
def test_a_wrong_address_is_one_line(where: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable, "-m", "firmware_bridge.plant", "--connect", where,
            "--log", str(tmp_path / "log"),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("neither unix:PATH nor tcp:HOST:PORT")


def test_a_log_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    log = tmp_path / "no" / "log"
    done = subprocess.run(
        [
            sys.executable, "-m", "firmware_bridge.plant", "--listen", "tcp:127.0.0.1:0",
            "--log", str(log),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith(f"--log {log}: No such file or directory")
    assert done.stdout == ""
