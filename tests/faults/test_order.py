# SPDX-License-Identifier: Apache-2.0
"""Results and frames that come late, or after newer ones, at the actuator: what the core does not
take, takes nothing back either."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.faults.bench import MEMBERS, POLICY, Bench, certain, write_policy
from tests.faults.watched import DARK

FAST = POLICY.replace("rise = 1.5", "rise = 1000.0").replace("fall = 4.0", "fall = 1000.0")

CLOSE = """
[detector.{name}]
kind = "score"
member = "{name}"
feature = "margin"
cause = "OUT_OF_DISTRIBUTION"
above = 0.999
"""
"""A stand-in for what tells a strange picture: here whoever is too sure."""

CHANGES = """
[detector.changes]
kind = "history"
member = "one"
feature = "changes"
above = 3
"""

STRANGE, USUAL = certain("thirty", 1.0), certain("twenty", 0.99)
MS = 1_000_000


@pytest.fixture
def wary(tmp_path: Path) -> Bench:
    """In NOMINAL at 20 m/s; each member's detector is content."""
    policy = FAST + "".join(CLOSE.format(name=name) for name in MEMBERS)
    made = Bench(write_policy(tmp_path, policy))
    made.guard.arm()
    made.run(1000, "twenty", 0.99)
    assert made.decision.mode.name == "NOMINAL" and made.command == 20.0
    return made


def say_at(made: Bench, scores: np.ndarray | None, captured_ns: int, took_ms: float = 5.0) -> None:
    for member in MEMBERS:
        made.guard.suggest(member, scores, captured_ns, captured_ns + int(took_ms * MS))


@pytest.mark.parametrize(
    ("captured_ms", "took_ms"), [(2.0, 60.0), (-30.0, 5.0)], ids=["late", "older"]
)
def test_a_result_that_is_refused_does_not_vouch_for_the_one_that_counts(
    wary, captured_ms, took_ms
):
    strange_ns = wary.now_ns
    say_at(wary, STRANGE, strange_ns)
    wary.tick()
    assert wary.command == 20.0 and "OUT_OF_DISTRIBUTION" in wary.decision.present
    say_at(wary, USUAL, strange_ns + int(captured_ms * MS), took_ms)
    for _ in range(5):
        wary.tick()
        assert wary.command == 20.0, "what a detector rejected was commanded"
    say_at(wary, USUAL, wary.now_ns)  # of another picture, and in time
    wary.tick()
    assert "OUT_OF_DISTRIBUTION" not in wary.decision.present and wary.command == 20.0


def test_nor_does_it_count_in_the_history(tmp_path):
    made = Bench(write_policy(tmp_path, FAST + CHANGES)).nominal()
    for took_ms, trips in ((60.0, False), (5.0, True)):
        for k in range(12):
            say_at(made, certain("ten" if k % 2 else "twenty"), made.now_ns, took_ms)
            made.tick()
        assert ("OUT_OF_DISTRIBUTION" in made.decision.present) == trips


@pytest.mark.parametrize("first", [USUAL, None], ids=["usual", "empty"])
def test_a_late_result_behind_one_in_time_does_not_bring_back_what_that_replaced(wary, first):
    say_at(wary, STRANGE, wary.now_ns)
    wary.tick()
    assert wary.command == 20.0 and "OUT_OF_DISTRIBUTION" in wary.decision.present
    say_at(wary, first, wary.now_ns)
    say_at(wary, USUAL, wary.now_ns + 2 * MS, took_ms=60.0)
    for _ in range(5):
        wary.tick()
        assert wary.command <= 20.0, "what a detector rejected was commanded"
    assert wary.decision.evidence["target_speed"]["voters"] == (0 if first is None else 3)


def test_a_member_that_is_late_for_good_leaves_the_others_the_vehicle(tmp_path):
    """The number of an answer that counts no more is nobody's."""
    two = FAST.replace("quorum = 3", "quorum = 2")
    policy = two + "".join(CLOSE.format(name=name) for name in MEMBERS)
    made = Bench(write_policy(tmp_path, policy))
    made.guard.arm()
    made.run(1000, "twenty", 0.99)
    made.say(STRANGE, MEMBERS[:1])
    made.tick()
    assert "OUT_OF_DISTRIBUTION" in made.decision.present
    for k in range(400):
        if k % 3 == 0:
            made.say(certain("twenty", 0.99), MEMBERS[1:])
            made.say(certain("twenty", 0.99), MEMBERS[:1], late_ms=60.0)
        made.tick()
    assert "OUT_OF_DISTRIBUTION" not in made.decision.causes and made.command == 20.0


