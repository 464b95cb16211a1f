# SPDX-License-Identifier: Apache-2.0
"""The port that QEMU opens for a debugger, as far as flipping a bit in memory needs it."""

from __future__ import annotations

import socket


class Debugger:
    """Connecting halts the processor; leaving the block lets it run on."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(10.0)
        self._socket.connect(path)
        self._held = b""

    def __enter__(self) -> Debugger:
        return self

    def __exit__(self, *_: object) -> None:
        self._ask("D")
        self._socket.close()

    def read(self, address: int, n: int) -> bytes:
        """Memory, whatever the guest makes of it meanwhile: nothing, since it is halted."""
        return bytes.fromhex(self._ask(f"m{address:x},{n:x}"))

    def write(self, address: int, data: bytes) -> None:
        """RAM, and flash as well: on this machine both are RAM."""
        assert self._ask(f"M{address:x},{len(data):x}:{data.hex()}") == "OK"

    def _ask(self, command: str) -> str:
        checksum = sum(command.encode()) & 0xFF
        self._socket.sendall(f"+${command}#{checksum:02x}".encode())
        while True:
            start = self._held.find(b"$")
            end = self._held.find(b"#", start)
            if start >= 0 and len(self._held) >= end + 3 > 2:
                answer, self._held = self._held[start + 1 : end], self._held[end + 3 :]
                return answer.decode()
            self._held += self._socket.recv(4096)
