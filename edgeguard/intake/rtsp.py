# SPDX-License-Identifier: Apache-2.0
"""A camera on the network, over RTSP (RFC 2326) and its one TCP connection."""

from __future__ import annotations

import contextlib
import socket
import time
from collections import deque
from collections.abc import Iterator
from urllib.parse import SplitResult, urlsplit, urlunsplit

import numpy as np

from edgeguard.errors import EdgeguardError
from edgeguard.intake.sources import Frame

PORT = 554
MOST_URL = 4096  # characters
ANSWER_S = 3.0  # so long one of several addresses may take
_DRIFT = 1000  # two clocks may drift apart by one part in so many
_LOOK_NS = 1_000_000_000  # how long it is looked back
_STEADY_NS, _SUDDEN_NS = 5_000_000, 50_000_000  # what the shortest way falls by in that time


def name(url: str) -> str:
    """How it is called where others read it: without user and password. Raises EdgeguardError."""
    parts = _parts(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def resolved(url: str) -> tuple[tuple[int, int], str]:
    """The server's family of addresses and its port, and the URL with its address in place of its
    name: who is confined can ask nobody for it. Raises EdgeguardError."""
    parts = _parts(url)
    port = parts.port or PORT
    try:
        family, address = _answering(str(parts.hostname), port)
    except OSError as error:
        raise EdgeguardError(f"{name(url)}: {error.strerror or error}") from None
    user, at, _ = parts.netloc.rpartition("@")
    where = f"[{address}]" if family == socket.AF_INET6 else str(address)
    netloc = f"{user}{at}{where}:{port}"
    return (int(family), port), urlunsplit(parts._replace(netloc=netloc))


def _answering(host: str, port: int) -> tuple[int, str]:
    """The first of its addresses that takes a connection; the only one where there is no other.
    Raises OSError."""
    found = [(f, str(to[0])) for f, *_, to in socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)]
    for family, address in found[:-1]:
        with contextlib.suppress(OSError), socket.create_connection((address, port), ANSWER_S):
            return int(family), address
    family, address = found[-1]
    return int(family), address


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        if len(url) <= MOST_URL and parts.hostname and (parts.port is None or parts.port > 0):
            return parts
    except ValueError:
        pass
    raise EdgeguardError("--source rtsp://...: want rtsp://[USER:PASSWORD@]HOST[:PORT]/PATH")


def frames(url: str, called: str) -> Iterator[Frame]:
    """Its frames, BGR, stamped as `Clock` says; in errors it is called by that name. Blocks.

    Raises EdgeguardError: a stream that ends is an error too.
    """
    import cv2

    clock = Clock()
    capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened():
            raise EdgeguardError(f"{called}: no stream that OpenCV can read comes from there")
        while True:
            good, image = capture.read()
            now_ns = time.monotonic_ns()
            if not good:
                raise EdgeguardError(f"{called}: the stream has ended")
            t_ns = clock.taken(int(capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6), now_ns)
            if t_ns is not None:
                yield Frame(image.astype(np.uint8, copy=False), t_ns, None, {})
    finally:
        capture.release()


class Clock:
    """When the frames of a camera with a clock of its own were taken, on ours.

    The one that came fastest so far was never late, and each of the others is as old as it came
    later than that: a frame that waited in a buffer does not pass for a new one. What is in a
    buffer at first comes faster and faster, so nothing is said before the shortest way has stood
    still for a second. What waits always, and always as long, is not seen.
    """

    def __init__(self) -> None:
        self._ways = deque[tuple[int, int]]()  # when, and the shortest way by then
        self._steady = False

    def taken(self, sent_ns: int, now_ns: int) -> int | None:
        """By the camera's clock it was sent then, and now it is here. None: nobody can know yet."""
        way_ns = now_ns - sent_ns
        if self._ways:
            last_ns, shortest_ns = self._ways[-1]
            way_ns = min(way_ns, shortest_ns + (now_ns - last_ns) // _DRIFT)
        self._ways.append((now_ns, way_ns))
        while len(self._ways) > 2 and self._ways[1][0] <= now_ns - _LOOK_NS:
            self._ways.popleft()
        since_ns, was_ns = self._ways[0]
        fell_ns = was_ns - way_ns
        if self._steady:
            self._steady = fell_ns <= _SUDDEN_NS
        else:
            self._steady = now_ns - since_ns >= _LOOK_NS and fell_ns <= _STEADY_NS
        return sent_ns + way_ns if self._steady else None
