# SPDX-License-Identifier: Apache-2.0
"""The rows of the fault catalogue that need no camera: each asserts the command at the actuator."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeguard import ConfigError, Guard, Mode
from edgeguard.config import bounds
from tests.faults.bench import MEMBERS, PERIOD_MS, POLICY, Bench, certain, write_policy

FALL = 4.0 * PERIOD_MS / 1000  # m/s per tick
STEP = 1 / 65536  # one unit of the core's numbers


def bound_ms(bench: Bench, cause: str, *, silence: bool = False) -> float:
    """The printed bound; after silence, with the age at which silence becomes evidence."""
    bound = bounds(bench.guard.config)[cause]
    return bound.constant_ms + (bound.evidence_ms if silence else 0.0)


def slows_down(bench: Bench, ms: float, scores: Any = None, late_ms: float = 5.0) -> bool:
    """Whether the command falls at the full rate for this long, while all members say this."""
    before = bench.command
    for _ in range(round(ms / PERIOD_MS)):
        if scores is not None or late_ms > 25:
            bench.say(certain("thirty") if scores is None else scores, late_ms=late_ms)
        bench.tick()
    floor = max(5.0, before - 4.0 * ms / 1000)
    return bench.command == pytest.approx(floor, abs=0.05)


def test_f03_late_is_never_used_as_fresh(bench: Bench) -> None:
    target = bench.command
    for n in range(30):  # a lower sign, seen in time by one member only
        bench.say(certain("ten"), members=("one",))
        bench.say(certain("ten"), members=("two", "three"), late_ms=26)
        bench.tick()
        assert "LATE" in bench.decision.present
        assert "SCORE_INSANE" not in bench.decision.present
        assert bench.decision.evidence["target_speed"]["granted"] is False
        if n < 6:  # the late two still hold what they said in time
            assert bench.command == target
            assert bench.decision.evidence["target_speed"]["voters"] == 3
    assert bench.decision.mode == Mode.FALLBACK
    assert slows_down(bench, 1000, late_ms=26)


def test_f05_empty_answers_are_not_clear(bench: Bench) -> None:
    elapsed = 0.0
    while bench.decision.mode < Mode.FALLBACK:
        bench.say([], members=MEMBERS[:2])
        bench.say(None, members=MEMBERS[2:])
        bench.tick()
        elapsed += PERIOD_MS
    assert elapsed <= bound_ms(bench, "STALE_MODEL")
    assert slows_down(bench, 1000, scores=[])


@pytest.mark.parametrize("members", [MEMBERS[:1], MEMBERS[:2], MEMBERS])
def test_f06_nan_scores_cost_the_vote_and_no_more(bench: Bench, members: tuple[str, ...]) -> None:
    rest = tuple(m for m in MEMBERS if m not in members)
    start = bench.command
    for _ in range(300):
        bench.say(np.full(5, np.nan, np.float32), members)
        bench.say(certain("ten"), rest)
        bench.tick()
        assert "SCORE_INSANE" in bench.decision.present
    if len(rest) >= 2:
        assert bench.decision.mode == Mode.DEGRADED
        assert bench.command == pytest.approx(10.0)  # two of three may lower
    else:
        assert bench.decision.mode == Mode.FALLBACK
        assert bench.command == pytest.approx(max(5.0, start - 12.0), abs=0.1)  # the rule
    assert np.isfinite(bench.commands).all()


@pytest.mark.parametrize(
    "scores",
    [
        [0.0, 0.0, 0.0, 1.4, 0.0],  # above 1, as exported models do; all of them say "thirty"
        [0.9, 0.9, 0.9, 0.99, 0.9],  # does not sum to 1
        [0.0, 0.0, 0.0, 1.0, 1.0],  # two-valued
        [-0.2, 0.1, 0.1, 1.0, 0.0],
        [0.0, 0.0, 0.0, 0.5, 0.0],
    ],
)
def test_f07_insane_scores_do_not_command(bench: Bench, scores: list[float]) -> None:
    before = bench.command
    for _ in range(100):
        bench.say(np.array(scores, np.float32))
        bench.tick()
        assert "SCORE_INSANE" in bench.decision.present
        assert bench.decision.evidence["target_speed"]["granted"] is False
        assert bench.command <= before + STEP
        before = bench.command
    assert bench.decision.mode == Mode.FALLBACK
    assert bench.command <= 16.5


def test_f06_a_bad_result_counts_though_a_good_one_follows_at_once(bench: Bench) -> None:
    for _ in range(50):
        bench.say(np.full(5, np.nan, np.float32))
        bench.say(certain("twenty"))
        bench.tick()
        assert "SCORE_INSANE" in bench.decision.present


def test_an_older_result_is_not_used_after_a_newer_one_was_refused(bench: Bench) -> None:
    bench.say(np.full(5, np.nan, np.float32), late_ms=5)
    bench.tick()
    bench.say(certain("ten"), late_ms=24)
    bench.tick()
    assert bench.decision.evidence["target_speed"]["voters"] == 0


def test_f15_nothing_winds_up_while_not_engaged(bench: Bench) -> None:
    bench.signals |= {"engaged": 0, "speed": 3.0}
    bench.run(3000, "thirty")
    assert not bench.decision.active
    assert bench.command == 3.0
    bench.signals["engaged"] = 1
    bench.run(PERIOD_MS, "thirty")
    assert bench.decision.active
    assert bench.command <= 3.0 + 1.5 * PERIOD_MS / 1000 + STEP


def test_f16_every_command_is_a_bounded_ramp(bench: Bench) -> None:
    for label in ("thirty", "stop", "thirty", "ten", None, "stop", "twenty"):
        bench.run(700, label)
    bench.tick(0)
    bench.tick(-50)
    bench.run(300, "twenty")
    steps = np.diff(bench.commands)
    assert 1.5 * PERIOD_MS / 1000 - 2 * STEP <= steps.max() <= 1.5 * PERIOD_MS / 1000 + STEP
    assert -FALL - STEP <= steps.min() <= -FALL + 2 * STEP


WRAPS_NS = [2**31 * 1000, 2**32 * 1000, 2**32 * 1_000_000, 2**53, 2**62]


@pytest.mark.parametrize("wrap_ns", WRAPS_NS)
def test_f20_no_spurious_trip_where_a_counter_would_wrap(policy: Path, wrap_ns: int) -> None:
    bench = Bench(policy, start_ns=wrap_ns - 1_500_000_000).nominal()
    modes = {bench.run(PERIOD_MS, "twenty").mode for _ in range(100)}
    assert bench.now_ns > wrap_ns
    assert modes == {Mode.NOMINAL}


@pytest.mark.parametrize("wrap_ns", WRAPS_NS)
def test_f20_no_missed_trip_where_a_counter_would_wrap(policy: Path, wrap_ns: int) -> None:
    bench = Bench(policy, start_ns=wrap_ns - 1_050_000_000).nominal()
    bench.run(bound_ms(bench, "STALE_MODEL", silence=True))  # across the wrap
    assert bench.decision.mode == Mode.FALLBACK
    assert slows_down(bench, 500)


@pytest.mark.parametrize("jump_ms", [-3_600_000, -1, 0, 101, 3_600_000, 2**32 / 1000])
def test_f20_a_clock_that_steps_is_a_fault_of_its_own(bench: Bench, jump_ms: float) -> None:
    before = bench.command
    bench.tick(jump_ms)
    assert "TIME_FAULT" in bench.decision.causes
    assert bench.decision.mode == Mode.FALLBACK
    assert before - FALL - STEP <= bench.command < before  # on the same tick, also of no length
    bench.run(2000, "ten")
    assert bench.decision.mode == Mode.NOMINAL  # the new clock is the clock from now on


def test_f20_old_suggestions_stay_old_after_the_clock_ran_back(bench: Bench) -> None:
    bench.say(certain("stop"))
    bench.tick(-1000)
    ages = bench.decision.ages_ms
    assert all(ages[m] > 1e6 for m in MEMBERS)
    bench.run(4000)
    assert bench.decision.evidence["target_speed"]["voters"] == 0
    assert "STALE_MODEL" in bench.decision.causes
    assert bench.command == pytest.approx(5.0)


def test_f20_a_clock_in_microseconds_is_no_clock(bench: Bench) -> None:
    """Every limit would be a thousand times as long: a dead model would drive for minutes."""
    for _ in range(200):
        bench.say(certain("thirty"), late_ms=0.005)
        bench.tick(0.01)  # ms: 10 ms read as 10 us
    assert bench.decision.mode == Mode.FALLBACK and "TIME_FAULT" in bench.decision.causes
    for _ in range(2_000):
        bench.say(certain("thirty"), late_ms=0.005)
        bench.tick(0.01)
    assert bench.decision.mode >= Mode.FALLBACK
    bench.run(2000, "twenty")  # paced as guard.toml says
    assert bench.decision.mode == Mode.NOMINAL


def test_f20_a_clock_that_stands_still_ramps_down(bench: Bench) -> None:
    for _ in range(400):
        bench.say(certain("thirty"))
        bench.tick(0)
    assert bench.decision.mode == Mode.FALLBACK
    assert bench.command == pytest.approx(5.0)


def test_f21_the_worst_of_many_faults_is_kept(bench: Bench) -> None:
    good = bench.guard._parts.shadow._controllers
    bench.guard._parts.shadow._controllers = (("target_speed", lambda *_: float("nan")),)
    for n in range(100):  # everything at once, and the milder ones flap
        bench.signals["speed"] = float("nan") if n % 2 else 20.0
        bench.say(np.full(5, np.nan, np.float32), MEMBERS[: n % 4])
        bench.tick(PERIOD_MS if n % 7 else 101)
    assert bench.decision.mode == Mode.SAFE_STOP
    bench.guard._parts.shadow._controllers = good
    bench.signals["speed"] = 20.0
    bench.run(6000, "thirty")  # every fault is gone; the worst of them latches
    assert bench.decision.mode == Mode.SAFE_STOP
    assert bench.command == 0.0


@pytest.mark.parametrize("period", [2, 3, 4, 5, 7, 10, 16, 33])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.75])
def test_f22_a_flapping_fault_acts_within_its_bound(
    bench: Bench, period: int, share: float
) -> None:
    count = int(period * share) + 1  # ticks of each period: the least that is more than the share
    bound = bounds(bench.guard.config)["DISAGREEMENT"].flapping_ms
    elapsed, changes, last = 0.0, 0, bench.decision.mode
    for n in range(1500):
        votes = ("ten", "stop", "thirty") if n % period < count else ("twenty",) * 3
        for member, label in zip(MEMBERS, votes, strict=True):
            bench.say(certain(label), (member,))
        bench.tick()
        elapsed += PERIOD_MS if bench.decision.mode == Mode.NOMINAL else 0
        changes += bench.decision.mode != last
        last = bench.decision.mode
    assert elapsed <= bound
    assert changes == 1  # went to the rules once and stayed: no chatter
    assert bench.command == pytest.approx(5.0)


def test_f23_a_noticed_fault_always_changes_the_command(bench: Bench) -> None:
    for ms in itertools.count(0, PERIOD_MS):
        bench.run(PERIOD_MS)
        if bench.decision.mode == Mode.FALLBACK:
            break
        assert ms <= bound_ms(bench, "STALE_MODEL", silence=True)
    assert bench.commands[-1] < bench.commands[-2]  # on the very tick
    assert slows_down(bench, 1000)


def test_f26_a_policy_that_is_not_whole_does_not_load(tmp_path: Path) -> None:
    path = write_policy(tmp_path, POLICY.replace("fall = 4.0\n", ""))
    with pytest.raises(ConfigError, match=r"guard\.toml:\d+: channel\.target_speed\.fall: missing"):
        Guard.load(path)


def lost(*_: object) -> float:
    raise RuntimeError("map not loaded")


@pytest.mark.parametrize(
    "rule",
    [lost, lambda *_: float("nan"), lambda *_: float("inf"), lambda *_: None, lambda *_: "5"],
)
def test_f27_a_lost_controller_ends_in_a_controlled_stop(bench: Bench, rule: object) -> None:
    bench.guard._parts.shadow._controllers = (("target_speed", rule),)
    bench.run(bound_ms(bench, "CONTROLLER_LOST"), "twenty")
    assert bench.decision.mode == Mode.SAFE_STOP
    assert bench.decision.operator_request
    before = bench.command
    bench.run(1000, "thirty")
    assert bench.command == pytest.approx(before - 4.0, abs=0.05)
    bench.run(5000, "thirty")
    assert bench.command == 0.0


def test_f27_a_controller_that_does_not_run_is_noticed_before_arming(policy: Path) -> None:
    bench = Bench(policy)
    bench.guard._parts.shadow._controllers = (("target_speed", lost),)
    with pytest.raises(ConfigError, match="map not loaded"):
        bench.guard.arm()
    bench.run(6000, "thirty")
    assert bench.decision.mode == Mode.SAFE_STOP
    assert bench.command == 0.0


@pytest.mark.parametrize("second", [lost, lambda *_: float("nan")])
def test_f27_a_slow_first_run_does_not_hide_what_the_second_does(
    bench: Bench, second: Callable[..., float]
) -> None:
    runs = []

    def builds_first(*given: object) -> float:
        runs.append(given)
        if len(runs) > 1:
            return second(*given)
        time.sleep(0.05)
        return 5.0

    bench.guard._parts.shadow._controllers = (("target_speed", builds_first),)
    with pytest.raises(ConfigError, match="does not run"):
        bench.guard.arm()
    assert len(runs) == 2


def test_f27_a_slow_controller_is_lost(tmp_path: Path) -> None:

    bench = Bench(
        write_policy(tmp_path, POLICY.replace("budget_ms = 10.0", "budget_ms = 0.5"))
    ).nominal()
    bench.guard._parts.shadow._controllers = (
        ("target_speed", lambda *_: time.sleep(0.002) or 5.0),
    )
    bench.run(bound_ms(bench, "CONTROLLER_LOST"), "twenty")
    assert bench.decision.mode == Mode.SAFE_STOP
