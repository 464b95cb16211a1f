# SPDX-License-Identifier: Apache-2.0
"""A board on a pty: the firmware's twin in real time."""

from __future__ import annotations

import os
import pty
import threading
import time
import tty
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from firmware_bridge.keys import Keys
from firmware_bridge.twin import McuTwin

PATIENCE_S = 20.0


def wait_for(what: Callable[[], Any]) -> None:
    """Until it is true; a machine may be as slow as it likes up to PATIENCE_S."""
    end = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.005)


@contextmanager
def pseudo_terminal() -> Iterator[tuple[int, str]]:
    """The end of the microcontroller as a descriptor, that of the host as a path."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    name = os.ttyname(slave)
    os.close(slave)
    try:
        yield master, name
    finally:
        os.close(master)


class Board(threading.Thread):
    """A twin behind the other end of a pty; it dies at the end of the `with`, or before."""

    def __init__(self, mcu: Mapping[str, Any], keys: Keys, master: int) -> None:
        super().__init__(daemon=True)
        os.set_blocking(master, False)
        self.master = master
        self.twin = McuTwin(mcu, keys)
        self.ended = threading.Event()

    def run(self) -> None:
        next_us = time.monotonic_ns() // 1000
        self.twin.power_cycle(next_us)
        while not self.ended.wait(0.0005):
            with suppress(OSError):  # nothing there, or nobody has opened the port
                self.twin.receive(os.read(self.master, 2048))
            now_us = time.monotonic_ns() // 1000
            if now_us < next_us:
                self.twin.listen(now_us)
                continue
            next_us = now_us + self.twin.period_us
            with suppress(OSError):
                os.write(self.master, self.twin.step(now_us))

    def die(self) -> None:
        """It says nothing from now on; its port stays."""
        self.ended.set()
        self.join()

    def __enter__(self) -> Board:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.die()
