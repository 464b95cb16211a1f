# SPDX-License-Identifier: Apache-2.0
"""What the deciding process said last, for all who want to know it; the telemetry process's side
of the socket."""

from __future__ import annotations

import itertools
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from edgeguard import png
from edgeguard.output.telemetry import process as wire

LARGEST = 1 << 19  # of a message
SLACK_S = 0.5  # for an answer to come back


class Board:
    """The newest message of each kind. One thread receives, others wait for what is new."""

    def __init__(self, decider: socket.socket) -> None:
        self._decider = decider
        self._changed = threading.Condition()
        self._serials = itertools.count(1)
        self._answers: dict[int, str | None] = {}
        self._waiting: set[int] = set()
        self._pictures: tuple[bytes, bytes] = b"", b""  # the scene and the box, PNG
        self.hello: dict[str, Any] = {}
        self.timing: dict[str, Any] = {}
        self.snapshot: dict[str, Any] = {}
        self.heard_s = time.monotonic()
        self.version = 0
        self.ended = False

    def receive(self) -> None:
        """Until the deciding process ends or closes the socket."""
        while self.hear():
            pass

    def hear(self) -> bool:
        """Wait for a message and take it; False when the deciding process has ended."""
        try:
            data = self._decider.recv(LARGEST)
        except ConnectionResetError:  # it ended before it read what somebody asked for
            data = b""
        with self._changed:
            if data:
                self._take(data[:1], data[1:])
            self.ended = not data
            self._changed.notify_all()
        return bool(data)

    def _take(self, kind: bytes, content: bytes) -> None:
        if kind == wire.PICTURE:
            header, _, pixels = content.partition(b"\n")
            about = json.loads(header)
            self._pictures = _pictures(about, pixels)
            self.snapshot = {**self.snapshot, "picture": about}
            return
        said = json.loads(content)
        if kind == wire.HELLO:
            self.hello = said
        elif kind == wire.TIMING:
            self.timing = said
        elif kind == wire.ANSWER and said["id"] in self._waiting:
            self._answers[said["id"]] = said["answer"]
        elif kind == wire.SNAPSHOT:
            shown = {"picture": self.snapshot["picture"]} if "picture" in self.snapshot else {}
            self.snapshot = said | shown
            self.version += 1
            self.heard_s = time.monotonic()

    def event(
        self, seen: int, timeout_s: float, wanted: Callable[[], bool] = lambda: True
    ) -> tuple[int, bytes] | None:
        """The newest state as JSON when it is not the one that was seen, else None after a time, or
        when it is not wanted any more (see ``wake``). It says how old it is: a page that was opened
        just now must not take it for new."""
        with self._changed:
            self._changed.wait_for(
                lambda: self.version > seen or self.ended or not wanted(), timeout_s
            )
            if self.version <= seen:
                return None
            age_ms = round(1000 * (time.monotonic() - self.heard_s))
            state = {"hello": self.hello, "timing": self.timing, **self.snapshot, "age_ms": age_ms}
            return self.version, json.dumps(state).encode()

    def wake(self) -> None:
        """Who waits for an event looks whether it is still wanted."""
        with self._changed:
            self._changed.notify_all()

    def picture(self, part: bool) -> bytes:
        """The last frame, or what the members saw of it, as PNG; empty without one."""
        return self._pictures[part]

    def ask(self, what: str, token: str) -> str | None:
        """Hand a request to the deciding process. Returns why not, or None when it was done.

        It says when it was asked, on the clock that both processes share.
        """
        with self._changed:
            serial = next(self._serials)
            now_ns = time.monotonic_ns()
            said = {"id": serial, "do": what, "token": token, "asked_ns": now_ns}
            asked = json.dumps(said).encode()
            if len(asked) > wire.MOST_REQUEST:
                return "the token is too long"
            self._waiting.add(serial)
            try:
                self._decider.send(asked, socket.MSG_DONTWAIT)
                self._changed.wait_for(lambda: serial in self._answers, wire.ANSWER_S + SLACK_S)
                return self._answers.pop(serial, "no answer from the deciding process")
            except OSError:
                return "the deciding process does not listen"
            finally:
                self._waiting.discard(serial)


def _pictures(about: dict[str, Any], pixels: bytes) -> tuple[bytes, bytes]:
    found = []
    for name in ("shape", "part"):
        shape = about.get(name, [])
        size = int(np.prod(shape)) if shape else 0
        image = np.frombuffer(pixels[:size], np.uint8).reshape(shape or [0])
        pixels = pixels[size:]
        if image.ndim == 2:
            image = np.repeat(image[..., np.newaxis], 3, axis=2)
        found.append(png.encode(image) if size else b"")
    return found[0], found[1]
