# SPDX-License-Identifier: Apache-2.0
"""A camera that speaks RTSP (RFC 2326) over one TCP connection, and sends JPEG (RFC 2435)."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import cv2
import numpy as np

CLOCK_HZ = 90_000
_PIECE = 1400  # bytes of a picture in one packet
_SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP 26\r\na=control:track1\r\n"
)


class RtspCamera:
    """Sends pictures [H, W, 3], H and W multiples of 16, to the one who connects.

    wait: called with each picture's number before it is sent, to hold it up.
    """

    def __init__(
        self, pictures: list[np.ndarray], rate_hz: float, wait: Callable[[int], None] | None = None
    ) -> None:
        self.jpegs = [cv2.imencode(".jpg", picture)[1].tobytes() for picture in pictures]
        self.asked: list[str] = []
        """The first line of each request."""
        self._rate_hz, self._wait = rate_hz, wait
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Nobody is served any more."""
        self._server.close()
        self._thread.join(10)

    def _serve(self) -> None:
        try:
            line, _ = self._server.accept()
            with line:
                self._talk(line)
                self._play(line)
        except OSError:
            return  # the guard hung up, or the test is over

    def _talk(self, line: socket.socket) -> None:
        held = b""
        while True:
            while b"\r\n\r\n" not in held:
                more = line.recv(4096)
                if not more:
                    raise ConnectionError
                held += more
            request, _, held = held.partition(b"\r\n\r\n")
            first, *fields = request.decode().split("\r\n")
            self.asked.append(first)
            (number,) = (f.split(":")[1].strip() for f in fields if f.startswith("CSeq"))
            method = first.split()[0]
            more_fields = {
                "OPTIONS": "Public: DESCRIBE, SETUP, PLAY\r\n",
                "DESCRIBE": f"Content-Type: application/sdp\r\nContent-Length: {len(_SDP)}\r\n",
                "SETUP": "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n",
            }.get(method, "Session: 1\r\n")
            body = _SDP if method == "DESCRIBE" else ""
            line.sendall(f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\n{more_fields}\r\n{body}".encode())
            if method == "PLAY":
                return

    def _play(self, line: socket.socket) -> None:
        begin, count = time.monotonic(), 0
        for i, jpeg in enumerate(self.jpegs):
            time.sleep(max(0.0, begin + i / self._rate_hz - time.monotonic()))
            if self._wait is not None:
                self._wait(i)
            stamp = int(i / self._rate_hz * CLOCK_HZ)
            pieces = list(_pieces(jpeg))
            for k, piece in enumerate(pieces):
                last = 0x80 if k == len(pieces) - 1 else 0
                head = struct.pack(">BBHII", 0x80, last | 26, count & 0xFFFF, stamp, 1)
                count += 1
                packet = head + piece
                line.sendall(struct.pack(">cBH", b"$", 0, len(packet)) + packet)


def _pieces(jpeg: bytes) -> Iterator[bytes]:
    tables, width, height, scan = b"", 0, 0, b""
    at = 2
    while True:
        marker, size = struct.unpack_from(">HH", jpeg, at)
        body = jpeg[at + 4 : at + 2 + size]
        if marker == 0xFFDB:
            tables += b"".join(body[i + 1 : i + 65] for i in range(0, len(body), 65))
        elif marker == 0xFFC0:
            height, width = struct.unpack_from(">HH", body, 1)
        at += 2 + size
        if marker == 0xFFDA:
            scan = jpeg[at:-2]
            break
    for offset in range(0, len(scan), _PIECE):
        head = struct.pack(
            ">B3sBBBB", 0, offset.to_bytes(3, "big"), 1, 255, width // 8, height // 8
        )
        if offset == 0:
            head += struct.pack(">BBH", 0, 0, len(tables)) + tables
        yield head + scan[offset : offset + _PIECE]
