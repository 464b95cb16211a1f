# SPDX-License-Identifier: Apache-2.0
"""Re-arming a microcontroller that stopped: the firmware's logic behind a real guard."""

from __future__ import annotations

from pathlib import Path

from edgeguard.guard import Guard
from edgeguard.output.mcu import Behind, InTwin
from firmware_bridge.keys import Keys
from tests.faults.bench import MEMBERS, certain, write_policy

PERIOD_NS = 10_000_000
KEYS = Keys(bytes(range(16)), bytes(range(16, 32)))
TOKEN = "a-token-for-the-test"


class Driven:
    """A guard behind a twin on a simulated clock; its vehicle is the twin's."""

    def __init__(self, folder: Path) -> None:
        self.guard = Guard.load(write_policy(folder), operator_token=TOKEN)
        self.behind = Behind(self.guard, InTwin(self.guard.config, KEYS, bytes(16)))
        self.now_ns = 1_000_000_000
        self.behind.arm()

    def ticks(self, count: int, say: str = "twenty") -> None:
        for _ in range(count):
            self.now_ns += PERIOD_NS
            for name in MEMBERS:
                self.guard.suggest(name, certain(say), self.now_ns - PERIOD_NS, self.now_ns)
            self.behind.decide({}, self.now_ns)


def test_it_is_armed_again_with_the_guards_token_at_standstill(tmp_path: Path) -> None:
    driven = Driven(tmp_path)
    driven.ticks(500)
    assert driven.behind.said.startswith("NOMINAL")
    driven.now_ns += 100_000_000  # the host stands still: no commands
    driven.ticks(20)
    assert driven.behind.said.startswith("SAFE_STOP")

    assert driven.behind.rearm(TOKEN) == "not at standstill"
    driven.ticks(1500)
    assert driven.behind.said.startswith("SAFE_STOP")  # a person is needed
    assert driven.behind.rearm("x" * 20) == "wrong operator token"
    driven.ticks(50)
    assert driven.behind.said.startswith("SAFE_STOP")
    assert driven.behind.rearm(TOKEN) is None
    driven.ticks(50)
    assert driven.behind.said.startswith("NOMINAL")
