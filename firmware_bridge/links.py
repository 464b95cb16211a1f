# SPDX-License-Identifier: Apache-2.0
"""Ports that carry the link: serial ones by pyserial, CAN FD by python-can.

Nothing here is ever waited for: what is to be sent goes into a short queue that a thread empties,
and what arrives is handed over by another one. A port that takes no bytes costs frames, the oldest
first, and never time. A port that goes away is opened again, after ever longer pauses.
"""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from edgeguard.errors import EdgeguardError

QUEUE = 12  # frames: four periods with three each; older ones would be refused at the other end
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 2.0
POLL_S = 0.1  # how long a thread sleeps at most before it looks whether it should end
GATHER_S = 0.0005
MOST_BYTES = 4096  # at once
CAN_ID = 0x100  # plus the type of the message
FD_LENGTHS = (*range(9), 12, 16, 20, 24, 32, 48, 64)
CAN_SEND_S = 0.01  # for one frame: a period, since the link counts as lost after 36 ms
MOST_REFUSED = 20  # frames in a row, about seven periods: then it may help to open CAN anew
GONE = frozenset({errno.ENETDOWN, errno.ENODEV, errno.ENXIO, errno.EBADF})  # socketcan's

_log = logging.getLogger("edgeguard")

Heard = Callable[[bytes], None]


class Unit(NamedTuple):
    """What goes out in one piece: a frame, and the type of its message (eg_message_type_t)."""

    kind: int
    data: bytes


class Refused(Exception):
    """The port does not take this frame, and may take the next one."""


class Port(Protocol):
    """An open port. What fails raises OSError or an error of the library."""

    def read(self) -> bytes:
        """Wait a little; what came, or nothing."""

    def write(self, unit: Unit) -> None:
        """May block as long as it likes. Raises Refused when it costs this frame alone."""

    def cancel(self) -> None:
        """End a write that is under way."""

    def close(self) -> None: ...


