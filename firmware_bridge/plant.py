# SPDX-License-Identifier: Apache-2.0
"""The vehicle that the emulated microcontroller drives: its own process, whatever the host does.

It talks to the second UART of QEMU (``mcu/boards/qemu_mps2/plant.h`` states the frames) and logs
every actuator command with the monotonic clock, one JSON object a line, flushed at once.

    python -m firmware_bridge.plant --connect unix:plant.sock --log plant.jsonl
"""

from __future__ import annotations

import argparse
import json
import math
import signal
import socket
import struct
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from firmware_bridge.mcu.elf import crc32p4

ONE = 65536  # 1.0 in Q16.16
SENSE_NS = 10_000_000  # what the sensors say is sent that often: the control period
LOOK_S = 0.001  # QEMU sends byte by byte: who waits for each one keeps a core busy
RETRY_NS = 50_000_000
SPEED_LAG_S = 0.3  # time constant of the power train
STEERING_LAG_S = 0.1
BRAKE_MS2 = 8.0  # what the vehicle can do at most, well above what may be asked of it
THRUST_MS2 = 3.0
WHEELBASE_M = 2.7


def cobs_encode(data: bytes) -> bytes:
    """Consistent overhead byte stuffing of less than 255 bytes, without the delimiter."""
    out = bytearray()
    for block in data.split(b"\0"):
        out.append(len(block) + 1)
        out += block
    return bytes(out)


def cobs_decode(data: bytes) -> bytes:
    """Undo it; empty when it is no frame."""
    out = bytearray()
    at = 0
    while at < len(data):
        code = data[at]
        block = data[at + 1 : at + code]
        if code == 0 or len(block) != code - 1 or 0 in block:
            return b""
        out += block + b"\0"
        at += code
    return bytes(out[:-1])


def pack(payload: bytes) -> bytes:
    """One frame on the wire."""
    return b"\0" + cobs_encode(payload + struct.pack("<I", crc32p4(payload))) + b"\0"


def unpack(stuffed: bytes) -> bytes | None:
    """The payload of what stood between two zeros; None when it is not what was sent."""
    frame = cobs_decode(stuffed)
    if len(frame) < 4 or crc32p4(frame[:-4]) != struct.unpack("<I", frame[-4:])[0]:
        return None
    return frame[:-4]


@dataclass
class Vehicle:
    """A car on a plane: what it does follows what the actuators were told, with lags and limits."""

    speed: float = 0.0  # m/s
    angle: float = 0.0  # rad, of the front wheels, left is positive
    position: float = 0.0  # m along its path
    heading: float = 0.0  # rad
    x: float = 0.0  # m
    y: float = 0.0
    target: float = 0.0  # m/s, the actuator's
    steering: float = 0.0  # rad, the actuator's

    def move(self, seconds: float) -> None:
        """Let so much time pass."""
        wish = (self.target - self.speed) / SPEED_LAG_S
        self.speed += max(-BRAKE_MS2, min(THRUST_MS2, wish)) * seconds
        self.angle += (self.steering - self.angle) * min(1.0, seconds / STEERING_LAG_S)
        way = self.speed * seconds
        self.position += way
        self.heading += way * math.tan(self.angle) / WHEELBASE_M
        self.x += way * math.cos(self.heading)
        self.y += way * math.sin(self.heading)

    def sensed(self, count: int) -> bytes:
        """What the microcontroller's sensors say, as a payload."""
        return struct.pack(
            "<BBHii", 1, 3, count & 0xFFFF, round(self.speed * ONE), round(self.angle * ONE)
        )


class Plant:
    """Vehicle, log, and the bytes in between."""

    def __init__(self, log: IO[str], vehicle: Vehicle) -> None:
        self.vehicle = vehicle
        self._log = log
        self._held = bytearray()
        self._count = 0
        self._last_ns = time.monotonic_ns()
        self._write({"plant": 1, "start_ns": self._last_ns})

    def feed(self, data: bytes) -> None:
        """Bytes that came from the microcontroller."""
        self._held += data
        *frames, rest = self._held.split(b"\0")
        self._held = bytearray(rest[-64:])
        for frame in frames:
            payload = unpack(bytes(frame)) if frame else None
            if payload and len(payload) == 16 and payload[0] == 2:
                self._command(payload)

    def sense(self) -> bytes:
        """Move the vehicle up to now, and what the sensors say then."""
        now_ns = time.monotonic_ns()
        left = min(1.0, (now_ns - self._last_ns) / 1e9)
        self._last_ns = now_ns
        while left > 0:  # small steps, however late this comes
            self.vehicle.move(min(left, 0.005))
            left -= 0.005
        self._count += 1
        return pack(self.vehicle.sensed(self._count))

    def _command(self, payload: bytes) -> None:
        _, _, count, stamp_us, target, steering = struct.unpack("<BBHIii", payload)
        self.vehicle.target, self.vehicle.steering = target / ONE, steering / ONE
        self._write(
            {
                "t_ns": time.monotonic_ns(),
                "count": count,
                "stamp_us": stamp_us,
                "target": round(target / ONE, 5),
                "target_q16": target,
                "steering": round(steering / ONE, 5),
                "steering_q16": steering,
                "speed": round(self.vehicle.speed, 4),
                "angle": round(self.vehicle.angle, 5),
                "position": round(self.vehicle.position, 3),
            }
        )

    def _write(self, row: dict[str, object]) -> None:
        self._log.write(json.dumps(row) + "\n")
        self._log.flush()


