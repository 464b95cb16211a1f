# SPDX-License-Identifier: Apache-2.0
"""F06, generated: every bad number into every numeric input of the public API.

(`guard.toml` has its own matrix in tests/config.)
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeguard import Decision, Mode
from tests.faults.bench import MEMBERS, Bench, camera_guard, certain

BAD: list[Any] = [
    math.nan, math.inf, -math.inf, 1.7976931348623157e308, -1.7976931348623157e308, 3.4e38, 2**63,
    -(2**63), 10**400, None, "20", "", b"x", [], {}, object(), 1j, np.float32("nan"),
    np.array([1.0, 2.0]), True,
]  # fmt: skip
ZEROS: list[Any] = [-0.0, 5e-324, -5e-324, 1e-310, np.float32(1e-45)]


def never_wrong(bench: Bench, decision: Decision, before: float) -> None:
    """Whatever came in: a finite command within the envelope, and no higher than a sane one."""
    command = decision.command["target_speed"]
    assert math.isfinite(command)
    assert 0.0 <= command <= 36.0
    assert command <= before + 1 / 65536
    assert all(math.isfinite(v) for v in decision.ages_ms.values())


OUTSIDE: list[Any] = [70.1, -0.1, 1000.0, 30_000.0, -300.0]  # numbers, not in the declared range


@pytest.mark.parametrize("bad", [*BAD, *OUTSIDE], ids=lambda b: f"{type(b).__name__}-{str(b)[:12]}")
def test_signal(bench: Bench, bad: Any) -> None:
    before = bench.command
    bench.signals["speed"] = bad
    for _ in range(60):
        decision = bench.run(10, "twenty")
        never_wrong(bench, decision, before)
        before = bench.command
    if bad is not True:  # a truth is the number 1
        assert "INPUT_INVALID" in decision.causes


@pytest.mark.parametrize(
    "bad", [*BAD[:7], *OUTSIDE], ids=lambda b: f"{type(b).__name__}-{str(b)[:12]}"
)
@pytest.mark.parametrize("when", ["first", "not engaged", "taken over"])
def test_signal_that_commands_follow(policy: Path, bad: Any, when: str) -> None:
    """Measured values are followed while inactive and at the start: only those that are any."""
    bench = Bench(policy)
    if when != "first":
        bench.nominal()
    if when == "taken over":
        bench.guard.takeover()
    before = bench.command if bench.commands else 0.0
    bench.signals |= {"speed": bad} | ({"engaged": 0} if when == "not engaged" else {})
    for _ in range(5):
        decision = bench.run(10, "twenty")
        assert "INPUT_INVALID" in decision.present
        assert bench.command == pytest.approx(before, abs=0.25)


@pytest.mark.parametrize("bad", [*BAD[:9], None, "speed", [1], 7])
def test_signals_that_are_no_table(bench: Bench, bad: Any) -> None:
    before = bench.command
    bench.signals = bad
    for _ in range(60):
        never_wrong(bench, bench.run(10, "twenty"), before)
    assert "INPUT_INVALID" in bench.decision.causes


@pytest.mark.parametrize("bad", BAD, ids=lambda b: f"{type(b).__name__}-{str(b)[:12]}")
def test_time(bench: Bench, bad: Any) -> None:
    before = bench.command
    for _ in range(3):
        decision = bench.guard.decide(bench.signals, bad)
        never_wrong(bench, decision, before)
        assert "TIME_FAULT" in decision.present
    assert decision.mode == Mode.FALLBACK
    assert decision.command["target_speed"] <= before


@pytest.mark.parametrize("bad", BAD, ids=lambda b: f"{type(b).__name__}-{str(b)[:12]}")
@pytest.mark.parametrize("which", ["capture", "ready"])
def test_stamps_of_a_suggestion(bench: Bench, bad: Any, which: str) -> None:
    before = bench.command
    for _ in range(60):
        capture, ready = bench.now_ns - 5_000_000, bench.now_ns
        for member in MEMBERS:
            stamps = (bad, ready) if which == "capture" else (capture, bad)
            bench.guard.suggest(member, certain("thirty"), *stamps)
        never_wrong(bench, bench.tick(), before)
    assert bench.decision.evidence["target_speed"]["granted"] is False


@pytest.mark.parametrize("at", range(5))
@pytest.mark.parametrize("bad", BAD[:7], ids=str)
def test_one_bad_score(bench: Bench, bad: Any, at: int) -> None:
    scores = certain("thirty").astype(object)
    scores[at] = bad
    before = bench.command
    for _ in range(60):
        bench.say(scores.astype(np.float64) if isinstance(bad, float) else scores)
        never_wrong(bench, bench.tick(), before)
        before = bench.command
    assert bench.decision.mode == Mode.FALLBACK


@pytest.mark.parametrize(
    "scores",
    [
        np.zeros((2, 5), np.float32), np.zeros(4, np.float32), np.zeros(6, np.float32), "thirty",
        object(), {"a": 1}, np.array(["x"] * 5), np.zeros(5, complex), [[1], [2, 3]], 5.0,
    ],
    ids=lambda s: type(s).__name__,
)  # fmt: skip
def test_scores_of_another_shape(bench: Bench, scores: Any) -> None:
    before = bench.command
    for _ in range(60):
        bench.say(scores)
        never_wrong(bench, bench.tick(), before)
        before = bench.command
    assert "SCORE_INSANE" in bench.decision.present
    assert bench.decision.mode == Mode.FALLBACK


@pytest.mark.parametrize("bad", BAD, ids=lambda b: f"{type(b).__name__}-{str(b)[:12]}")
def test_rule_based_controller(bench: Bench, bad: Any) -> None:
    before = bench.command
    bench.guard._parts.shadow._controllers = (("target_speed", lambda *_: bad),)
    for _ in range(60):
        never_wrong(bench, bench.run(10, "twenty"), before)
        before = bench.command
    if bad is not True:
        assert bench.decision.mode == Mode.SAFE_STOP


@pytest.mark.parametrize("bad", BAD, ids=lambda b: f"{type(b).__name__}-{str(b)[:12]}")
def test_engaged(bench: Bench, bad: Any) -> None:
    """What cannot be read as 0 or 1 is no reason to let go: the command stays a bounded ramp."""
    before = bench.command
    bench.signals |= {"engaged": bad, "speed": 30.0}
    decision = bench.run(10, "twenty")
    assert decision.active
    assert before - 0.04 - 1 / 65536 <= bench.command <= before + 1 / 65536
    assert ("INPUT_INVALID" in decision.present) is (bad is not True)


class Hostile(Exception):
    def __str__(self) -> str:
        raise ValueError("no text either")


def raiser(error: BaseException) -> Any:
    def rule(*_: object) -> float:
        raise error

    return rule


def meddler(signals: dict[str, float], *_: object) -> float:
    signals.clear()
    return 5.0


@pytest.mark.parametrize(
    "error", [Hostile(), SystemExit(1), RecursionError(), MemoryError()], ids=repr
)
def test_rule_based_controller_that_raises_anything(bench: Bench, error: BaseException) -> None:
    bench.guard._parts.shadow._controllers = (("target_speed", raiser(error)),)
    bench.run(100, "twenty")
    assert bench.decision.mode == Mode.SAFE_STOP


def test_rule_based_controller_cannot_change_the_signals(bench: Bench) -> None:
    bench.guard._parts.shadow._controllers = (("target_speed", meddler),)
    decision = bench.run(100, "twenty")
    assert bench.signals == {"speed": 20.0}
    assert "INPUT_INVALID" not in decision.present


@pytest.mark.parametrize("zero", ZEROS, ids=str)
def test_minus_zero_and_denormals_decide_as_zero(policy: Path, zero: Any) -> None:
    def trace(value: Any) -> list[tuple[object, ...]]:
        bench = Bench(policy).nominal()
        bench.signals["speed"] = value
        bench.guard._parts.shadow._controllers = (("target_speed", lambda *_: value),)
        scores = certain("ten").astype(np.float64)
        scores[scores == 0] = value
        seen = []
        for n in range(90):
            if n < 40:
                bench.say(scores)
            d = bench.tick()
            seen.append((d.command, d.mode, d.causes, d.present, d.evidence))
        return seen

    # a busy machine may keep the rule from its budget, now and then
    assert any(trace(zero) == trace(0.0) for _ in range(5))


@pytest.mark.parametrize("bad", BAD[:9], ids=str)
def test_arming_time_does_not_matter_to_the_first_decision(policy: Path, bad: Any) -> None:
    bench = Bench(policy)
    bench.guard.arm()
    decision = bench.guard.decide({"speed": 20.0}, bad)
    assert decision.mode >= Mode.FALLBACK
    assert decision.command["target_speed"] <= 20.0


FRAMES: list[Any] = [
    None, "x", 5, object(), np.zeros((0, 0, 3), np.uint8), np.full((32, 32, 3), np.nan),
    np.zeros((32, 32), np.uint8), np.zeros((32, 32, 4), np.uint8), np.zeros((32, 32, 3), np.int16),
    np.zeros((32, 64, 3), np.uint8)[:, ::2],
]  # fmt: skip
BOXES: list[Any] = [
    (0, 0, 0, 0), (-1, 0, 8, 8), (0, 0, 33, 8), (2**70, 0, 1, 1), (0.5, 0, 8, 8), (math.nan,) * 4,
    "box", (1, 2, 3), 7,
]  # fmt: skip


@pytest.fixture(params=["none", "process"])
def seeing(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A guard with a real camera and the shipped compact model."""
    guard = camera_guard(tmp_path, request.param)
    yield guard
    guard.close()


