# SPDX-License-Identifier: Apache-2.0
"""Whom a log blames: who had a part in it, and nobody else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mcap", reason="the recorder needs the extra record")

from edgeguard._core import Mode
from edgeguard.config.vocabulary import CAUSES
from edgeguard.explain import explain
from edgeguard.reasons import Moment, reason
from tests.faults.bench import MEMBERS, PERIOD_MS, POLICY, Bench, certain, write_policy
from tests.faults.test_authority import NOTED
from tests.output.recorder.test_explain import (
    WATCHED,
    WIPERS,
    drive,
    granted,
    moments,
    pictures,
)

UNSURE = np.array([0.0, 0.0, 0.55, 0.45, 0.0], np.float32)  # twenty, by a margin of 0.1
ASIDE = np.array([0.0, 0.0, 0.0, 0.45, 0.55], np.float32)  # the same of what wipers do
NOTHING = np.zeros(0, np.float32)


def last(log: Path) -> Moment:
    *_, moment = moments(log)
    return moment


def third_says(bench: Bench, scores: np.ndarray | None) -> None:
    """The others know."""
    bench.say(certain("twenty"), ("one", "two"))
    if scores is not None:
        bench.say(scores, ("three",))
    drive(bench, PERIOD_MS, None)


@pytest.mark.parametrize(
    ("says", "gone"),
    [
        ([UNSURE] + 12 * [None], False),
        ([UNSURE, NOTHING], False),
        ([2 * UNSURE], False),
        ([ASIDE], False),
        ([UNSURE], True),
    ],
    ids=["old", "nothing", "insane", "forbidden", "gone"],
)
def test_a_detector_of_a_member_that_is_not_heard_has_no_part_in_it(
    tmp_path: Path, log: Path, says: list[np.ndarray | None], gone: bool
) -> None:
    """Though its last number is still outside its limits."""
    watched = WATCHED.replace("IMAGE_UNHEALTHY", "OUT_OF_DISTRIBUTION")
    watched = watched.replace('"one"', '"three"')
    bench = granted(tmp_path, 'may_suggest = ["target_speed"]', watched)
    bench.guard.record(log, key=tmp_path / "key.json")
    bench.guard.arm()
    drive(bench, 1000)
    for scores in says:
        third_says(bench, scores)
    bench.guard._core.lost(2, gone)
    pictures(bench, np.zeros((8, 8, 3), np.uint8))
    bench.tick()
    assert bench.decision.detectors == ("dark",)
    bench.guard.close()
    assert reason("OUT_OF_DISTRIBUTION", last(log)) == "dark 0 below 4"


STOPS = """
[cause.UNAUTHORIZED_SUGGESTION]
severity = "SAFE_STOP"
on_ms = 0
off_ms = 0
clears = "rearm"
"""
LOWER = 'may_suggest = { target_speed = ["lower"] }'
RAISE = LOWER.replace("lower", "raise")
RESTS = 'may_suggest = ["target_speed"]\nin_modes = ["NOMINAL", "DEGRADED", "SAFE_STOP"]'


def with_grants(folder: Path, second: str, third: str, more: str) -> Bench:
    """One member is enough, and the first may do everything."""
    policy = POLICY.replace("quorum = 3", "quorum = 1").replace("quorum = 2", "quorum = 1")
    path = write_policy(folder, policy + more)
    head, *members = path.read_text().split("\n[member.")
    grants = ('may_suggest = ["target_speed"]', second, third)
    members = [m.replace(grants[0], grant) for m, grant in zip(members, grants, strict=True)]
    path.write_text("\n[member.".join((head, *members)))
    return Bench(path)


def test_who_has_said_nothing_since_the_mode_changed_did_not_speak_in_it(
    tmp_path: Path, log: Path
) -> None:
    bench = with_grants(tmp_path, RAISE, RESTS, STOPS)
    bench.guard.record(log, key=tmp_path / "key.json")
    bench.guard.arm()
    for who in [("one", "two")] * 100 + [MEMBERS]:  # the third not before it may
        bench.say(certain("twenty"), who)
        bench.tick()
    for who in ((), ("one", "two")):
        bench.guard.note(1 << CAUSES.index("PEER_STOPPED"))
        bench.say(certain("ten"), who)
        bench.tick()
    bench.guard.close()
    *_, fallback, stop = explain(log).changes
    assert (fallback.after, fallback.cause) == (Mode.FALLBACK, "PEER_STOPPED")
    assert (stop.after, stop.cause) == (Mode.SAFE_STOP, "UNAUTHORIZED_SUGGESTION")
    assert stop.why == "two may only raise target_speed"


def test_who_is_half_granted_has_a_part_in_it_while_he_is_heard(tmp_path: Path, log: Path) -> None:
    """And the vote is of what he said, be it a while ago."""
    bench = with_grants(tmp_path, LOWER, LOWER, NOTED)
    bench.guard.record(log, key=tmp_path / "key.json")
    bench.nominal()
    bench.say(certain("thirty"), ("two",))  # nobody is with him
    for _ in range(12):
        bench.say(certain("twenty"), ("one", "three"))
        bench.tick()
    bench.say(certain("thirty"), ("three",))
    bench.tick()
    assert "UNAUTHORIZED_SUGGESTION" not in bench.decision.present
    bench.say(certain("thirty"), ("one",))
    bench.tick()
    bench.guard.close()
    assert reason("UNAUTHORIZED_SUGGESTION", last(log)) == "three may only lower target_speed"


def test_who_is_half_granted_on_a_channel_has_no_part_in_another(tmp_path: Path, log: Path) -> None:
    bench = granted(tmp_path, LOWER.replace(" }", ', wipers = ["lower"] }'))
    bench.guard.record(log, key=tmp_path / "key.json")
    bench.nominal()
    bench.say(certain("nothing"))
    bench.tick()
    bench.guard.close()
    assert reason("UNAUTHORIZED_SUGGESTION", last(log)) == "three may only lower wipers"


def test_what_is_denied_for_want_of_trust_is_not_told_as_want_of_evidence(
    silent: Bench, tmp_path: Path, log: Path
) -> None:
    silent.guard.record(log, key=tmp_path / "key.json")
    silent.nominal()
    silent.signals["speed"] = float("nan")
    silent.say(certain("ten"))
    silent.tick()
    silent.guard.close()
    denied = "no operation is granted while there is INPUT_INVALID"
    assert reason("OPERATION_DENIED", last(log)) == denied


def test_what_is_denied_on_a_channel_is_told_of_no_other(tmp_path: Path, log: Path) -> None:
    """Though that has a cause of its own, as severe as one for which nothing would be granted."""
    wipers = WIPERS.replace("lower = { certainty = 0.9", "lower = { certainty = 0.5")
    bench = with_grants(tmp_path, 'may_suggest = ["target_speed"]', 'may_suggest = ["wipers"]',
                        wipers)  # fmt: skip
    bench.guard.record(log, key=tmp_path / "key.json")
    bench.guard.arm()
    for certainty in (1.0, 0.7):
        for _ in range(40):
            bench.say(certain("thirty", certainty), ("one", "two"))
            bench.say(certain("nothing", 0.75), ("three",))
            bench.tick()
    assert bench.decision.present == ("LOW_CERTAINTY", "OPERATION_DENIED")
    bench.guard.close()
    assert reason("OPERATION_DENIED", last(log)) == (
        "wipers: certainty 0.75, 1 votes; raise asks 0.90 of 1, lower asks 0.50 of 1"
    )
