# SPDX-License-Identifier: Apache-2.0
"""What a log says of its causes: each is seen in something, and nothing is made up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mcap", reason="the recorder needs the extra record")

from edgeguard._core import Mode, Policy, Replayer
from edgeguard.config.vocabulary import CAUSES
from edgeguard.explain import explain
from edgeguard.output.recorder import Recorder
from edgeguard.output.recorder.log_reader import Log
from edgeguard.output.recorder.topics import DECISION, TAPE
from edgeguard.reasons import UNSEEN, Held, Moment, reason
from edgeguard.replay import policy_of
from tests.faults.bench import PERIOD_MS, POLICY, Bench, certain, write_policy
from tests.faults.test_authority import NOTED
from tests.faults.watched import SIGNALS, WHEEL

WATCHED = """
[camera.front]
rate_hz = 10
max_age_ms = 250

[camera.rear]
rate_hz = 10
max_age_ms = 250

[detector.dark]
kind = "image"
camera = "front"
feature = "mean"
below = 4.0
cause = "IMAGE_UNHEALTHY"

[detector.thin]
kind = "score"
member = "one"
feature = "margin"
below = 0.3
cause = "OUT_OF_DISTRIBUTION"

[detector.strangers]
kind = "bus"
feature = "unknown"
above = 0.5
max_age_ms = 100
"""
WIPERS = """
[channel.wipers]
unit = "1"
range = [0.0, 1.0]
rise = 1.0
fall = 1.0
stop = 0.0
fallback = { controller = "slow_and_hold", floor = 0.0 }
raise = { certainty = 0.9, quorum = 1 }
lower = { certainty = 0.9, quorum = 1 }

