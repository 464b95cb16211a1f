# SPDX-License-Identifier: Apache-2.0
"""READY and WATCHDOG to systemd, sent by the decision itself: a thread beside it would go on
reporting while the loop stands still."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Mapping

from edgeguard.decision import Decision
from edgeguard.errors import EdgeguardError
from edgeguard.intake.sources import Frame


class Notify:
    """A watcher of the loop, the last one: what it reports has been handed to all others."""

    def __init__(self, address: str, period_ns: int | None, reached: Callable[[], bool]) -> None:
        """address: a path, or @name in the abstract namespace; period_ns: of WATCHDOG; reached:
        whether what was decided leaves the process. Nothing is reported while it does not."""
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._period_ns, self._next_ns, self._reached = period_ns, 0, reached
        self._state = b"READY=1"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    @classmethod
    def from_environment(
        cls, reached: Callable[[], bool], environment: Mapping[str, str] = os.environ
    ) -> Notify | None:
        """None where nobody wants to hear it. Raises EdgeguardError for a bad WATCHDOG_USEC."""
        address = environment.get("NOTIFY_SOCKET")
        if not address:
            return None
        limit_us, meant = environment.get("WATCHDOG_USEC"), environment.get("WATCHDOG_PID")
        if limit_us is None or meant not in (None, str(os.getpid())):
            return cls(address, None, reached)
        if not limit_us.isdecimal() or int(limit_us) == 0:
            raise EdgeguardError(f"WATCHDOG_USEC: {limit_us!r} is no time in microseconds")
        return cls(address, int(limit_us) * 1000 // 3, reached)

    def saw(self, frame: Frame) -> None:
        """A frame proves nothing."""

    def decided(self, decision: Decision, t_ns: int) -> None:
        """READY after the first decision, then WATCHDOG three times in systemd's limit."""
        now_ns = time.monotonic_ns()
        if not self._state or now_ns < self._next_ns or not self._reached():
            return
        with contextlib.suppress(OSError):  # not heard: systemd restarts what it does not hear
            self._socket.sendto(self._state, self._address)
            self._state = b"" if self._period_ns is None else b"WATCHDOG=1"
            self._next_ns = now_ns + (self._period_ns or 0)
