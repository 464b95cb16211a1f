# SPDX-License-Identifier: Apache-2.0
"""Re-arming a microcontroller that stopped: the firmware's logic behind a real guard."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeguard import config
from edgeguard.errors import ConfigError
from edgeguard.guard import Guard
from edgeguard.output.mcu import Behind, InTwin
from firmware_bridge.keys import Keys
from tests.faults.bench import MEMBERS, POLICY, Bench, certain, write_policy

PERIOD_NS = 10_000_000
KEYS = Keys(bytes(range(16)), bytes(range(16, 32)))
TOKEN = "a-token-for-the-test"


class Driven:
    """A guard behind a twin on a simulated clock; its vehicle is the twin's."""

    def __init__(self, folder: Path, policy: str = POLICY, twin: type[InTwin] = InTwin) -> None:
        self.guard = Guard.load(write_policy(folder, policy), operator_token=TOKEN)
        self.mcu = twin(self.guard.config, KEYS, bytes(16))
        self.behind = Behind(self.guard, self.mcu)
        self.now_ns = 1_000_000_000
        self.behind.arm()

    def ticks(self, count: int, say: str = "twenty", **signals: float) -> None:
        for _ in range(count):
            self.now_ns += PERIOD_NS
            for name in MEMBERS:
                self.guard.suggest(name, certain(say), self.now_ns - PERIOD_NS, self.now_ns)
            self.decision = self.behind.decide(signals, self.now_ns)


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


def lose_the_rules(driven: Driven) -> None:
    """A rule that raises: CONTROLLER_LOST, so the guard stops, and the microcontroller with it."""
    shadow = driven.guard._parts.shadow
    kept = shadow._controllers
    shadow._controllers = (("target_speed", lambda *_: 1 / 0),)
    driven.ticks(1500)
    shadow._controllers = kept
    driven.ticks(200)


def test_a_guard_that_stopped_arms_both_ends_again_in_one_go(tmp_path: Path) -> None:
    """The microcontroller still holds that its host stops when the handshake begins."""
    driven = Driven(tmp_path)
    driven.ticks(500)
    lose_the_rules(driven)
    assert driven.decision.mode.name == "SAFE_STOP"
    assert "PEER_STOPPED" in driven.behind.said
    assert driven.behind.rearm(TOKEN) is None
    driven.ticks(50)
    assert driven.behind.said.startswith("NOMINAL")
    assert driven.decision.mode.name == "NOMINAL"


def test_a_refused_handshake_leaves_the_session_as_it_is(tmp_path: Path) -> None:
    """It moves: no arming; the commands go on, and so does the vehicle."""
    driven = Driven(tmp_path)
    driven.ticks(2000)
    assert driven.decision.command["target_speed"] > 5
    driven.mcu.rearm()
    driven.ticks(100)
    assert driven.mcu.host.refusal is not None
    assert driven.behind.said.startswith("NOMINAL")
    assert driven.decision.mode.name == "NOMINAL"


PROVED = POLICY.replace("[signal.speed]", "[signal.speed]\nauthenticated = true")


class OnCable(InTwin):
    """A twin on a cable that may be cut."""

    is_cut = False

    def _hear(self, data: bytes, now_us: int) -> None:
        super()._hear(b"" if self.is_cut else data, now_us)


@pytest.mark.parametrize("policy", [POLICY, PROVED], ids=["anybody's", "proved"])
def test_only_what_is_proved_takes_the_place_of_a_silent_microcontroller(
    tmp_path: Path, policy: str
) -> None:
    """When it is silent, what others say may count, or may not."""
    driven = Driven(tmp_path, policy, OnCable)
    driven.ticks(200)
    assert "INPUT_INVALID" not in driven.decision.present
    assert isinstance(driven.mcu, OnCable)
    driven.mcu.is_cut = True
    driven.ticks(50, speed=20.0)
    assert ("INPUT_INVALID" in driven.decision.causes) == (policy is PROVED)


def test_a_link_without_tags_proves_nothing(tmp_path: Path) -> None:
    open_link = PROVED + "\n[mcu]\nauthenticated = false\n"
    with pytest.raises(ConfigError, match=r"signal\.speed\.authenticated: .*carry no tag"):
        config.load(write_policy(tmp_path, open_link))


def test_a_signal_that_anybody_may_have_sent_is_absent(tmp_path: Path) -> None:
    bench = Bench(write_policy(tmp_path, PROVED))
    bench.guard.arm()
    bench.run(200, "twenty")
    assert "INPUT_INVALID" in bench.decision.causes
    assert bench.decision.mode.name == "SAFE_STOP"
    proved = bench.guard.decide({"speed": -5.0}, bench.now_ns + 10_000_000, {"speed": 20.0})
    assert "INPUT_INVALID" not in proved.present
    for nothing in (7, ["speed"], {"speed": float("nan")}, {}):
        bench.now_ns += 20_000_000
        assert "INPUT_INVALID" in bench.guard.decide({"speed": 1.0}, bench.now_ns, nothing).present  # type: ignore[arg-type]


class Broken(dict[str, float]):
    """A mapping that does not do what one does."""

    def keys(self) -> Any:
        raise RuntimeError("no")


@pytest.mark.parametrize("tags", [True, False])
def test_it_takes_whatever_the_guard_takes(tmp_path: Path, tags: bool) -> None:
    driven = Driven(tmp_path, POLICY if tags else POLICY + "\n[mcu]\nauthenticated = false\n")
    signals: list[Any] = [None, 7, ["speed"], Broken(speed=0.0), {"speed": "fast"}, {}]
    stamps: list[Any] = [None, "now", 1.5e9, 2**80, driven.now_ns]
    for given in signals:
        for t_ns in stamps:
            made = driven.behind.decide(given, t_ns)
            assert ("TIME_FAULT" in made.present) or t_ns is driven.now_ns


@pytest.mark.parametrize("kind", [np.float32, np.int64, np.float64, Decimal, Fraction])
def test_the_twins_sensors_take_the_numbers_that_the_guard_takes(tmp_path: Path, kind: Any) -> None:
    driven = Driven(tmp_path)
    driven.ticks(50, speed=kind(0))
    assert driven.behind.said.startswith("NOMINAL")
    assert "INPUT_INVALID" not in driven.decision.present
    driven.ticks(5, speed=kind(3))
    assert driven.behind.state is not None
    assert driven.behind.state.speed == 3.0


def test_nobody_waits_for_the_turns_of_a_clock_that_jumped(tmp_path: Path) -> None:
    driven = Driven(tmp_path)
    driven.ticks(50)
    turns = driven.mcu.twin.turns
    driven.now_ns += 10**18
    driven.ticks(1)
    assert driven.mcu.twin.turns - turns <= 1100
    assert driven.behind.said == "silent"
    driven.ticks(2)
    assert driven.behind.said.startswith("SAFE_STOP")
