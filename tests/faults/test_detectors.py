# SPDX-License-Identifier: Apache-2.0
"""Associations and the bus at the actuator: what the car is told when two things that belong
together do not, and when the bus is silent."""

from __future__ import annotations

import numpy as np
import pytest

from tests.faults.bench import PERIOD_MS, Bench, certain
from tests.faults.watched import DARK, WHEEL, acting, bench

PEDALS = """
[detector.pedals]
kind = "association"
between = ["throttle", "brake"]
relation = "product"
above = 0.05
"""


RESPONSE = """
[detector.response]
kind = "association"
between = ["speed", "channel.target_speed"]
relation = "difference"
delay_ms = 500
above = 3.0
below = -8.0
"""


JUMP = """
[detector.jump]
kind = "association"
between = ["one", "channel.target_speed"]
relation = "difference"
above = 8.0
"""


SURGE = """
[detector.surge]
kind = "association"
between = ["speed"]
relation = "rate"
delay_ms = 100
above = 15.0
below = -15.0
"""


ON_MS, OFF_MS = 200, 1000  # the default row of ASSOCIATION_BROKEN


def until_fallback(made: Bench, label: str = "twenty", ms: float = 1000) -> float:
    """How long until the rules command, in ms; the models go on saying what they said."""
    for i in range(round(ms / PERIOD_MS)):
        if made.run(PERIOD_MS, label).mode.name != "NOMINAL":
            return (i + 1) * PERIOD_MS
    raise AssertionError(f"still NOMINAL after {ms} ms")


@pytest.mark.parametrize(
    ("detector", "name", "broken"),
    [
        (PEDALS, "pedals", {"brake": 0.6}),
        (WHEEL, "wheel", {"wheel": 12.0}),
        (WHEEL, "wheel", {"wheel": 28.0}),
    ],
)
def test_a_broken_association_hands_over_to_the_rules_and_is_named(
    tmp_path, detector, name, broken
):
    made = bench(tmp_path, detector).nominal()
    before = made.command
    whole = dict(made.signals)
    made.signals |= broken
    assert until_fallback(made) <= ON_MS + 2 * PERIOD_MS
    assert acting(made) == {"ASSOCIATION_BROKEN"}
    assert made.decision.detectors == (name,)
    start = len(made.commands)
    made.run(2000, "thirty")  # the models ask for more, in vain
    told = np.array(made.commands[start:])
    assert (np.diff(told) <= 0).all() and told[-1] < before
    assert (np.diff(told) >= -4.0 * PERIOD_MS / 1000 - 1e-4).all()  # and within the envelope
    made.signals = whole
    made.run(OFF_MS + 3 * PERIOD_MS, "twenty")
    assert made.decision.mode.name == "NOMINAL" and made.decision.detectors == ()


def test_a_car_that_does_not_do_what_it_is_told_is_named(tmp_path):
    made = bench(tmp_path, RESPONSE).nominal()
    for _ in range(300):
        made.signals["speed"] = made.command
        assert made.run(PERIOD_MS, "ten").mode.name == "NOMINAL"
    stuck = made.signals["speed"]
    made.run(6000, "stop")  # the command goes down, the car does not
    assert made.decision.detectors == ("response",) and acting(made) == {"ASSOCIATION_BROKEN"}
    assert made.command < stuck - 3.0
    for _ in range(400):
        made.signals["speed"] = made.command
        made.run(PERIOD_MS, "stop")
    assert made.decision.mode.name == "NOMINAL"


def test_a_whole_association_never_trips(tmp_path):
    made = bench(tmp_path, PEDALS, WHEEL, RESPONSE, JUMP, SURGE).nominal()
    for i in range(300):
        made.signals |= {"wheel": 20.0 + 0.9 * np.sin(i / 3), "throttle": (i % 10) / 10}
        assert made.run(PERIOD_MS, "twenty").mode.name == "NOMINAL", made.decision.detectors


def test_a_limit_far_above_the_one_in_force_is_not_followed(tmp_path):
    made = bench(tmp_path, JUMP).nominal()
    made.run(3000, "ten")
    assert made.command == pytest.approx(10.0, abs=0.01)
    below = made.command
    assert until_fallback(made, "thirty") <= ON_MS + 8 * PERIOD_MS  # the next frame comes first
    assert made.decision.detectors == ("jump",)
    made.run(3000, "thirty")
    assert made.command <= below + 1.5 * 0.3  # the ramp of the debounce, no more


