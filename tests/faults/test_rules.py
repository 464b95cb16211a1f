# SPDX-License-Identifier: Apache-2.0
"""What the rule-based controllers are told: what the core believes, and nobody may change it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeguard import ConfigError, Guard, Mode
from edgeguard.adapters.handover import Handover
from tests.faults.bench import POLICY, Bench, certain, write_policy
from tests.faults.test_f06_numbers import BAD, OUTSIDE, ZEROS, Moody

FOLLOWS = (
    POLICY.replace('"slow_and_hold", floor = 5.0', '"follow", signal = "rule_speed"')
    .replace("rise = 1.5", "rise = 100.0")
    .replace("fall = 4.0", "fall = 100.0")
    + '\n[signal.rule_speed]\nunit = "m/s"\nrange = [0.0, 36.0]\n'
)
PATIENT = '\n[cause.INPUT_INVALID]\nseverity = "FALLBACK"\nclears = "itself"\n'


def seen_by(bench: Bench) -> list[Mapping[str, Any]]:
    """What a rule is told from now on."""
    told: list[Mapping[str, Any]] = []

    def rule(signals: Mapping[str, Any], last: float, t_ns: int) -> float:
        told.append(signals)
        return 5.0

    bench.guard._parts.shadow._controllers = (("target_speed", rule),)
    return told


@pytest.mark.parametrize("more", ["", PATIENT], ids=["as shipped", "no reason to stop"])
@pytest.mark.parametrize(
    "bad", [*(b for b in BAD if b is not True), *OUTSIDE], ids=lambda b: type(b).__name__
)
def test_nothing_drives_towards_a_signal_that_nobody_believes(
    tmp_path: Path, bad: Any, more: str
) -> None:
    bench = Bench(write_policy(tmp_path, FOLLOWS + more))
    bench.signals = {"speed": 5.0, "rule_speed": 5.0}
    bench.guard.arm()
    bench.run(300)
    assert (bench.command, bench.decision.mode) == (5.0, Mode.FALLBACK)
    bench.signals["rule_speed"] = bad
    for _ in range(20):
        bench.tick()
        assert bench.command <= 5.0
        assert {"INPUT_INVALID", "CONTROLLER_LOST"} <= set(bench.decision.present)
    assert (bench.command, bench.decision.mode) == (0.0, Mode.SAFE_STOP)


STEP = 1 / 65536
RANGES = [
    (0.0, 70.0),
    (-0.3, 0.7),
    (0.7, 5.0),
    (-STEP, 70.0 + STEP),
    (-32767.0, 32767.0),
    (0.1, 0.3),
]
NEAR = [k * STEP / 4 + end for end in (0.0, -STEP, 70.0, 70.0 + STEP, 32767.0, -32767.0, 0.1, 0.3)
        for k in range(-7, 8)]  # fmt: skip
KINDS: list[Any] = [
    True, False, 3, np.float32(3.25), np.int64(7), np.array(2.5), np.float64(71.0), "3", b"3",
]  # fmt: skip


@pytest.mark.parametrize("low", [-0.6, -0.5, -0.3, -0.1, 0.0, 0.1, 0.7])
def test_a_rule_that_follows_a_signal_can_be_proved_in_every_range(
    tmp_path: Path, low: float
) -> None:
    """Ends of ranges that are no whole steps of the core are rounded inwards."""
    head, _, tail = FOLLOWS.rpartition("range = [0.0, 36.0]")
    Guard.load(write_policy(tmp_path, f"{head}range = [{low}, 36.0]{tail}")).arm()


@pytest.mark.parametrize("ends", RANGES, ids=str)
def test_rules_are_told_what_the_core_finds_valid_and_nothing_else(
    tmp_path: Path, ends: tuple[float, float]
) -> None:
    toml = POLICY.replace('"speed"\nstandstill_below = 0.1', '"still"\nstandstill_below = 0.1')
    toml = toml.replace('measured = "speed"\n', "").replace(
        "range = [0.0, 70.0]",
        f'range = [{ends[0]!r}, {ends[1]!r}]\n[signal.still]\nunit = "m/s"\nrange = [0.0, 70.0]',
    )
    bench = Bench(write_policy(tmp_path, toml))
    bench.signals["still"] = 1.0
    told = seen_by(bench)
    for value in (*NEAR, *KINDS, *ZEROS, *BAD, *OUTSIDE):
        bench.signals["speed"] = value
        bench.tick()
        believed = "INPUT_INVALID" not in bench.decision.present
        assert ("speed" in told[-1]) == believed, value
        if believed:
            number = told[-1]["speed"]
            assert type(number) is float and ends[0] <= number <= ends[1]
            assert round(number / STEP) == round(float(value) / STEP)
            assert number == 0.0 or abs(number) > 1e-300
            assert str(number) != "-0.0"


def test_what_is_not_declared_is_told_as_it_was_given(bench: Bench) -> None:
    told, own = seen_by(bench), object()
    bench.signals |= {"sped": float("nan"), "own": own, "engaged": 1}
    bench.tick()
    assert told[-1]["own"] is own and told[-1]["engaged"] == 1
    assert told[-1]["sped"] != told[-1]["sped"]


def test_what_was_not_proved_is_told_to_no_rule(tmp_path: Path) -> None:
    proved = POLICY.replace("range = [0.0, 70.0]", "range = [0.0, 70.0]\nauthenticated = true")
    bench = Bench(write_policy(tmp_path, proved))
    told = seen_by(bench)
    for authenticated, want in ((None, None), ({"speed": 3.0}, 3.0), ({"speed": 99.0}, None)):
        bench.now_ns += 10**7
        bench.guard.decide({"speed": 7.0}, bench.now_ns, authenticated)
        assert told[-1].get("speed") == want


@pytest.mark.parametrize("how", ["sets", "clears", "deletes"])
def test_a_rule_that_writes_to_the_signals_misleads_no_other(bench: Bench, how: str) -> None:
    """Two channels' rules are told the same; the first of them would have stopped the vehicle."""
    told: list[float] = []

    def first(signals: Any, last: float, t_ns: int) -> float:
        if how == "sets":
            signals["speed"] = 0.0
        elif how == "clears":
            signals.clear()
        else:
            del signals["speed"]
        return last

    def second(signals: Any, last: float, t_ns: int) -> float:
        told.append(signals["speed"])
        return min(last, signals["speed"])

    shadow = bench.guard._parts.shadow
    shadow._controllers = (("target_speed", first), ("target_speed", second))
    bench.run(100, "twenty")
    assert told == [] and "CONTROLLER_LOST" in bench.decision.causes
    assert bench.decision.mode == Mode.SAFE_STOP
    shadow._controllers = (("target_speed", second),)
    bench.tick()
    assert told == [20.0] and bench.signals == {"speed": 20.0}


