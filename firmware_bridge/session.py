# SPDX-License-Identifier: Apache-2.0
"""A microcontroller on a port, as the deciding thread sees it: ask before, tell after, never wait.

question, causes = session.before()   # for Guard.ask and Guard.note
... decide ...
session.after(decision)               # COMMAND, VERDICT, ANSWER
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from firmware_bridge.host import PASSING, Boot, Decided, HostLink, Phase, State
from firmware_bridge.keys import Keys
from firmware_bridge.links import Link, open_link


class Session:
    """The lock is held for microseconds and never over IO."""

    def __init__(
        self,
        url: str,
        mcu: Mapping[str, Any],
        keys: Keys,
        *,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """url: see `links.open_link`. Raises EdgeguardError when there is no such port."""
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._begun_us = 0
        self._host = HostLink(mcu, keys, framed=url.startswith("can:"))
        self._link: Link | None = None
        self._link = open_link(url, self._heard)

    @property
    def link(self) -> Link:
        """The port."""
        assert self._link is not None
        return self._link

    def _heard(self, data: bytes) -> None:
        """In the reading thread: an answer to CHALLENGE must not wait for the next tick."""
        now_us = self._clock_ns() // 1000
        with self._lock:
            if self._host.framed:
                self._host.receive_frame(data, now_us)
            else:
                self._host.receive(data, now_us)
            units = self._host.take()
            self._changed.notify_all()
        if units and self._link is not None:
            self._link.send(units)

    def arm(self) -> None:
        """Begin the handshake, and end it in the background."""
        with self._lock:
            self._host.arm(self._clock_ns() // 1000)
            units = self._host.take()
        self.link.send(units)

    def wait_heard(self, timeout_s: float) -> str | None:
        """Wait, before the loop runs, until it says what it measures. Returns why not, or None."""
        end_ns = self._clock_ns() + int(timeout_s * 1e9)
        while self._clock_ns() < end_ns:
            with self._changed:
                state = self._host.state
                if state is not None and math.isfinite(state.speed):
                    return None
                self._changed.wait(0.02)
            self._idle()
        return "it cannot measure the speed" if self.state is not None else self._silence()

    def wait_armed(self, timeout_s: float) -> str | None:
        """Arm and wait, where no loop runs. Returns why not, or None when it is armed."""
        end_ns = self._clock_ns() + int(timeout_s * 1e9)
        self.arm()
        while self._clock_ns() < end_ns:
            with self._changed:
                self._changed.wait(0.02)
                known = self._host.state is not None
            if self.phase is Phase.ARMED and known:
                return None
            if self.refused_for_good:
                return self.refusal
            self._idle()
        return self._host.refusal or self._silence()

    @property
    def refused_for_good(self) -> bool:
        """Whether trying again would not help; what a busy machine may be to blame for would."""
        return self.phase is Phase.REFUSED and self._host.result not in PASSING

    def _silence(self) -> str:
        counts = self.counts
        if counts["forged"]:
            return (
                "its frames are not signed with this link key: built with another, or without tags"
            )
        if counts["masked"]:
            return "it speaks another version of the link, or with another host"
        if counts["corrupted"]:
            return "bytes come, but no frame: another baud rate, or tags where [mcu] says none"
        return "no answer"

    def _idle(self) -> None:
        """Let time pass while nothing is decided yet."""
        with self._lock:
            now_us = self._clock_ns() // 1000
            self._host.tick(now_us)
            units = self._host.take()
        self.link.send(units)

    def before(self) -> tuple[int, int]:
        """Once a period: the watchdog's question or 0, and the link's causes as a mask."""
        with self._lock:
            if not self._begun_us:
                self._host.begin()
            self._begun_us = self._clock_ns() // 1000
            causes = self._host.tick(self._begun_us)
            return self._host.question(self._begun_us), causes

    def after(self, decision: Decided) -> None:
        """Send what was decided, as old as what it was decided on."""
        with self._lock:
            self._host.decided(decision, self._begun_us)
            units = self._host.take()
        self.link.send(units)

    def log(self, sequence: int, digest: bytes) -> None:
        """Send the head of the recorder's chain."""
        with self._lock:
            self._host.log(sequence, digest)
            units = self._host.take()
        self.link.send(units)

    @property
    def log_head(self) -> tuple[int, bytes] | None:
        """The last one that it confirmed."""
        return self._host.log_head

    @property
    def former_log_head(self) -> tuple[int, bytes] | None:
        """That of a host before this one."""
        return self._host.former_log_head

    @property
    def phase(self) -> Phase:
        """How far arming is."""
        return self._host.phase

    @property
    def refusal(self) -> str | None:
        """Why the last arming failed."""
        return self._host.refusal

    def measured(self) -> State | None:
        """What it measured, while that is recent enough to be used."""
        with self._lock:
            return self._host.measured(self._clock_ns() // 1000)

    @property
    def state(self) -> State | None:
        """What it said last."""
        return self._host.state

    @property
    def boot(self) -> Boot | None:
        """What it said of its last reset."""
        return self._host.boot

    @property
    def counts(self) -> dict[str, int]:
        """Every frame that came in, counted once."""
        with self._lock:
            return self._host.counts

    def close(self) -> None:
        """The port closes; the microcontroller stops the vehicle by itself."""
        self.link.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
