# SPDX-License-Identifier: Apache-2.0
"""What an attacker on the wire has recorded of this very session, and a wire that breaks."""

from __future__ import annotations

import math

from tests.firmware_bridge.rig import Rig


def test_a_recorded_speed_is_not_believed(rig: Rig) -> None:
    """One frame of the old ones costs him the sequence; those after it are as old."""
    rig.drive(2.0)
    old: list[bytes] = []
    rig.heard = lambda data: old.append(data) or data
    rig.ticks(30)
    rig.heard = lambda data: data
    rig.ticks(200)
    now, then = rig.speed, rig.host.measured(rig.now_us)
    assert then is not None and now > 4.0
    rig.heard = lambda data: old.pop(0)
    for _ in range(25):
        rig.tick()
        state = rig.host.measured(rig.now_us)
        assert state is None or state.stamp_us == then.stamp_us
    assert rig.host.measured(rig.now_us) is None
    assert rig.decision is not None and "PEER_STOPPED" in rig.decision.causes


def test_after_a_clock_that_was_set_back_nothing_is_recent(rig: Rig) -> None:
    rig.drive(2.0)
    assert rig.host.measured(rig.now_us) is not None
    assert rig.host.measured(rig.now_us - 1_000_000) is None


def test_a_steering_sensor_that_breaks_is_no_angle_of_0(rig: Rig) -> None:
    rig.drive(2.0)
    for steering, speed in ((None, 3.0), (0.1, None)):
        rig.twin.sense(speed, steering)
        rig.host.receive(rig.twin.step(rig.now_us), rig.now_us + 500)
        state = rig.host.measured(rig.now_us + 500)
        assert state is not None
        assert math.isnan(state.steering) == (steering is None)
        assert math.isnan(state.speed) == (speed is None)
        rig.now_us += 10_000
