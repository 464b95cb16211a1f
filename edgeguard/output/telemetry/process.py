# SPDX-License-Identifier: Apache-2.0
"""The telemetry process and the socket to it, as the deciding process holds them."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
from typing import Any

from edgeguard import sandbox
from edgeguard.errors import EdgeguardError

START_S = 20.0
END_S = 2.0
BUFFER = 1 << 20  # asked for; the system may give less, and then pictures are dropped sooner
MOST_REQUEST = 1024
ANSWER_S = 2.0  # within which a request to re-arm is carried out, or not at all

HELLO, SNAPSHOT, TIMING, PICTURE, ANSWER = b"H", b"S", b"T", b"P", b"A"  # first byte of a message


class Link:
    """The deciding end of the socket. Nothing here waits: a message that does not fit is dropped.

    One message is one packet, so a reader that is killed in the middle, or stopped for an hour,
    leaves no half of one behind.
    """

    def __init__(self, end: socket.socket) -> None:
        """end: of a pair of SOCK_SEQPACKET."""
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        self._socket = end
        self.dropped = 0
        self.lost = False

    def send(self, kind: bytes, *parts: bytes | memoryview) -> bool:
        """Hand a message over; False when it was dropped."""
        if not self.lost:
            try:
                self._socket.sendmsg((kind, *parts))
                return True
            except (BrokenPipeError, ConnectionResetError):
                self.lost = True
            except OSError:  # full, or too large for the buffer that the system gave
                pass
        self.dropped += 1
        return False

    def send_json(self, kind: bytes, content: dict[str, Any]) -> bool:
        """The same for JSON-ready data."""
        return self.send(kind, json.dumps(content).encode())

    def request(self) -> dict[str, Any] | None:
        """What somebody asked for on the page, if anybody did: that process is not trusted."""
        if self.lost:
            return None
        try:
            data = self._socket.recv(MOST_REQUEST)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        if not data:
            self.lost = True
            return None
        with contextlib.suppress(ValueError, RecursionError):
            asked = json.loads(data)
            if isinstance(asked, dict):
                return asked
        return None

    def close(self) -> None:
        """The other end hears of it."""
        self._socket.close()


class Process(Link):
    """The telemetry process, which ends when the socket does."""

    def __init__(self, host: str, port: int, hello: dict[str, Any]) -> None:
        """Start it and wait until it serves. Raises EdgeguardError, for instance for a taken
        port."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        super().__init__(ours)
        number = str(theirs.fileno())
        self._process = subprocess.Popen(
            sandbox.command_line("edgeguard.output.telemetry.child", number, host, str(port)),
            pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        theirs.close()
        self.send_json(HELLO, hello)
        answer = self._first_word()
        if answer != "serving":
            self.close()
            raise EdgeguardError(f"--page {host}:{port}: {answer or 'its process has died'}")

    def _first_word(self) -> str:
        self._socket.settimeout(START_S)
        try:
            return self._socket.recv(MOST_REQUEST).decode(errors="replace")
        except OSError:
            return "its process does not answer"
        finally:
            self._socket.setblocking(False)

    @property
    def pid(self) -> int:
        """Of the telemetry process."""
        return self._process.pid

    def close(self) -> None:
        """Let it end, or end it."""
        super().close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
