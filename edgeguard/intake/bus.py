# SPDX-License-Identifier: Apache-2.0
"""Reads a CAN bus in a thread of its own, with python-can (extra ``can``); it never sends."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from edgeguard.errors import EdgeguardError

WINDOW_S = 0.1  # what `edgeguard lab evaluate can` measures
POLL_S = 0.1  # how long the thread waits at most before it looks whether it should end
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
EXTENDED = 1 << 31  # added to an identifier of 29 bits, as SocketCAN does

_log = logging.getLogger("edgeguard")


class Reader:
    """Hands over each frame, and says when a window has ended; both in its thread.

    A bus that fails is opened again, after ever longer pauses; until then no window ends.
    """

    def __init__(
        self, name: str, frame: Callable[[float, int, bytes], object],
        window: Callable[[int], object], window_s: float = WINDOW_S,
    ) -> None:  # fmt: skip
        """name: can:CHANNEL of SocketCAN, or can:INTERFACE/CHANNEL with python-can's names; frame:
        gets seconds of the bus's clock, identifier and payload; window: CLOCK_MONOTONIC in
        nanoseconds. Opens the bus once, so that a wrong name is found at once. Raises
        EdgeguardError."""
        self._name, self._frame, self._window, self._window_s = name, frame, window, window_s
        self._interface, self._channel = _parsed(name)
        self._ended = threading.Event()
        try:
            self._bus: Any = self._open()
        except ModuleNotFoundError:
            raise
        except Exception as error:  # each backend has errors of its own
            raise EdgeguardError(f"--bus {name}: {_line(error)}") from None
        self._thread = threading.Thread(target=self._run, name=f"bus {name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread and let go of the bus."""
        self._ended.set()
        self._thread.join(2.0)

    def _open(self) -> Any:
        import can

        return can.Bus(interface=self._interface, channel=self._channel)

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._ended.is_set():
            try:
                self._bus = self._bus or self._open()
                self._read()
                pause_s = FIRST_PAUSE_S
            except Exception as error:
                _log.warning("bus %s: %s; it is opened again", self._name, _line(error))
                self._leave()
                self._ended.wait(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        self._leave()

    def _read(self) -> None:
        """One window. Raises what the backend raises."""
        end = time.monotonic() + self._window_s
        while (left := end - time.monotonic()) > 0 and not self._ended.is_set():
            message = self._bus.recv(timeout=min(left, POLL_S))
            if message is not None and not message.is_error_frame:
                self._frame(*fields(message))
        self._window(time.monotonic_ns())

    def _leave(self) -> None:
        bus, self._bus = self._bus, None
        try:
            if bus is not None:
                bus.shutdown()
        except Exception as error:  # it was broken already
            _log.debug("bus %s: %s", self._name, error)


def fields(message: Any) -> tuple[float, int, bytes]:
    """Seconds, identifier and payload of a `can.Message`, for `edgeguard.evidence.bus.Frame`. What
    SocketCAN counts in seconds is the wall clock, which somebody may set."""
    identifier = message.arbitration_id | (EXTENDED if message.is_extended_id else 0)
    return float(message.timestamp), int(identifier), bytes(message.data)


def _parsed(name: str) -> tuple[str, str]:
    """Interface and channel."""
    kind, _, rest = name.partition(":")
    interface, slash, channel = rest.rpartition("/")
    interface = interface if slash else "socketcan"
    if kind != "can" or not channel or not interface:
        raise EdgeguardError(
            f"--bus {name}: want can:CHANNEL or can:INTERFACE/CHANNEL, as can:can0"
        )
    return interface, channel


def _line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