@pytest.mark.parametrize("good_first", [True, False])
def test_camera(seeing: Any, good_first: bool) -> None:
    good = np.zeros((32, 32, 3), np.uint8)
    now = 1_000_000_000

    def step(frame: Any, t_ns: Any = None, box: Any = None) -> None:
        nonlocal now
        now += 10_000_000
        decision = seeing.step("front", frame, {"speed": 20.0}, now if t_ns is None else t_ns, box)
        assert math.isfinite(decision.command["target_speed"])
        assert 0.0 <= decision.command["target_speed"] <= 20.0

    if good_first:
        step(good)
    for frame in FRAMES:
        step(frame)
    for box in BOXES:
        step(good, box=box)
    for t_ns in (*BAD, 2**63 - 1, -(2**63), 0, -1):
        step(good, t_ns=t_ns)
        seeing.wait(0.5)
        assert seeing.decide({"speed": 20.0}, now).command["target_speed"] <= 20.0


class Moody:
    """A number that may raise whatever it likes, or only when it is asked again."""

    def __init__(self, good: int) -> None:
        self.good = good

    def __float__(self) -> float:
        self.good -= 1
        if self.good < 0:
            raise RuntimeError("not today")
        return 20.0


@pytest.mark.parametrize("good", [0, 1])
@pytest.mark.parametrize("when", ["first", "later"])
def test_signal_whose_number_raises(policy: Path, good: int, when: str) -> None:
    bench = Bench(policy)
    if when == "later":
        bench.nominal()
    bench.signals["speed"] = Moody(good)
    assert math.isfinite(bench.tick().command["target_speed"])
    assert "INPUT_INVALID" in bench.tick().present