def test_models_go_on_without_rules_for_no_longer_than_ten_periods(tmp_path: Path) -> None:
    """The longest that a guard.toml may ask for."""
    patient = "\n[cause.CONTROLLER_LOST]\non_ms = {}\n"
    with pytest.raises(ConfigError, match=r"CONTROLLER_LOST\.on_ms: is 600000; .* at most 100 ms"):
        Guard.load(write_policy(tmp_path, POLICY + patient.format(600_000)))
    bench = Bench(write_policy(tmp_path, POLICY + patient.format(100))).nominal()
    before = bench.command

    def dead(*_: object) -> float:
        raise RuntimeError

    bench.guard._parts.shadow._controllers = (("target_speed", dead),)
    bench.run(120, "thirty")
    assert bench.decision.mode == Mode.SAFE_STOP
    assert max(bench.commands) <= before + 1.5 * 0.12
    bench.run(6000, "thirty")
    assert bench.command == 0.0


class Odd(str):
    """A name that can be hashed and not be compared."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        raise SystemExit(3)


class Leaves:
    """A number, a stamp or a mapping that ends the process when it is asked."""

    def __index__(self) -> int:
        raise SystemExit(3)

    def __float__(self) -> float:
        raise SystemExit(3)


class Gone(Mapping[str, float]):
    def __getitem__(self, name: str) -> float:
        raise SystemExit(3)

    def __iter__(self) -> Any:
        raise SystemExit(3)

    def __len__(self) -> int:
        return 1


STRANGE: dict[str, Any] = {
    "odd name": {Odd("speed"): 20.0}, "odd and plain": {Odd("speed"): 20.0, "speed_2": 1.0},
    "leaves": {"speed": Leaves()}, "gone": Gone(),
    "leaves while engaged": {"speed": 20.0, "engaged": Leaves()},
}  # fmt: skip
PLAIN = {"none": None, "plain": {"speed": 20.0}}


def strange(*more: str) -> Any:
    """Parameters with names that are the same in every process."""
    all_of_them = {name: PLAIN[name] for name in more} | STRANGE
    return {"argvalues": list(all_of_them.values()), "ids": list(all_of_them)}


HEARD = """
[detector.changes]
kind = "history"
member = "one"
feature = "changes"
above = 3
"""


@pytest.mark.parametrize("authenticated", **strange("none", "plain"))
@pytest.mark.parametrize("signals", **strange("plain"))
@pytest.mark.parametrize("when", ["first", "later"])
def test_whatever_the_caller_gives_decide_commands(
    tmp_path: Path, signals: Any, authenticated: Any, when: str
) -> None:
    proved = POLICY.replace("range = [0.0, 70.0]", "range = [0.0, 70.0]\nauthenticated = true")
    for toml in (POLICY, POLICY + HEARD, proved):
        bench = Bench(write_policy(tmp_path, toml))
        bench.guard.arm()
        if when == "later":
            bench.tick()
        for t_ns in (bench.now_ns + 10**7, Leaves()):
            bench.say(certain("thirty"))
            decision = bench.guard.decide(signals, t_ns, authenticated)  # type: ignore[arg-type]
            assert 0.0 <= decision.command["target_speed"] <= 20.0


def test_a_rule_whose_error_has_no_text_is_lost_like_any_other(bench: Bench) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise SystemExit(3)

    def rule(*_: object) -> float:
        raise Mute

    bench.guard._parts.shadow._controllers = (("target_speed", rule),)
    bench.run(100, "twenty")
    assert bench.decision.mode == Mode.SAFE_STOP
    assert bench.guard._parts.shadow.failure == "Mute: no message"


@pytest.mark.parametrize("signals", **strange())
def test_neither_does_asking_a_person_raise(tmp_path: Path, signals: Any) -> None:
    waits = '\n[signal.waiting]\nunit = "s"\nrange = [0.0, 10.0]\n'
    guard = Guard.load(write_policy(tmp_path, POLICY + waits))
    person = Handover(guard, ask=lambda decision: None)
    for t_ns in (10**9, Leaves()):
        decision = person.decide(signals, t_ns)  # type: ignore[arg-type]
        assert 0.0 <= decision.command["target_speed"] <= 20.0


def test_a_number_that_is_only_once_one_is_none(bench: Bench) -> None:
    """The rules and the core read it one after the other."""
    told = seen_by(bench)
    bench.signals["speed"] = Moody(1)
    bench.tick()
    assert told[-1]["speed"] == 20.0 and "INPUT_INVALID" in bench.decision.present
