# SPDX-License-Identifier: Apache-2.0
"""Process members of the tiny model, and what tests do with them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from tiny_models import images

from edgeguard.inference.child import ChildProcess
from edgeguard.inference.members import Result

Open = Callable[..., ChildProcess]


READY_S = 30.0


def ask(member: ChildProcess, serial: int = 1) -> Result | None:
    member.input[0] = images()[serial % 4]
    assert member.submit(serial, 1000 * serial)
    return member.wait(READY_S)


def until(condition: Callable[[], bool], seconds: float = READY_S) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()


def strike(member: ChildProcess, number: int) -> int:
    pid = member.pid
    assert pid is not None
    os.kill(pid, number)
    return pid