def test_a_speed_that_jumps_is_named(tmp_path):
    made = bench(tmp_path, SURGE).nominal()
    for i in range(40):
        made.signals["speed"] = 20.0 + 0.3 * i  # 30 m/s2
        made.run(PERIOD_MS, "twenty")
    assert "surge" in made.decision.detectors
    assert made.decision.mode.name == "FALLBACK"


def test_an_operand_that_is_gone_breaks_it_too(tmp_path):
    made = bench(tmp_path, PEDALS).nominal()
    del made.signals["brake"]
    made.run(30, "twenty")
    assert set(made.decision.present) == {"INPUT_INVALID", "ASSOCIATION_BROKEN"}
    made.run(100, "twenty")
    assert made.decision.mode.name == "SAFE_STOP" and "INPUT_INVALID" in made.decision.causes


def test_after_a_jump_of_the_clock_the_past_is_forgotten(tmp_path):
    made = bench(tmp_path, RESPONSE).nominal()
    made.tick(-1000)
    assert "TIME_FAULT" in made.decision.present
    made.run(400, "twenty")
    assert "ASSOCIATION_BROKEN" not in made.decision.present


BUS = """
[detector.strangers]
kind = "bus"
feature = "unknown"
above = 0.5
max_age_ms = 100
"""


def test_a_bus_that_nobody_reads_is_not_trusted(tmp_path):
    made = bench(tmp_path, BUS)
    made.guard.arm()
    made.run(500, "twenty")
    assert made.decision.causes[-1] == "BUS_INTRUSION" and made.decision.operator_request
    for _ in range(650):
        made.guard.bus({"unknown": 0.0}, made.now_ns)
        made.run(PERIOD_MS, "twenty")
    assert made.decision.mode.name == "NOMINAL"
    made.guard.bus({"unknown": 1.0}, made.now_ns)
    made.tick()
    assert (made.decision.mode.name, made.decision.detectors) == ("FALLBACK", ("strangers",))


def test_an_association_with_a_delay_still_speaks_when_decided_twice_as_often(tmp_path):
    late = WHEEL.replace('relation = "difference"', 'relation = "difference"\ndelay_ms = 2550')
    made = bench(tmp_path, late).nominal()
    for _ in range(600):
        if made.ticks % 6 == 0:
            made.say(certain("twenty"))
        made.tick(PERIOD_MS / 2)
    assert made.decision.mode.name == "NOMINAL"
    made.signals["speed"] = 25.0
    for _ in range(60):
        made.tick(PERIOD_MS / 2)
    assert "ASSOCIATION_BROKEN" in made.decision.causes


def shown(made: Bench, grey: int, ms: float) -> set[str]:
    """What is present after frames of this grey level and a little noise, ten a second."""
    for index in range(round(ms / 100)):
        noise = np.random.default_rng(index).integers(0, 4, (48, 64, 3), np.uint8)
        made.guard.observe("front", noise + np.uint8(grey), made.now_ns)
        made.run(100, "twenty")
    return set(made.decision.present)


def test_a_number_that_a_newer_one_replaces_counts_for_the_risk(tmp_path):
    """A camera that is faster than the decisions hides nothing from what watches over time."""
    made = bench(tmp_path, DARK)
    made.guard.arm()
    for grey in (0, 100):
        made.guard.observe("front", np.full((48, 64, 3), grey, np.uint8), made.now_ns)
    made.tick()
    assert made.guard._core.extremes()[0] == (0, 100 * 65536), "the means of both frames"


def test_an_image_detector_watches_a_camera_whose_members_are_all_external(tmp_path):
    made = bench(tmp_path, DARK)
    made.guard.arm()
    assert "IMAGE_UNHEALTHY" not in shown(made, 100, 1500)
    assert made.decision.mode.name == "NOMINAL"
    assert "IMAGE_UNHEALTHY" in shown(made, 0, 500)
    assert made.decision.mode.name == "FALLBACK"
