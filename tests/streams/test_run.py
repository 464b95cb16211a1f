# SPDX-License-Identifier: Apache-2.0
"""What a drive is worth, on drives made up so that every number can be told beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from edgeguard.config import GuardConfig
from edgeguard.decision import CAUSES, Mode
from edgeguard.streams.faults import Blackout, Event, Perturbed
from edgeguard.streams.run import Recorder, Run
from edgeguard.streams.stream import SignStream, Track

EIGHTY, PRIORITY = 5, 12
FRAME = np.zeros((32, 32, 3), np.uint8)


@pytest.fixture
def short() -> SignStream:
    """Three tracks of ten frames, 1 s each; 36 km/h is allowed: 10 m/s."""
    tracks = tuple(Track(PRIORITY, (PRIORITY, i), (FRAME,) * 10) for i in range(3))
    return SignStream(tracks, initial_kmh=36)


def driven(stream: SignStream, policy: GuardConfig, *events: Event, command: float = 9.0) -> Run:
    recorder = Recorder(stream.ticks)
    recorder.command[:] = command
    return Run(stream, events, recorder, policy)


def set_cause(run: Run, name: str, start: int, stop: int, mode: Mode) -> None:
    run.timeline.causes[start:stop] |= 1 << CAUSES.index(name)
    run.timeline.mode[start:stop] = mode


def test_wrong_is_what_the_clean_twin_does_right(short: SignStream, policy: GuardConfig) -> None:
    twin, run = driven(short, policy), driven(short, policy)
    twin.timeline.command[50] = 11.0  # its own mistake
    run.timeline.command[50:52] = 11.0
    run.timeline.command[200] = 10.5
    found = run.beside(twin).wrong_commands
    assert [(w.seconds, w.command) for w in found] == [(0.51, 11.0), (2.0, 10.5)]
    assert found[0].top == pytest.approx(10.0)


def test_without_a_twin_nothing_is_called_wrong(short: SignStream, policy: GuardConfig) -> None:
    run = driven(short, policy, command=20.0)
    assert run.outside.all() and run.wrong_commands == []


def test_times_of_an_event(short: SignStream, policy: GuardConfig) -> None:
    event = Blackout(5).at(seconds=1.0)
    run = driven(short, policy, event).beside(driven(short, policy))
    set_cause(run, "LATE", 20, 120, Mode.DEGRADED)  # acted before: not of this event
    set_cause(run, "IMAGE_UNHEALTHY", 109, 180, Mode.FALLBACK)
    said = run.verdicts[0]
    assert (run.first_cause, run.time_to_safe_ms) == ("IMAGE_UNHEALTHY", 90.0)
    assert (said.away_ms, said.recover_ms) == (710.0, 300.0)


def test_no_safe_command_is_no_time(short: SignStream, policy: GuardConfig) -> None:
    run = driven(short, policy, Blackout(5).at(seconds=1.0)).beside(driven(short, policy))
    run.timeline.command[150:] = 12.0
    assert run.verdicts[0].to_safe_ms is None and run.verdicts[0].wrong == 150
    with pytest.raises(ValueError, match="no safe command"):
        _ = run.time_to_safe_ms


def test_a_vote_that_held_needed_no_time(short: SignStream, policy: GuardConfig) -> None:
    run = driven(short, policy, Perturbed(10).at(seconds=1.0)).beside(driven(short, policy))
    assert run.time_to_safe_ms == 0.0 and run.first_cause is None


def test_a_cause_long_after_an_event_is_not_of_it(short: SignStream, policy: GuardConfig) -> None:
    run = driven(short, policy, Perturbed(5).at(seconds=1.0)).beside(driven(short, policy))
    set_cause(run, "LOW_CERTAINTY", 200, 260, Mode.FALLBACK)
    assert run.time_to_safe_ms == 0.0 and run.first_cause is None
    assert run.verdicts[0].away_ms == 600.0  # yet the time away counts


def test_availability_leaves_out_events_and_their_declared_recovery(
    short: SignStream, policy: GuardConfig
) -> None:
    event = Blackout(5).at(seconds=1.0)
    run = driven(short, policy, event)
    late = 150 + round(event.fault.recovery_ms(policy) / 10)
    set_cause(run, "IMAGE_UNHEALTHY", 109, late, Mode.FALLBACK)
    assert run.availability == 1.0
    run.timeline.mode[late : late + 4] = Mode.FALLBACK  # overrunning the bound counts
    counted = 300 - (late - 100)
    assert run.availability == pytest.approx(1 - 4 / counted)
    assert driven(short, policy).availability == 1.0


def test_safe_stops_are_counted_by_entry(short: SignStream, policy: GuardConfig) -> None:
    run = driven(short, policy)
    run.timeline.mode[10:20] = run.timeline.mode[40:41] = Mode.SAFE_STOP
    assert run.safe_stops == 2
