# SPDX-License-Identifier: Apache-2.0
"""QEMU's port for debuggers, as far as flipping a bit and resetting the processor need it."""

from __future__ import annotations

import socket
from pathlib import Path


class Debugger:
    """Connecting halts the processor; leaving the block lets it run on."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(5.0)
        self._socket.connect(str(path))
        self._held = b""

    def __enter__(self) -> Debugger:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.ask("D")
        finally:
            self._socket.close()

    def write(self, address: int, data: bytes) -> None:
        """RAM, and flash as well: on this machine both can be written. Raises OSError."""
        if self.ask(f"M{address:x},{len(data):x}:{data.hex()}") != "OK":
            raise OSError(f"the debugger cannot write to {address:#x}")

    def flip(self, address: int, bit: int) -> None:
        """One bit of a byte."""
        (byte,) = bytes.fromhex(self.ask(f"m{address:x},1"))
        self.write(address, bytes([byte ^ 1 << bit]))

    def reset(self) -> None:
        """As its reset line would."""
        self.ask("qRcmd," + b"system_reset".hex())

    def ask(self, command: str) -> str:
        """One packet out and one in."""
        self._socket.sendall(f"+${command}#{sum(command.encode()) & 0xFF:02x}".encode())
        while True:
            start = self._held.find(b"$")
            end = self._held.find(b"#", start)
            if start >= 0 and len(self._held) >= end + 3 > 2:
                answer, self._held = self._held[start + 1 : end], self._held[end + 3 :]
                return answer.decode()
            self._held += self._socket.recv(4096)
