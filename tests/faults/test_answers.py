# SPDX-License-Identifier: Apache-2.0
"""What a member says over time, and what its activations look like: what the car is told when its
answers waver, when it is asked the same again and again, and when a class looks like another."""

from __future__ import annotations

import os
import signal
import sys
import threading

import numpy as np
import pytest

from edgeguard import Guard, config
from edgeguard.errors import ConfigError
from edgeguard.evidence import embedding
from edgeguard.streams.stream import load
from edgeguard.zoo import models_dir
from tests.faults.bench import COMPACT, MEMBERS, PERIOD_MS, POLICY, Bench, certain, write_policy
from tests.faults.test_embeddings import CAMERA, camera_policy, drive, known  # noqa: F401
from tests.faults.watched import acting, bench

WAVERS = """
[detector.wavers]
kind = "history"
member = "one"
feature = "changes"
above = 3
"""
LOOKS = (
    COMPACT
    + """
[detector.again]
kind = "history"
member = "compact"
feature = "{feature}"
above = {above}
"""
)


def say(made: Bench, one: str) -> None:
    """All members say "twenty" but the first, which says this."""
    made.say(certain("twenty"), ("two", "three"))
    made.say(certain(one), ("one",))


def waver(made: Bench, labels: tuple[str, ...], ms: float) -> list[str]:
    """The first member says these labels in turn, one every third tick; the modes of all ticks."""
    modes = []
    for i in range(round(ms / PERIOD_MS)):
        if i % 3 == 0:
            say(made, labels[i // 3 % len(labels)])
        modes.append(made.tick().mode.name)
    return modes


def test_answers_that_waver_hand_over_to_the_rules(tmp_path):
    made = bench(tmp_path, WAVERS).nominal()
    modes = waver(made, ("twenty", "ten"), 600)
    assert acting(made) == {"OUT_OF_DISTRIBUTION"} and made.decision.detectors == ("wavers",)
    # the fourth change is the answer of tick 9; then the debounce of 100 ms and two periods
    assert modes[12 * 3] == "FALLBACK" and modes[0] == "NOMINAL"
    waver(made, ("twenty",), 2500)
    assert made.decision.mode.name == "NOMINAL"


def test_a_sign_that_follows_another_is_no_wavering(tmp_path):
    made = bench(tmp_path, WAVERS).nominal()
    for label in ("ten", "twenty", "ten"):
        assert set(waver(made, (label,), 500)) == {"NOMINAL"}


def test_of_a_member_that_fell_silent_nothing_is_said(tmp_path):
    made = bench(tmp_path, WAVERS).nominal()
    waver(made, ("twenty", "ten"), 600)
    for i in range(60):  # "one" says no more
        if i % 3 == 0:
            made.say(certain("twenty"), ("two", "three"))
        made.tick()
    assert "OUT_OF_DISTRIBUTION" not in made.decision.present
    assert "MEMBER_LOST" in made.decision.present


@pytest.mark.parametrize("t_ns", [None, "now", 2**70, np.int64(5)])
def test_a_stamp_that_is_none_raises_nothing(tmp_path, t_ns):
    made = bench(tmp_path, WAVERS).nominal()
    made.guard.suggest("one", certain("ten"), t_ns, made.now_ns)
    assert made.guard.decide(made.signals, t_ns).command


def test_scores_that_cannot_be_read_are_a_change_of_mind(tmp_path):
    made = bench(tmp_path, WAVERS).nominal()
    for scores in (np.full(5, np.nan, np.float32), certain("twenty")) * 3:
        made.say(scores, ("one",))
        made.say(certain("twenty"), ("two", "three"))
        for _ in range(3):
            made.tick()
    assert "OUT_OF_DISTRIBUTION" in made.decision.present


def wavering(made: Bench, beside) -> list[float]:
    """All members call each frame something else; `beside` follows. The commands of it all."""
    first = len(made.commands)
    for n in range(40):
        made.say(certain(("ten", "thirty")[n % 2]))
        beside(n)
        for _ in range(3):
            made.tick()
    return made.commands[first:]


ALL_WAVER = "".join(
    WAVERS.replace("wavers", f"wavers_{name}").replace('"one"', f'"{name}"') for name in MEMBERS
)
NIMBLE = POLICY.replace("rise = 1.5", "rise = 1000.0").replace("fall = 4.0", "fall = 1000.0")
SECOND_NS = 10**9


@pytest.mark.parametrize(
    "away_ns", [None, -20_000_000, -150_000_000, -5 * SECOND_NS, 11_000_000, 3600 * SECOND_NS]
)
@pytest.mark.parametrize("first", [False, True], ids=["behind each", "before each"])
def test_answers_that_the_core_refuses_switch_no_detector_off(tmp_path, away_ns, first):
    """Of an older frame, or of one that has not come: said beside each answer that counts."""
    made = Bench(write_policy(tmp_path, NIMBLE + ALL_WAVER)).nominal()

    def refused(n: int) -> None:
        if not first:
            made.tick()  # a decision takes the fresh ones
        if away_ns is not None:
            for member in MEMBERS:
                captured = made.now_ns + away_ns
                made.guard.suggest(member, certain("twenty"), captured, captured + 10**7)
        if first:
            made.tick()
            made.say(certain(("ten", "thirty")[n % 2]))

    commands = wavering(made, refused)
    assert made.decision.mode.name == "FALLBACK"
    assert set(made.decision.detectors) == {f"wavers_{name}" for name in MEMBERS}
    assert max(commands[40:]) <= 10.0  # what is misread moves nothing any more


@pytest.mark.parametrize("back_ns", [SECOND_NS, 3600 * SECOND_NS])
def test_a_clock_that_ran_back_silences_no_detector(tmp_path, back_ns):
    made = Bench(write_policy(tmp_path, NIMBLE + ALL_WAVER), start_ns=10**13).nominal()
    made.now_ns -= back_ns
    commands = wavering(made, lambda n: None)
    assert made.decision.mode.name == "FALLBACK"
    assert "OUT_OF_DISTRIBUTION" in made.decision.causes
    assert max(commands[40:]) <= 10.0
    made.run(4000, "twenty")
    assert made.decision.mode.name == "NOMINAL" and made.command == 20.0


def test_an_older_answer_replaces_no_number_that_trips(tmp_path, known):  # noqa: F811
    """Of the picture before: the core does not look at it, and what it held goes on to count."""
    scenes, *_ = known
    more = LOOKS.format(isolation="none", feature="echoes", above=2)
    other = np.random.default_rng(4).integers(0, 256, scenes[0].shape, dtype=np.uint8)
    with Guard.load(camera_policy(tmp_path, {}, more)) as guard:
        guard.arm()
        assert drive(guard, [scenes[0]] * 4)[-1].detectors == ("again",)
        last = 10**9 + 3 * 10**8
        guard.observe("front", other, last - 10**7)
        said = guard.decide({"speed": 20.0}, last + 10**8)
    assert said.detectors == ("again",)


@pytest.mark.parametrize("isolation", ["none", "process"])
def test_a_class_that_looks_like_another_hands_over_to_the_rules(
    tmp_path, known, isolation  # noqa: F811
):  # fmt: skip
    """The boxes are those of other labels: whatever the model says, it does not look like that."""
    _, near, raw, scores, _, card = known
    x = embedding.real(raw, card.embedding)
    said = scores.argmax(1)
    names = np.unique(said)
    following = dict(zip(names, np.roll(names, 1), strict=True))
    modes = {}
    for name, labels in (("own", said), ("other", np.array([following[s] for s in said]))):
        folder = tmp_path / name
        folder.mkdir()
        fit = embedding.fit("boxes", x, labels, np.ones(len(x)))
        more = CAMERA.format(isolation=isolation, feature="boxes", above=1.0)
        with Guard.load(camera_policy(folder, {("compact", "boxes"): fit}, more)) as guard:
            guard.arm()
            modes[name] = drive(guard, near[:20])
    assert "OUT_OF_DISTRIBUTION" not in modes["own"][-1].present
    assert "OUT_OF_DISTRIBUTION" in modes["other"][-1].causes
    assert modes["other"][-1].detectors == ("strange",)
    assert modes["other"][-1].mode.name == "FALLBACK"


@pytest.mark.parametrize("isolation", ["none", "process"])
def test_whoever_asks_the_same_again_and_again_is_noticed(
    tmp_path, known, isolation  # noqa: F811
):  # fmt: skip
    scenes, *_ = known
    more = LOOKS.format(isolation=isolation, feature="echoes", above=15)
    path = camera_policy(tmp_path, {}, more)
    rng = np.random.default_rng(4)
    others = rng.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    with Guard.load(path) as guard:
        guard.arm()
        assert "OUT_OF_DISTRIBUTION" not in drive(guard, others)[-1].present
        searching = np.clip(scenes[0] + rng.integers(-3, 4, (20, *scenes[0].shape)), 0, 255)
        seen = drive(guard, searching.astype(np.uint8), start=20)
    assert seen[-1].detectors == ("again",) and seen[-1].mode.name == "FALLBACK"


def test_a_worker_that_answers_slowly_is_asked_the_same_as_well(tmp_path, known):  # noqa: F811
    """Twenty frames come while it is busy: they are not what it answers."""
    scenes, *_ = known
    more = LOOKS.format(isolation="process", feature="echoes", above=5)
    with Guard.load(camera_policy(tmp_path, {}, more)) as guard:
        guard.arm()
        for i in range(10):
            now = 10**9 + i * 10**8
            os.kill(guard.members["compact"].pid, signal.SIGSTOP)
            for k in range(20):
                guard.observe("front", scenes[0], now + k * 10**6)
            os.kill(guard.members["compact"].pid, signal.SIGCONT)
            guard.wait(2.0)
            seen = guard.decide({"speed": 20.0}, now + 3 * 10**7)
    assert seen.detectors == ("again",)


def test_one_thread_asks_while_another_hears(tmp_path, known):  # noqa: F811
    """Nothing of the one may raise in the other, which decides."""
    scenes, *_ = known
    more = LOOKS.format(isolation="none", feature="echoes", above=5)
    with Guard.load(camera_policy(tmp_path, {}, more)) as guard:
        guard.arm()
        guard.observe("front", scenes[0], 10**9)
        listener, over = guard._parts.listeners["compact"], threading.Event()
        assert guard._core.took(0), "or it would not listen"

        def asks() -> None:
            while not over.is_set():
                listener.asked()

        asking = threading.Thread(target=asks)
        before = sys.getswitchinterval()
        try:
            sys.setswitchinterval(1e-6)
            asking.start()
            for _ in range(20_000):
                listener.heard(-1)
        finally:
            sys.setswitchinterval(before)
            over.set()
            asking.join()


def test_what_a_newer_answer_replaces_before_a_decision_still_counts(tmp_path, known):  # noqa: F811
    """A member may answer twice between two decisions: the one that trips is not lost."""
    scenes, *_ = known
    more = LOOKS.format(isolation="none", feature="echoes", above=2)
    other = np.random.default_rng(4).integers(0, 256, scenes[0].shape, dtype=np.uint8)
    with Guard.load(camera_policy(tmp_path, {}, more)) as guard:
        guard.arm()
        assert drive(guard, [scenes[0]] * 3)[-1].detectors == ()
        now = 10**9 + 3 * 10**8
        guard.observe("front", scenes[0], now)
        guard.observe("front", other, now + 10**7)
        said = [guard.decide({"speed": 20.0}, now + tick * 10**7) for tick in (2, 3)]
    assert [decision.detectors for decision in said] == [("again",), ()]


def test_nearly_the_same_picture_that_means_something_else_is_noticed(tmp_path):
    """A frame, and the same with a perturbation that the model falls for, in turn."""
    stream = load(models_dir() / "stream.npz")
    attack = next(a for a in stream.attacks if a.kind == "pgd")
    clean = stream.tracks[stream.where(attack.key)]
    pictures = [
        np.ascontiguousarray(frames[k][..., ::-1])
        for k in (0, 1, 3, 6, 7, 9)  # those that the compact model misreads
        for frames in (clean.frames, attack.frames)
    ]
    path = camera_policy(tmp_path, {}, LOOKS.format(isolation="none", feature="flips", above=2))
    with Guard.load(path) as guard:
        guard.arm()
        assert "again" not in drive(guard, pictures[::2])[-1].detectors
        assert drive(guard, pictures, start=6)[-1].detectors == ("again",)


REFUSED = [
    ('feature = "changes"', 'feature = "echoes"', "is external"),
    ("above = 3", "below = 3", 'not for kind "history"'),
    ("above = 3", "", "has no limit"),
    ('feature = "changes"', 'feature = "chnges"', 'did you mean "changes"'),
    ('member = "one"', 'member = "won"', "there is no"),
]


@pytest.mark.parametrize(("what", "instead", "phrase"), REFUSED)
def test_what_is_wrong_is_named(tmp_path, what, instead, phrase):
    with pytest.raises(ConfigError, match=r"detector\.wavers") as wrong:
        bench(tmp_path, WAVERS.replace(what, instead))
    assert phrase in str(wrong.value)


def test_numbers_that_tracks_cannot_show_are_not_calibrated(tmp_path):
    path = camera_policy(tmp_path, {}, LOOKS.format(isolation="none", feature="flips", above=5))
    config.load(path)
    path.write_text(path.read_text().replace("above = 5", 'above = "calibrated"'))
    with pytest.raises(ConfigError, match="tracks say nothing about flips"):
        config.load(path)
