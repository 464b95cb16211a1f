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
from tests.faults.bench import MEMBERS, Bench, certain

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


@pytest.mark.parametrize("bad", BAD, ids=lambda b: f"{type(b).__name__}-{str(b)[:12]}")
def test_signal(bench: Bench, bad: Any) -> None:
    before = bench.command
    bench.signals["speed"] = bad
    for _ in range(60):
        decision = bench.run(10, "twenty")
        never_wrong(bench, decision, before)
        before = bench.command
    if bad is not True:  # a truth is the number 1
        assert "INPUT_INVALID" in decision.causes


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
    bench.signals["engaged"] = bad
    decision = bench.run(10, "twenty")
    assert decision.active is (bad is True)


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

    assert trace(zero) == trace(0.0)


@pytest.mark.parametrize("bad", BAD[:9], ids=str)
def test_arming_time_does_not_matter_to_the_first_decision(policy: Path, bad: Any) -> None:
    bench = Bench(policy)
    bench.guard.arm()
    decision = bench.guard.decide({"speed": 20.0}, bad)
    assert decision.mode >= Mode.FALLBACK
    assert decision.command["target_speed"] <= 20.0


def test_camera_frames_of_another_kind(bench: Bench) -> None:
    before = bench.command
    for frame in (None, "x", np.zeros((0, 0, 3), np.uint8), np.full((8, 8, 3), np.nan), 5):
        never_wrong(bench, bench.guard.step("front", frame, bench.signals, bench.now_ns), before)
        bench.now_ns += 10_000_000