def _address(text: str) -> tuple[socket.AddressFamily, str | tuple[str, int]]:
    kind, _, rest = text.partition(":")
    if kind == "unix" and rest:
        return socket.AF_UNIX, rest
    host, _, port = rest.rpartition(":")
    if kind == "tcp" and port.isdigit():
        return socket.AF_INET, (host or "127.0.0.1", int(port))
    raise argparse.ArgumentTypeError(f"{text}: neither unix:PATH nor tcp:HOST:PORT")


class Wire:
    """The socket to QEMU: comes and goes with it."""

    def __init__(self, connect: str | None, listen: str | None) -> None:
        self._socket: socket.socket | None = None
        self._server: socket.socket | None = None
        self._retry_ns = 0
        self._target = _address(connect or listen or "")
        if listen:
            self._server = socket.socket(self._target[0], socket.SOCK_STREAM)
            self._server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._server.bind(self._target[1])
            self._server.listen(1)
            self._server.setblocking(False)

    def port(self) -> int:
        """The port that a TCP server got; 0 for anything else."""
        name = self._server.getsockname() if self._server else ""
        return int(name[1]) if isinstance(name, tuple) else 0

    def exchange(self, out: bytes) -> bytes:
        """Send, and take what came in; neither waits."""
        if self._socket is None:
            self._open()
        if self._socket is None:
            return b""
        try:
            if out:
                self._socket.send(out)
            data = self._socket.recv(65536)
        except BlockingIOError:  # nothing came, or QEMU takes nothing now: the next frame is newer
            return b""
        except OSError:
            data = b""
        if not data:
            self._socket.close()
            self._socket = None
        return data

    def _open(self) -> None:
        now_ns = time.monotonic_ns()
        if now_ns < self._retry_ns:
            return
        self._retry_ns = now_ns + RETRY_NS
        try:
            if self._server:
                self._socket, _ = self._server.accept()
            else:
                self._socket = socket.socket(self._target[0], socket.SOCK_STREAM)
                self._socket.connect(self._target[1])
            self._socket.setblocking(False)
        except OSError:
            if self._socket and not self._server:
                self._socket.close()
            self._socket = None


def run(plant: Plant, wire: Wire, running: list[bool]) -> None:
    """Until ``running`` is empty."""
    next_ns = time.monotonic_ns()
    while running:
        out = b""
        if time.monotonic_ns() >= next_ns:
            out = plant.sense()
            next_ns = max(next_ns + SENSE_NS, time.monotonic_ns())
        plant.feed(wire.exchange(out))
        time.sleep(LOOK_S)


def main(arguments: list[str] | None = None) -> int:
    """Run a plant until SIGTERM."""
    parser = argparse.ArgumentParser(prog="firmware_bridge.plant", description="the vehicle")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--connect", help="unix:PATH or tcp:HOST:PORT")
    where.add_argument("--listen", help="the same; tcp port 0 takes any and prints it")
    parser.add_argument("--log", type=Path, required=True, help="JSON lines")
    parser.add_argument("--speed", type=float, default=0.0, help="m/s at the start")
    parser.add_argument("--angle", type=float, default=0.0, help="rad at the start")
    options = parser.parse_args(arguments)
    running = [True]
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: running.clear())
    try:
        wire = Wire(options.connect, options.listen)
    except argparse.ArgumentTypeError as problem:
        parser.error(str(problem))
    except OSError as problem:
        parser.error(f"{options.listen}: {problem.strerror}")
    try:
        log = options.log.open("w")
    except OSError as problem:
        parser.error(f"--log {options.log}: {problem.strerror}")
    vehicle = Vehicle(options.speed, options.angle, target=options.speed, steering=options.angle)
    with log:
        plant = Plant(log, vehicle)
        print(wire.port() or "ready", flush=True)
        run(plant, wire, running)
    return 0


if __name__ == "__main__":
    sys.exit(main())
