# SPDX-License-Identifier: Apache-2.0
"""Host and firmware on one clock: what reaches the actuator, whatever happens between them."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest

from firmware_bridge.host import Phase
from firmware_bridge.keys import Keys
from firmware_bridge.links import Unit
from firmware_bridge.native import causes_of, lib
from tests.firmware_bridge.rig import KEYS, PERIOD_US, Rig, one_to_one

STEP = 4.0 * 0.01  # of the stop, m/s a period: UN R157


def test_it_stands_still_until_it_is_armed(rig: Rig) -> None:
    rig.ticks(50)
    assert rig.twin.mode == "SAFE_STOP"
    assert "NOT_ARMED" in rig.twin.causes
    assert rig.twin.actuator == (0.0, 0.0)
    assert rig.twin.actuations >= 50  # it commands the stop, on every turn
    assert rig.host.boot is not None
    assert rig.host.boot.reason == "POWER"
    assert rig.host.boot.self_test == 0
    assert rig.decision is not None
    assert "PEER_STOPPED" in rig.decision.causes


def test_armed_it_gives_the_actuator_what_the_host_commands(rig: Rig) -> None:
    rig.drive(3.0)
    assert rig.decision is not None
    assert rig.twin.actuator_q16[0] == rig.decision.command_q16[0]
    assert rig.host.state is not None
    assert rig.host.state.speed == pytest.approx(rig.speed, abs=0.1)
    assert rig.twin.answers["answered"] > 200
    assert rig.twin.answers["mistaken"] == rig.twin.answers["early"] == 0
    assert rig.twin.counts["accepted"] > 600
    assert sum(n for name, n in rig.twin.counts.items() if name != "accepted") == 0


def test_a_cut_link_ramps_to_a_stop_within_50_ms(rig: Rig) -> None:
    rig.drive(4.0)
    last = rig.twin.actuator[0]
    rig.alive = False
    commands = []
    for _ in range(300):
        rig.tick()
        commands.append(rig.twin.actuator[0])
    begins = next(i for i, c in enumerate(commands) if c < last)
    assert (begins + 1) * 10 <= 50
    steps = [a - b for a, b in zip(commands[begins:], commands[begins + 1 :], strict=False)]
    assert all(0 <= step <= STEP + 1e-4 for step in steps)
    assert commands[-1] == 0.0
    assert "LINK_LOST" in rig.twin.causes
    strokes = rig.twin.strokes
    rig.ticks(10)
    assert rig.twin.strokes == strokes + 10  # a lost host is no reason to reset


def test_after_a_cut_the_host_hears_at_once_what_is_measured(rig: Rig) -> None:
    """Both ends leave the session when the link is lost: the speed is known without arming."""
    rig.drive(2.0)
    rig.down = False
    rig.up = lambda units: []
    rig.ticks(6)
    assert rig.decision is not None
    assert "LINK_LOST" in rig.decision.causes
    assert rig.host.measured(rig.now_us) is None
    rig.down, rig.up = True, one_to_one
    rig.ticks(2)
    assert rig.host.phase is Phase.IDLE
    heard = rig.host.measured(rig.now_us)
    assert heard is not None
    assert heard.speed == pytest.approx(rig.speed, abs=0.1)
    assert heard.mode == "SAFE_STOP"


def test_the_stop_is_latched_until_a_person_agrees_again(rig: Rig) -> None:
    rig.drive(3.0)
    rig.alive = False
    rig.ticks(20)
    rig.alive = True
    rig.ticks(100)
    assert rig.twin.mode == "SAFE_STOP"
    rig.ticks(300)
    assert rig.twin.actuator[0] == 0.0
    rig.speed = 0.0
    rig.arm()
    assert rig.host.phase is Phase.ARMED
    rig.ticks(200)
    assert rig.twin.mode == "NOMINAL"
    assert rig.twin.actuator[0] > 1.0


def test_a_moving_vehicle_is_not_armed(rig: Rig) -> None:
    rig.speed = 3.0
    rig.twin.sense(3.0)
    rig.arm()
    assert rig.host.phase is Phase.REFUSED
    assert rig.host.result == "MOVING"
    assert rig.twin.mode == "SAFE_STOP"


def test_the_wrong_operator_is_refused(tmp_path: Path) -> None:
    rig = Rig(tmp_path, host_keys=Keys(KEYS.link, bytes(16)))
    rig.arm()
    assert rig.host.result == "TOKEN"
    assert rig.host.refusal is not None
    assert "operator key" in rig.host.refusal
    assert rig.twin.mode == "SAFE_STOP"


def test_another_link_key_is_not_even_heard(tmp_path: Path) -> None:
    rig = Rig(tmp_path, host_keys=Keys(bytes(16), KEYS.operator))
    rig.arm()
    assert rig.host.phase is Phase.GREETING
    assert rig.twin.counts["forged"] > 0
    assert rig.twin.counts["accepted"] == 0
    assert rig.host.counts["forged"] > 0


@pytest.mark.parametrize("change", ["limit", "order"])
def test_another_table_is_refused(tmp_path: Path, change: str) -> None:
    """F26: the microcontroller was built from another guard.toml."""
    own = Rig(tmp_path).table
    other = deepcopy(own)
    if change == "limit":
        other["policy"]["channels"][0]["rows"][0]["rise"] += 1
    else:
        other["host_channel"] = [1]
    rig = Rig(tmp_path, mcu=other)
    rig.arm()
    assert rig.host.result == "POLICY"
    assert rig.host.agrees is False
    assert rig.twin.mode == "SAFE_STOP"


def test_three_armings_a_minute(rig: Rig) -> None:
    for _ in range(3):
        rig.arm()
        assert rig.host.phase is Phase.ARMED
        rig.alive = False
        rig.ticks(10)
        rig.alive = True
    rig.arm()
    assert rig.host.result == "TOO_OFTEN"


def test_an_old_command_is_not_used(rig: Rig) -> None:
    """F12: everything of the host arrives two periods later."""
    rig.drive(2.0)
    held: list[list[Unit]] = []

    def late(units: list[Unit]) -> list[Unit]:
        held.extend([units] if units else [])
        return held.pop(0) if units and len(held) > 2 else []

    rig.up = late
    commanded = rig.twin.actuator[0]
    rig.label = "thirty"
    rig.ticks(60)
    assert rig.twin.counts["stale"] > 0
    assert rig.twin.mode == "SAFE_STOP"
    assert rig.twin.actuator[0] < commanded


def test_a_replayed_command_moves_nothing(rig: Rig) -> None:
    rig.drive(2.0)
    kept: list[Unit] = []

    def again(units: list[Unit]) -> list[Unit]:
        kept.extend(units)
        return kept[:1] * 2 + units

    rig.up = again
    commanded = rig.twin.actuator[0]
    rig.ticks(30)
    assert rig.twin.counts["repeated"] + rig.twin.counts["reordered"] > 0
    assert rig.twin.actuator[0] < commanded + 30 * 1.5 * 0.01 + 1e-3


def test_a_reset_while_driving_stops_and_is_told(rig: Rig) -> None:
    """F18."""
    rig.drive(3.0)
    before = rig.twin.actuator[0]
    rig.twin.reset()
    rig.tick()
    assert rig.twin.mode == "SAFE_STOP"
    assert before - STEP - 1e-3 <= rig.twin.actuator[0] <= before  # no jump either
    rig.ticks(60)
    assert rig.host.phase is Phase.IDLE
    assert rig.host.boot is not None
    assert rig.host.boot.resets == 1
    assert rig.decision is not None
    assert "PEER_STOPPED" in rig.decision.causes


def test_a_host_in_safe_stop_is_believed(rig: Rig) -> None:
    rig.drive(3.0)
    rig.guard.note(1 << lib.EG_SELF_TEST)
    rig.ticks(2)
    assert rig.decision is not None
    assert rig.decision.mode.name == "SAFE_STOP"
    assert rig.twin.mode == "SAFE_STOP"
    assert "PEER_STOPPED" in rig.twin.causes


def test_a_host_that_skips_its_checks_is_found(rig: Rig) -> None:
    """F19: the loop runs, commands and answers, but the answer is of another tick."""
    rig.drive(2.0)
    last: list[Unit] = []

    def replay(units: list[Unit]) -> list[Unit]:
        fresh = [u for u in units if u.kind != lib.EG_MSG_ANSWER]
        last[:] = last or [u for u in units if u.kind == lib.EG_MSG_ANSWER]
        return fresh + last

    rig.up = replay
    rig.ticks(8)
    assert rig.twin.mode == "SAFE_STOP"
    assert {"ANSWER_WRONG", "LINK_FAULTY"} & set(rig.twin.causes)


def test_a_flipped_bit_in_flash_ends_the_strokes(rig: Rig) -> None:
    rig.drive(2.0)
    rig.twin.flip("config", 8 * 40)
    rig.ticks(3)
    strokes = rig.twin.strokes
    assert rig.twin.failed
    assert rig.twin.mode == "SAFE_STOP"
    rig.ticks(30)
    assert rig.twin.strokes == strokes


def test_a_sensor_that_failed_stops(rig: Rig) -> None:
    rig.drive(2.0)
    for _ in range(12):
        rig.tick()
        rig.twin.sense(None)
        rig.twin.step(rig.now_us - 1)
    assert rig.twin.mode == "SAFE_STOP"


def test_the_clock_may_wrap(rig: Rig) -> None:
    """F20: 2^32 microseconds pass while it drives."""
    rig.now_us = 2**32 - 2_000_000
    rig.twin.power_cycle(rig.now_us)
    rig.drive(1.5)
    rig.ticks(300)
    assert rig.twin.mode == "NOMINAL"
    assert rig.now_us > 2**32


@pytest.mark.parametrize("before_tick_us", [50, 190, 900])
def test_a_question_that_comes_just_before_a_tick_is_answered_in_the_next(
    rig: Rig, before_tick_us: int
) -> None:
    """Each may come less than the time before a tick that no answer may undercut, and so does the
    same one when it is asked again: it is as old as it was."""
    rig.drive(1.0)
    rig.down_us = 5_000 - before_tick_us
    answered = rig.twin.answers["answered"]
    rig.ticks(200)
    assert rig.twin.mode == "NOMINAL", rig.twin.causes
    assert rig.twin.answers["answered"] >= answered + 60
    assert rig.twin.answers["early"] == 0


def test_time_that_passed_is_not_counted_twice(rig: Rig) -> None:
    """A thread that waited for the lock comes with a time that another one has passed."""
    rig.drive(1.0)
    host, last_us = rig.host, rig.host.state_us
    for passed_us in range(1000, lib.EG_LINK_TIMEOUT_US, 1000):
        lost = "LINK_LOST" in causes_of(host.age(last_us + passed_us))
        assert not lost, passed_us
        host.receive(b"\x01", last_us + passed_us - 900)
    assert "LINK_LOST" in causes_of(host.age(last_us + lib.EG_LINK_TIMEOUT_US))


def test_a_question_that_was_answered_is_as_old_as_it_was(rig: Rig) -> None:
    """The answer was lost, and the question comes again just before a tick."""
    rig.drive(1.0)
    rig.down_us = 5_000 - 300  # time enough to be answered in the next tick
    rig.up = lambda units: [u for u in units if u.kind != lib.EG_MSG_ANSWER]
    rig.ticks(2)
    rig.down_us = 5_000 - 100
    rig._decide()
    rig._turn(rig.now_us + PERIOD_US // 2)
    assert rig.host.question(rig.now_us + PERIOD_US) != 0


def test_two_lost_answers_stop_nothing_whenever_the_question_comes(rig: Rig) -> None:
    """Each was answered, the answer is lost, and the question comes again just before a tick."""
    rig.drive(1.0)
    for before_tick_us in (50, 150, 300, 4000):
        rig.down_us = 5_000 - before_tick_us
        for _ in range(8):
            rig.ticks(10)
            rig.up = lambda units: [u for u in units if u.kind != lib.EG_MSG_ANSWER]
            rig.ticks(2)
            rig.up = one_to_one
    assert rig.twin.mode == "NOMINAL", rig.twin.causes
