# SPDX-License-Identifier: Apache-2.0
"""Faults in real time: those of the twin, and what takes a debugger or a process of its own."""

from __future__ import annotations

import time
from collections.abc import Callable

from attrs import evolve

from firmware_bridge.campaign import faults_host, faults_link, faults_time
from firmware_bridge.campaign.case import Case, Fault
from firmware_bridge.campaign.live import Disturbed, LiveCase, now_us

WRAPS_US = 2_700_000  # after the start: arming and speeding up take 1.3 to 2.2 s


def _dies(c: Case) -> None:
    """The process that decides ends, stands, or loses its port."""
    assert isinstance(c, LiveCase)
    kind = c.rng.choice(("SIGKILL", "SIGSTOP", "port closed", "loop"))
    if kind == "loop":
        faults_host.does_not_check(c)
        return
    c.start()
    c.begin(kind)
    c.causes = frozenset({"LINK_LOST"})
    c.stop()
    time.sleep(c.rng.uniform(0, 0.01))
    if kind == "port closed":
        c.live_drive.close_port()
    else:
        c.ask(kind)
    c.go(50)


def _resets(c: Case) -> None:
    assert isinstance(c, LiveCase)
    twice = c.rng.random() < 0.6
    c.start()
    c.begin("twice" if twice else "once")
    c.causes = frozenset({"NOT_ARMED"})
    c.stop()
    c.ask("reset", twice and c.rng.randint(0, 200))
    c.go(50)


def _clocks(c: Case) -> None:
    kind = c.rng.choice(("host's clock steps", "host's clock wraps"))
    if "wraps" in kind:
        _wraps(c, kind)
        return
    drive = c.start()
    c.begin(kind)
    by_us = c.rng.choice((-1, 1)) * round(10 ** c.rng.uniform(4.7, 9.2))
    drive.stamp = lambda us: us + by_us
    c.stop()
    c.go(60)


def _wraps(c: Case, kind: str) -> None:
    """Soon after it begins. Arming and speeding up take as long as the machine takes, so what is
    left until then is driven."""
    lead_us = c.rng.randint(100_000, 400_000)
    wraps_us = now_us() + WRAPS_US
    drive = c.start(clocks={"host_clock": 2**32 - wraps_us})
    while now_us() < wraps_us - lead_us:
        c.go(1)
    begins = drive.host_us(now_us()) >> 32
    c.begin(kind)
    c.no_stop()
    c.go(60)
    if (begins, drive.host_us(now_us()) >> 32) != (0, 1):
        raise Disturbed("the host's clock did not wrap while it was looked at")


def _detected(c: Case) -> None:
    """The host says that it stops; or a particle hits RAM or flash."""
    assert isinstance(c, LiveCase)
    kind = c.rng.choice(("host stops", "ram", "policy", "flash", "core"))
    c.start()
    c.begin(kind)
    if kind == "host stops":
        faults_host.says_stop(c)
    else:
        # In the middle of a turn a flip may be an exception first. That resets, and a reset of QEMU
        # loads the image again.
        c.causes = frozenset({"SELF_TEST", "NOT_ARMED"} if kind == "core" else {"SELF_TEST"})
        if kind in ("policy", "core"):
            c.stop()
        c.ask("flip", kind, c.rng.getrandbits(30), c.rng.randrange(8))
    c.go(50)


_OWN: dict[str, Callable[[Case], None]] = {
    "F18": _resets,
    "F19": _dies,
    "F20": _clocks,
    "F23": _detected,
}
FAULTS: tuple[Fault, ...] = tuple(
    sorted(
        (
            evolve(fault, inject=_OWN.get(fault.id, fault.inject))
            for fault in (*faults_link.FAULTS, *faults_host.FAULTS, *faults_time.FAULTS)
        ),
        key=lambda fault: fault.id,
    )
)
BY_ID = {fault.id: fault for fault in FAULTS}
