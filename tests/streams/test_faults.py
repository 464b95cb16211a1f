# SPDX-License-Identifier: Apache-2.0
"""Rows of the fault catalogue on a stream: what reaches the actuator, and how soon.

On each of these the bare model is too fast: `test_without_a_guard` holds that the faults are real.
"""

from __future__ import annotations

import numpy as np
import pytest

from edgeguard.config import bounds
from edgeguard.decision import CAUSES, Mode
from edgeguard.guard import Guard
from edgeguard.streams.bare import Bare
from edgeguard.streams.drive import drive
from edgeguard.streams.faults import (
    Blackout,
    Fault,
    Kill,
    NaNScores,
    NoFrames,
    Nothing,
    Repeat,
    Stopped,
)
from edgeguard.streams.run import Run
from edgeguard.streams.stream import SignStream

pytestmark = pytest.mark.alone

FALL, FLOOR = 4.0, 5.5  # of the shipped policy: m/s2, m/s


def bound_ms(run: Run, cause: str) -> float:
    return bounds(run.config)[cause].constant_ms


def falls_to_the_floor(run: Run, seconds: float) -> bool:
    """From `seconds` on the command falls at its full rate, to the floor of the rules."""
    tick = round(seconds * 100)
    command = run.timeline.command[tick:]
    steps = np.diff(command[: round((command[0] - FLOOR) / FALL * 100) - 2])
    return bool(len(steps) > 50 and np.allclose(steps, -FALL / 100, atol=1e-4))


@pytest.mark.parametrize(
    "freeze", [Repeat(2), Repeat(30), Repeat(30, new_timestamps=True)], ids=str
)
def test_f04_frozen_camera(guard: Guard, down_to_fifty: SignStream, freeze: Repeat) -> None:
    run = drive(guard, down_to_fifty, freeze.at(seconds=3.0))

    assert run.wrong_commands == []
    assert run.first_cause == "FROZEN_INPUT"
    assert run.time_to_safe_ms <= bound_ms(run, "FROZEN_INPUT")
    if freeze.frames == 30:
        assert falls_to_the_floor(run, 3.0 + run.time_to_safe_ms / 1000)


def test_f10_blackout(guard: Guard, down_to_fifty: SignStream) -> None:
    run = drive(guard, down_to_fifty, Blackout(30).at(seconds=3.0))

    assert run.wrong_commands == []
    assert run.first_cause == "IMAGE_UNHEALTHY"
    assert run.time_to_safe_ms <= bound_ms(run, "IMAGE_UNHEALTHY")
    assert falls_to_the_floor(run, 3.0 + run.time_to_safe_ms / 1000)


def test_f05_empty_is_not_clear(guard: Guard, down_to_fifty: SignStream) -> None:
    """The members answer in time, but say nothing, for ever."""
    run = drive(guard, down_to_fifty, Nothing(90).at(seconds=3.0))

    assert run.wrong_commands == []
    assert run.first_cause == "STALE_MODEL"
    assert run.time_to_safe_ms <= bound_ms(run, "STALE_MODEL")
    assert run.timeline.command[-1] == pytest.approx(FLOOR, abs=1e-3)


def test_a_camera_without_frames(guard: Guard, down_to_fifty: SignStream) -> None:
    run = drive(guard, down_to_fifty, NoFrames(30).at(seconds=3.0))

    assert run.wrong_commands == []
    age_ms = run.config.cameras["front"].max_age_ms
    assert run.time_to_safe_ms <= age_ms + bound_ms(run, "FRAME_LOST")


def test_a_fault_of_a_member_mends_no_camera(guard: Guard, down_to_fifty: SignStream) -> None:
    both = (NoFrames(30).at(seconds=3.0), NaNScores(30).at(seconds=3.0))
    run = drive(guard, down_to_fifty, *both)

    assert "FRAME_LOST" in names(run.timeline.causes[350])


def test_f06_nan_scores_cost_one_vote(guard: Guard, down_to_fifty: SignStream) -> None:
    run = drive(guard, down_to_fifty, NaNScores(60).at(seconds=3.0))

    assert run.wrong_commands == []
    assert run.first_cause == "SCORE_INSANE"
    assert run.time_to_safe_ms <= bound_ms(run, "SCORE_INSANE")
    during = run.timeline.voters[310:600]
    assert during.min() == 2 and np.isfinite(run.timeline.command).all()


def test_f01_killed_member_comes_back(apart: Guard, stream: SignStream) -> None:
    """Its vote is gone from the next tick on; restarted and re-admitted, it counts again."""
    keys = (18, 27), (2, 70), (25, 3), (11, 8), (38, 5), (9, 19)
    run = drive(apart, stream.pick(*keys, limit_kmh=60), Kill(member="plain").at(seconds=3.0))

    assert run.wrong_commands == []
    assert run.first_cause == "MEMBER_LOST"
    assert run.time_to_safe_ms <= bound_ms(run, "MEMBER_LOST")
    assert run.timeline.voters[301:320].max() == 2
    assert run.timeline.voters[-1] == 3
    assert "MEMBER_LOST" not in names(run.timeline.causes[-1])


def test_f03_a_stopped_member_is_late_not_wrong(apart: Guard, down_to_fifty: SignStream) -> None:
    """Between SIGSTOP and SIGCONT its answer is due: LATE; it abstains when its last is old."""
    run = drive(apart, down_to_fifty, Stopped(12, member="plain").at(seconds=3.0))

    assert run.wrong_commands == []
    assert run.first_cause == "LATE"
    assert run.time_to_safe_ms <= bound_ms(run, "LATE")
    assert run.timeline.voters[350:410].max() == 2  # never a stale suggestion used as fresh
    assert run.timeline.mode[-1] <= Mode.DEGRADED


@pytest.mark.parametrize(
    "fault", [Repeat(30), Repeat(30, new_timestamps=True), NoFrames(30), NaNScores(60)], ids=repr
)
def test_without_a_guard(bare: Bare, down_to_fifty: SignStream, fault: Fault) -> None:
    """The same faults on the bare model: it is too fast behind the sign."""
    run = drive(bare, down_to_fifty, fault.at(seconds=3.0))

    assert len(run.wrong_commands) > 50
    assert max(wrong.command - wrong.top for wrong in run.wrong_commands) > 2.0


def names(bits: int) -> set[str]:
    return {name for i, name in enumerate(CAUSES) if int(bits) >> i & 1}
