# SPDX-License-Identifier: Apache-2.0
"""How long the link takes: HELLO to CHALLENGE as the host sees it, CHALLENGE to ARM as the other
end does. The microcontroller is never armed, since the operator's token is a wrong one on purpose.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from edgeguard.errors import EdgeguardError
from firmware_bridge.host import HostLink, Phase
from firmware_bridge.keys import Keys
from firmware_bridge.links import Link, open_link

ANSWER_S = 1.0
FIRST_S = 5.0  # a board that was just given power tests itself


class Trips(NamedTuple):
    """Microseconds, one each time."""

    host: list[float]
    """From the host to the microcontroller and back, the wait for its next turn among it."""
    mcu: list[float]
    """From the microcontroller to the host and back: the link alone."""


class _Probe:
    def __init__(self, port: str, mcu: Mapping[str, Any], keys: Keys) -> None:
        wrong = Keys(keys.link, bytes(byte ^ 0xFF for byte in keys.operator))
        self._host = HostLink(mcu, wrong, framed=port.startswith("can:"))
        self._changed = threading.Condition()
        self._challenged_ns = 0
        self._period_us = int(mcu["link"]["period_us"])
        self._link: Link | None = None  # bytes may be heard before it is there
        self._link = open_link(port, self._heard)

    def _heard(self, data: bytes) -> None:
        now_ns = time.monotonic_ns()
        with self._changed:
            before = self._host.phase
            take = self._host.receive_frame if self._host.framed else self._host.receive
            take(data, now_ns // 1000)
            if before is Phase.GREETING and self._host.phase is not before:
                self._challenged_ns = now_ns
            self._send()
            self._changed.notify_all()

    def _send(self) -> None:
        if self._link is not None:
            self._link.send(self._host.take())

    def wait(self, what: Callable[[HostLink], bool], timeout_s: float) -> bool:
        """Let time pass until it is true."""
        end_s = time.monotonic() + timeout_s
        with self._changed:
            while not what(self._host):
                if time.monotonic() > end_s:
                    return False
                self._changed.wait(self._period_us / 1e6)
                self._host.age(time.monotonic_ns() // 1000)
        return True

    def once(self) -> tuple[float, float] | None:
        """One handshake up to the refusal; None when a frame was lost."""
        with self._changed:
            sent_ns = time.monotonic_ns()
            self._host.arm(sent_ns // 1000)
            self._send()
        if not self.wait(lambda host: host.phase is Phase.REFUSED, ANSWER_S):
            return None
        return (self._challenged_ns - sent_ns) / 1000, float(self._host.round_trip_us)

    def close(self) -> None:
        if self._link is not None:
            self._link.close()


def round_trips(port: str, mcu: Mapping[str, Any], keys: Keys, n: int, seed: int = 0) -> Trips:
    """So many round trips. Raises EdgeguardError when it is silent."""
    pause = random.Random(seed)
    probe = _Probe(port, mcu, keys)
    try:
        if not probe.wait(lambda host: host.state is not None, FIRST_S):
            raise EdgeguardError(f"{port}: no answer")
        trips = Trips([], [])
        for _ in range(2 * n):
            found = probe.once()
            if found is not None:
                trips.host.append(found[0])
                trips.mcu.append(found[1])
            if len(trips.host) == n:
                return trips
            time.sleep(pause.uniform(0.005, 0.02))  # at any point of its period
        raise EdgeguardError(f"{port}: answers less than every second time")
    finally:
        probe.close()