def test_an_older_result_behind_a_newer_one_does_not_erase_it(tmp_path):
    made = Bench(write_policy(tmp_path, FAST)).nominal()
    for _ in range(3):
        made.now_ns += 10 * MS
        captured_ns = made.now_ns
        say_at(made, certain("stop"), captured_ns)
        say_at(made, certain("twenty"), captured_ns - 30 * MS)
        made.tick()
    assert made.command == 0.0


def test_a_result_from_the_future_outdates_nothing_for_long(wary):
    say_at(wary, STRANGE, wary.now_ns + 3_600_000 * MS)
    wary.tick()
    assert wary.command < 20.0 and "SCORE_INSANE" in wary.decision.causes
    wary.run(3000, "twenty", 0.99)
    assert wary.command == 20.0 and not wary.decision.present


def looking(tmp_path: Path) -> Bench:
    """Members that look through a camera, 60 ms behind it."""
    policy = FAST + DARK.replace("rate_hz = 10", "rate_hz = 20")
    path = write_policy(tmp_path, policy)
    text = path.read_text().replace(
        'runtime = "external"', 'runtime = "external"\ncamera = "front"'
    )
    text = text.replace("deadline_ms = 25", "deadline_ms = 100")
    path.write_text(text.replace("max_age_ms = 100", "max_age_ms = 200"))
    return Bench(path)


def picture(bright: bool, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 9, (24, 32, 3), np.uint8)
    return noise + np.uint8(100 if bright else 0)


def see(made: Bench, frames: int, dark: int | None = None, behind_ms: float = 60.0) -> list[float]:
    """So many frames, 50 ms each, and the commands; all say twenty, of the dark one thirty."""
    commands, waiting = [], []
    for k in range(frames):
        made.guard.observe("front", picture(k != dark, made.ticks), made.now_ns)
        waiting.append((made.now_ns, certain("thirty" if k == dark else "twenty")))
        for _ in range(5):
            made.tick()
            commands.append(made.command)
            while waiting and made.now_ns >= waiting[0][0] + behind_ms * MS:
                captured_ns, scores = waiting.pop(0)
                say_at(made, scores, captured_ns, behind_ms)
    return commands


def test_an_answer_about_a_picture_that_was_not_to_be_trusted_is_not_however_good_the_next_is(
    tmp_path,
):
    made = looking(tmp_path)
    made.guard.arm()
    see(made, 30)
    assert made.decision.mode.name == "NOMINAL" and made.command == 20.0
    assert set(see(made, 12, dark=4)) == {20.0}
    assert made.decision.mode.name == "NOMINAL" and not made.decision.present


def test_a_frame_that_comes_after_a_newer_one_does_not_make_the_camera_healthy(tmp_path):
    made = looking(tmp_path)
    made.guard.arm()
    see(made, 30)
    made.guard.observe("front", picture(False, 1), made.now_ns)
    made.tick()
    made.guard.observe("front", picture(True, 2), made.now_ns - 20 * MS)
    made.tick()
    assert "IMAGE_UNHEALTHY" in made.decision.present
    made.guard.observe("front", picture(True, 3), made.now_ns)
    made.tick()
    assert "IMAGE_UNHEALTHY" not in made.decision.present


def test_what_was_wrong_with_a_picture_is_not_forgotten_before_its_answer(tmp_path):
    """There are more bad ones than are remembered one by one."""
    made = looking(tmp_path)
    text = (tmp_path / "guard.toml").read_text()
    slow = "\n[cause.IMAGE_UNHEALTHY]\non_ms = 2000\noff_ms = 2000\n"
    text = text.replace("deadline_ms = 100", "deadline_ms = 1000")
    text = text.replace("max_age_ms = 200", "max_age_ms = 2000")
    (tmp_path / "guard.toml").write_text(text + slow)
    made = Bench(tmp_path / "guard.toml")
    made.guard.arm()
    see(made, 30)
    assert made.command == 20.0
    first_ns = made.now_ns
    for k in range(70):
        made.guard.observe("front", picture(False, k), made.now_ns)
        made.tick()
    made.guard.observe("front", picture(True, 99), made.now_ns)
    say_at(made, certain("thirty"), first_ns, (made.now_ns - first_ns) / MS)
    for _ in range(5):
        made.tick()
        assert made.command <= 20.0
    made.now_ns -= 3_600_000 * MS  # a clock that runs back takes that with it
    see(made, 120)
    assert made.command == 20.0 and not made.decision.present