class Link:
    """A port with its two threads. `heard` is called from one of them."""

    framed = False

    def __init__(self, name: str, open_port: Callable[[], Port], heard: Heard) -> None:
        """Opens the port once, so that a wrong name is found at once. Raises EdgeguardError."""
        self.name = name
        self.reconnects = 0
        self.dropped = 0
        """Frames that the port did not take in time."""
        self._open = open_port
        self._heard = heard
        self._waiting: deque[Unit] = deque(maxlen=QUEUE)
        self._more = threading.Condition()
        self._ended = threading.Event()
        self._port: Port | None = self._try()
        if self._port is None:
            raise EdgeguardError(f"{name}: {self.failure}")
        self._threads = [
            threading.Thread(target=loop, name=f"{name} {loop.__name__}", daemon=True)
            for loop in (self._read, self._write)
        ]
        for thread in self._threads:
            thread.start()

    failure = ""
    """Why the port is not open, in words."""

    @property
    def connected(self) -> bool:
        """Whether the port is open now."""
        return self._port is not None

    def send(self, units: Iterable[Unit]) -> None:
        """Hand over what is to be sent; returns at once."""
        with self._more:
            for unit in units:
                self.dropped += len(self._waiting) == QUEUE
                self._waiting.append(unit)
            self._more.notify()

    def close(self) -> None:
        """End both threads and the port."""
        self._ended.set()
        with self._more:
            self._more.notify_all()
        self._drop(self._port)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(timeout=2.0)

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _try(self) -> Port | None:
        try:
            return self._open()
        except ModuleNotFoundError:
            raise
        except Exception as error:  # each backend has errors of its own
            self.failure = str(error).partition("\n")[0]
            return None

    def _drop(self, port: Port | None) -> None:
        """Forget a port that failed, once."""
        with self._more:
            if port is None or port is not self._port:
                return
            self._port = None
            self._waiting.clear()
        self._shut(port)

    def _shut(self, port: Port) -> None:
        for end in (port.cancel, port.close):
            try:
                end()
            except Exception as error:  # it was broken already
                self.failure = str(error)

    def _read(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._ended.is_set():
            port = self._port
            if port is None:
                if self._ended.wait(pause_s):
                    return
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                self._reopen()
                continue
            try:
                data = port.read()
            except Exception as error:
                self.failure = str(error).partition("\n")[0]
                self._drop(port)
                continue
            if data and self._hand_over(data, port):
                pause_s = FIRST_PAUSE_S

    def _hand_over(self, data: bytes, port: Port) -> bool:
        """A defect in `heard` closes the port for a while: then there is silence, which both ends
        notice. To go on could look alive, as the frames were accepted, and be deaf."""
        try:
            self._heard(data)
        except Exception as error:
            failure = f"{type(error).__name__}: {error}".partition("\n")[0]
            if failure != self.failure:  # once, and not with each try that follows
                _log.error("%s: %s; the port is opened again", self.name, failure)
            self.failure = failure
            self._drop(port)
            return False
        return True

    def _reopen(self) -> None:
        port = self._try()
        if port is None:
            return
        with self._more:  # `close` looks for a port behind this, or was first
            if not self._ended.is_set():
                self.reconnects += 1
                self._port = port
                return
        self._shut(port)

    def _write(self) -> None:
        while not self._ended.is_set():
            with self._more:
                if not self._waiting or self._port is None:
                    self._more.wait(POLL_S)
                    continue
                port, unit = self._port, self._waiting.popleft()
            try:
                port.write(unit)
            except Refused:
                with self._more:
                    self.dropped += 1
            except Exception as error:
                self.failure = str(error).partition("\n")[0]
                self._drop(port)


class SerialPort:
    """By pyserial."""

    def __init__(self, url: str, baud: int) -> None:
        import serial

        more: dict[str, Any] = {"exclusive": True} if "://" not in url else {}
        self._port = serial.serial_for_url(url, baudrate=baud, timeout=POLL_S, **more)

    def read(self) -> bytes:
        data = bytes(self._port.read(1))
        if data:  # the rest of the frame follows: waking up for each of its bytes costs more
            time.sleep(GATHER_S)
        while data and len(data) < MOST_BYTES and (waiting := self._port.in_waiting):
            data += bytes(self._port.read(waiting))
        return data

    def write(self, unit: Unit) -> None:
        self._port.write(unit.data)

    def cancel(self) -> None:
        for name in ("cancel_write", "cancel_read"):
            getattr(self._port, name, lambda: None)()

    def close(self) -> None:
        self._port.close()


class SerialLink(Link):
    """Any URL that pyserial knows: /dev/ttyACM0, a pty, socket://host:port, rfc2217://host:port."""

    def __init__(self, url: str, heard: Heard, *, baud: int = 1_000_000) -> None:
        """heard: takes bytes as they come. Raises EdgeguardError."""
        super().__init__(url, lambda: SerialPort(url, baud), heard)


class _CanPort:
    def __init__(self, interface: str, channel: str) -> None:
        import can

        self._message = can.Message
        self._errors = can.CanOperationError, can.CanTimeoutError
        self._refused = 0
        """Frames in a row."""
        self._bus = can.Bus(interface=interface, channel=channel, fd=True)

    def read(self) -> bytes:
        message = self._bus.recv(timeout=POLL_S)
        ours = (
            message is not None
            and message.is_fd
            and not message.is_extended_id
            and message.arbitration_id & ~0xFF == CAN_ID
        )
        return bytes(message.data) if message is not None and ours else b""

    def write(self, unit: Unit) -> None:
        message = self._message(
            arbitration_id=CAN_ID + unit.kind,
            is_extended_id=False,
            is_fd=True,
            bitrate_switch=True,
            data=padded(unit.data),
        )
        try:
            self._bus.send(message, timeout=CAN_SEND_S)
        except self._errors as error:  # a full queue for one: socketcan's ENOBUFS has no wait
            self._refused += 1
            if error.error_code in GONE or self._refused >= MOST_REFUSED:
                raise
            raise Refused(str(error)) from error
        self._refused = 0

    def cancel(self) -> None:
        pass

    def close(self) -> None:
        self._bus.shutdown()


class CanLink(Link):
    """CAN FD, one message a frame: can://INTERFACE/CHANNEL with python-can's names."""

    framed = True

    def __init__(self, url: str, heard: Heard) -> None:
        """heard: takes one frame at a time. Raises EdgeguardError."""
        parts = urlsplit(url)
        interface, channel = parts.netloc, parts.path.lstrip("/")
        if parts.scheme != "can" or not interface or not channel:
            raise EdgeguardError(f"{url}: want can://INTERFACE/CHANNEL, as can://socketcan/can0")
        super().__init__(url, lambda: _CanPort(interface, channel), heard)


def padded(frame: bytes) -> bytes:
    """With zeros up to the next length that CAN FD has."""
    length = next(n for n in FD_LENGTHS if n >= len(frame))
    return frame + bytes(length - len(frame))


def open_link(url: str, heard: Heard) -> Link:
    """The port that a URL or a device names. Raises EdgeguardError."""
    return CanLink(url, heard) if url.startswith("can:") else SerialLink(url, heard)