[channel.wipers.means]
nothing = 1.0
"""
BOTH = 'may_suggest = ["target_speed", "wipers"]'
ELSEWHERE = {"RISK_RAISED", "RISK_HIGH", "ENVELOPE_CONFLICT"}  # with events, or seen in themselves


def moments(log: Path) -> Iterator[Moment]:
    """Every decision, with the one before it as it is known."""
    policy = policy_of(Log(log))
    reader, before = Replayer(Policy(policy)), None
    for entry in Log(log).entries(TAPE):
        assert reader.feed(entry.data) in ("same", "nothing")
        if entry.data[0] == DECISION:
            _, decision = reader.decision(entry.data)
            given = reader.input(entry.data)
            held = {name: Held(*knows) for name, knows in reader.members().items()}
            yield Moment(policy, decision, given, before=before, held=held)
            before = decision.mode


def told(log: Path) -> Mapping[str, set[str]]:
    """By cause: what every decision saw of it while it was present. A refused answer stays so until
    the next one, with nothing new to be seen."""
    found: dict[str, set[str]] = {}
    last: tuple[str, ...] = ()
    for moment in moments(log):
        for cause in moment.decision.present:
            seen = reason(cause, moment)
            if seen != UNSEEN or cause not in last:
                found.setdefault(cause, set()).add(seen)
        last = moment.decision.present
    return found


def pictures(bench: Bench, front: np.ndarray | None = None) -> None:
    rng = np.random.default_rng(bench.ticks)
    seen = rng.integers(0, 256, (2, 8, 8, 3), np.uint8)
    bench.guard.observe("front", seen[0] if front is None else front, bench.now_ns)
    bench.guard.observe("rear", seen[1], bench.now_ns)


def drive(bench: Bench, ms: float, label: str | None = "twenty", certainty: float = 1.0) -> None:
    for _ in range(round(ms / PERIOD_MS)):
        pictures(bench)
        bench.guard.bus({"unknown": 0.0}, bench.now_ns)
        bench.run(PERIOD_MS, label, certainty)


def everything(bench: Bench) -> None:
    """All that can be made present, one after the other."""
    bench.tick()
    bench.guard.arm()
    drive(bench, 1000)
    bench.run(400, "twenty")  # nor frames nor a bus
    for _ in range(3):
        pictures(bench, np.zeros((8, 8, 3), np.uint8))
        bench.tick()
    drive(bench, 300, "twenty", certainty=0.5)
    for signals in ({"engaged": float("nan")}, {"engaged": 2.0}, {"speed": 99.0}, {"wheel": 9.0}):
        kept, bench.signals = bench.signals, bench.signals | signals
        drive(bench, 30)
        bench.signals = kept
    for late_ms in (60.0, -50.0):
        bench.say(certain("twenty"), late_ms=late_ms)
        bench.tick()
    bench.say(certain("ten") * float("nan"))
    bench.tick()
    drive(bench, 200)
    for label, member in zip(("ten", "twenty", "thirty"), ("one", "two", "three"), strict=True):
        bench.say(certain(label), (member,))
    bench.tick()
    bench.tick(-50)
    bench.tick(30)
    drive(bench, 200, None)
    bench.guard._parts.shadow._controllers = (("target_speed", lambda *_: None),)
    bench.tick()
    for name in CAUSES[CAUSES.index("LINK_LOST") : CAUSES.index("ASSOCIATION_BROKEN")]:
        bench.guard.note(1 << CAUSES.index(name))
    for name in ("RECORDER_LOST", "UNSIGNED_BUNDLE"):
        bench.guard.note(1 << CAUSES.index(name))
    bench.tick()


def granted(folder: Path, grant: str, more: str = "") -> Bench:
    """The third member is granted only that."""
    policy = POLICY.replace("quorum = 3", "quorum = 2")
    path = write_policy(folder, policy + NOTED + WIPERS + more)
    path.write_text(path.read_text().replace('["target_speed"]', '["target_speed", "wipers"]'))
    head, tail = path.read_text().split("[member.three]")
    path.write_text(head + "[member.three]" + tail.replace(BOTH, grant))
    return Bench(path)


def test_every_cause_is_seen_in_something(tmp_path: Path, log: Path) -> None:
    bench = Bench(write_policy(tmp_path, POLICY + SIGNALS + WHEEL + WATCHED))
    bench.signals |= {"throttle": 0.4, "brake": 0.0, "wheel": 20.0}
    bench.guard.record(log, key=tmp_path / "key.json")
    everything(bench)
    bench.guard.close()
    found = told(log)
    assert set(found) >= set(CAUSES) - ELSEWHERE - {"UNAUTHORIZED_SUGGESTION"}
    assert [cause for cause, seen in found.items() if UNSEEN in seen] == []
    assert "engaged is neither 0 nor 1" in found["INPUT_INVALID"]
    assert "one of front, rear shows a picture that it showed before" in found["FROZEN_INPUT"]
    assert any("stamped later than the decision" in seen for seen in found["SCORE_INSANE"])


@pytest.mark.parametrize(
    ("grant", "says"),
    [
        ('may_suggest = { target_speed = ["lower"] }', "three may only lower target_speed"),
        ('may_suggest = ["target_speed"]\nin_modes = ["NOMINAL", "DEGRADED"]',
         "three spoke in FALLBACK; it may in NOMINAL, DEGRADED"),
        ('may_suggest = ["wipers"]', "three spoke of target_speed, which it may not"),
    ],
)  # fmt: skip
def test_who_was_not_granted_what_he_said_is_named(
    tmp_path: Path, log: Path, grant: str, says: str
) -> None:
    bench = granted(tmp_path, grant)
    bench.guard.record(log, key=tmp_path / "key.json")
    bench.nominal()
    bench.run(100, "thirty")
    bench.guard.close()
    found = told(log)["UNAUTHORIZED_SUGGESTION"]
    assert says in found and UNSEEN not in found


def test_what_was_before_the_log_is_not_made_up(silent: Bench, log: Path, tmp_path: Path) -> None:
    silent.nominal()
    silent.signals["speed"] = float("nan")
    silent.run(200, "twenty")
    silent.signals["speed"] = 20.0
    silent.run(100, "twenty")  # nothing is wrong any more, but that waits for a person
    silent.guard.record(log, key=tmp_path / "key.json")
    silent.run(100, "twenty")
    silent.guard.close()
    (change,) = explain(log).changes
    assert (change.before, change.after) == (None, Mode.SAFE_STOP)
    assert (change.cause, change.why) == ("INPUT_INVALID", "as the log begins")


def test_what_began_before_the_log_lasted_longer(silent: Bench, log: Path, tmp_path: Path) -> None:
    silent.nominal()
    silent.run(150, "thirty", certainty=0.61)
    silent.guard.record(log, key=tmp_path / "key.json")
    silent.run(300, "thirty", certainty=0.61)
    silent.guard.close()
    change = explain(log).changes[1]
    assert change.cause == "LOW_CERTAINTY" and change.after == Mode.FALLBACK
    lasted = change.why.rpartition(", for ")[2]
    assert lasted.startswith("more than 1") and lasted.endswith(" ms (acts after 300 ms)")


def test_after_arming_nothing_was_heard_yet(bench: Bench, recorder: Recorder, log: Path) -> None:
    bench.nominal()
    bench.guard.close()
    assert recorder.path == log
    first = explain(log).changes[0]
    assert (first.cause, first.why[:10]) == ("STALE_MODEL", "armed just")


@pytest.mark.parametrize(
    ("jump_ms", "credited_ms", "why"),
    [
        (-10_000, 100, "ran back, jumped by more than an hour, or could not be read"),
        (0, 100, "the clock stood still"),
        (3_600_000, 100, "3600000 ms between two decisions, above 100 ms"),
        (7_200_000, 100, "ran back, jumped by more than an hour, or could not be read"),
        (100, 100, ""),
        (60, 60, ""),
    ],
)
def test_a_cause_lasts_as_long_as_the_core_counts_it(
    tmp_path: Path, log: Path, jump_ms: float, credited_ms: int, why: str
) -> None:
    """Whatever the clock does meanwhile."""
    policy = POLICY + '\n[cause.TIME_FAULT]\nseverity = "SAFE_STOP"\nclears = "rearm"\n'
    bench = Bench(write_policy(tmp_path, policy), start_ns=0)
    bench.guard.record(log, key=tmp_path / "key.json")
    bench.nominal()
    bench.signals["speed"] = float("nan")
    bench.run(20, "twenty")
    bench.tick(jump_ms)
    bench.guard.close()
    *_, stop = explain(log).changes
    assert (stop.after, stop.cause) == (Mode.SAFE_STOP, "INPUT_INVALID")
    assert stop.why.endswith(f", for {20 + credited_ms} ms (acts after 50 ms)")
    assert any(why in seen for seen in told(log).get("TIME_FAULT", {""}))
