# SPDX-License-Identifier: Apache-2.0
"""A camera on the network, over RTSP (RFC 2326) and its one TCP connection."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from urllib.parse import SplitResult, urlsplit, urlunsplit

import numpy as np

from edgeguard.errors import EdgeguardError
from edgeguard.intake.sources import Frame

PORT = 554
_DRIFT = 1000  # two clocks may drift apart by one part in so many
_HASTE_NS = 5_000_000  # a frame that comes faster than the one before, by more, was in a buffer


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
        family, *_, (address, *_) = socket.getaddrinfo(
            parts.hostname, port, type=socket.SOCK_STREAM
        )[0]
    except OSError as error:
        raise EdgeguardError(f"{name(url)}: {error.strerror or error}") from None
    user, at, _ = parts.netloc.rpartition("@")
    where = f"[{address}]" if family == socket.AF_INET6 else str(address)
    netloc = f"{user}{at}{where}:{port}"
    return (int(family), port), urlunsplit(parts._replace(netloc=netloc))


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        if parts.hostname and (parts.port is None or parts.port > 0):
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
    later than that: a frame that waited in a buffer does not pass for a new one.
    """

    def __init__(self) -> None:
        self._way_ns: int | None = None
        self._last_ns = 0
        self._at_pace = False

    def taken(self, sent_ns: int, now_ns: int) -> int | None:
        """By the camera's clock it was sent then, and now it is here. None: nobody can know yet,
        as long as frames come faster than they were sent, from what was buffered at first."""
        way_ns = now_ns - sent_ns
        if self._way_ns is not None:
            self._at_pace |= way_ns > self._way_ns - _HASTE_NS
            way_ns = min(way_ns, self._way_ns + (now_ns - self._last_ns) // _DRIFT)
        self._way_ns, self._last_ns = way_ns, now_ns
        return sent_ns + way_ns if self._at_pace else None
