# SPDX-License-Identifier: Apache-2.0
"""Security events and the risk level in a log, and how `edgeguard explain` tells of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mcap", reason="the recorder needs the extra record")

from edgeguard import Guard
from edgeguard.errors import ModelRefused
from edgeguard.explain import Change, explain
from edgeguard.output.recorder.log_reader import Log
from edgeguard.output.recorder.topics import DECISIONS, HEALTH, NOTES
from edgeguard.output.recorder.topics import SIGNALS as SIGNALS_TOPIC
from edgeguard.replay import replay
from edgeguard.zoo import models_dir
from tests.faults.bench import POLICY, Bench, write_policy
from tests.faults.watched import RISK, SIGNALS, WHEEL, calibrated

SECOND_NS = 1_000_000_000


def began(path: Path, log: Path) -> Bench:
    made = Bench(path)
    made.signals |= {"throttle": 0.4, "brake": 0.0, "wheel": 20.0}
    made.guard.record(log, key=log.with_name("key.json"))
    return made.nominal()


def notes(log: Path) -> list[tuple[int, str]]:
    return [(e.t_ns, json.loads(e.data)["message"]) for e in Log(log).entries(NOTES)]


def falls(log: Path) -> list[Change]:
    return [c for c in explain(log).changes if c.cause.startswith("RISK_")]


def test_events_are_in_the_log_with_the_time_from_which_on_they_count(
    tmp_path: Path, log: Path
) -> None:
    made = began(write_policy(tmp_path, POLICY + SIGNALS + RISK), log)
    made.guard.event("failed_authentication")
    made.tick()
    first_ns = made.now_ns
    made.run(2000, "twenty")
    made.guard.event("refused_file")
    made.guard.event("refused_file")  # the same second: it counts once
    made.tick()
    second_ns = made.now_ns
    made.run(100, "twenty")
    made.guard.close()
    assert notes(log) == [
        (first_ns, "security event: failed_authentication"),
        (second_ns, "security event: refused_file"),
    ]
    (change,) = falls(log)
    assert (change.t_ns, change.cause) == (second_ns, "RISK_RAISED")
    assert change.why == (
        "risk level 2; level 2 stands for 3 points of security events in 60 s"
        " (failed_authentication, refused_file)"
    )
    outcome = replay(log)
    assert (outcome.decisions, outcome.difference) == (made.ticks, None)


TAMPERED = """
[guard]
name = "tampered"
period_ms = 10

[camera.front]
rate_hz = 10
max_age_ms = 250

[signal.speed]
unit = "m/s"
range = [0.0, 70.0]

[rearm]
standstill_signal = "speed"
standstill_below = 0.1

[member.plain]
model = "plain.onnx"
camera = "front"
deadline_ms = 50
max_age_ms = 250
may_suggest = ["target_speed"]

[channel.target_speed]
unit = "m/s"
range = [0.0, 36.2]
rise = 1.5
fall = 4.0
stop = 0.0
fallback = "slow_and_hold"
raise = { certainty = 0.9, quorum = 1 }
lower = { certainty = 0.6, quorum = 1 }
"""

SILENT = """
[detector.silent]
kind = "association"
between = ["speed"]
relation = "rate"
delay_ms = 2550
above = 100.0
"""


def test_what_people_plot_is_json(tmp_path: Path, log: Path) -> None:
    """A detector that says nothing yet is left out; NaN is no JSON, and no plot reads it."""
    made = began(write_policy(tmp_path, POLICY + SIGNALS + WHEEL + SILENT), log)
    made.signals["speed"] = float("nan")
    made.run(100, "twenty")
    made.guard.close()

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    for topic in (DECISIONS, SIGNALS_TOPIC, HEALTH):
        said = [json.loads(e.data, parse_constant=refuse) for e in Log(log).entries(topic)]
        assert len(said) == made.ticks
        if topic == HEALTH:
            assert set(said[50]["detectors"]) == {"wheel"}
            assert said[-1]["detectors"] == {"wheel": None, "silent": None}


def test_what_no_longer_counts_is_not_named(tmp_path: Path, log: Path) -> None:
    made = began(write_policy(tmp_path, POLICY + SIGNALS + RISK), log)
    made.guard.event("failed_authentication")
    made.run(61_000, "twenty")
    made.guard.event("bus_intrusion")
    made.run(100, "twenty")
    made.guard.close()
    (change,) = falls(log)
    assert "in 60 s (bus_intrusion)" in change.why


def test_evidence_is_told_with_its_threshold_and_its_detectors(tmp_path: Path, log: Path) -> None:
    """c blocks of 3 s in an hour, divided by the false trips that are allowed in it."""
    rng = np.random.default_rng(0)
    blocks = (rng.normal(-1.0, 0.1, 300) * 65536).astype(np.int64)
    wheel = WHEEL.replace("below = -1.0\n", "")
    risk = RISK.replace("1.0", "4.0") + '\n[cause.RISK_HIGH]\nseverity = "SAFE_STOP"\n'
    risk += 'clears = "rearm"\n'
    fits = {("wheel", "risk"): {"blocks": blocks}}
    made = began(calibrated(tmp_path, fits, POLICY + SIGNALS + wheel + risk), log)
    made.signals["wheel"] = 19.5  # stays under the limit
    while made.guard.risk < 2:
        made.run(1000, "twenty")
    made.run(100, "twenty")
    assert "RISK_RAISED" in made.decision.causes
    made.guard.event("bus_intrusion")
    made.run(100, "twenty")
    assert "RISK_HIGH" in made.decision.causes
    made.guard.close()
    said = json.loads(Log(log).about["risk"])
    assert said["detectors"] == {"wheel": {"below": None, "above": 1.0, "blocks": 300}}
    assert said["max_false_trips_per_hour"] == 4.0
    assert said["evidence"] == pytest.approx({"1": 30.0, "2": 300.0, "3": 3000.0})
    change = falls(log)[0]
    assert change.why.startswith("risk level 2; level 2 stands for 3 points of security events")
    assert "(none is recorded), or evidence of 300 from wheel" in change.why
    high = falls(log)[-1]
    assert high.cause == "RISK_HIGH"
    assert "(bus_intrusion), or evidence of 3000 from wheel, or both at level 2" in high.why


def test_the_event_that_ends_a_run_is_in_its_log(tmp_path: Path, log: Path) -> None:
    """No tick comes after it any more, and a risk level counts at ticks."""
    for name in ("plain.onnx", "plain.card.json", "labels.json"):
        shutil.copy(models_dir() / name, tmp_path)
    model = tmp_path / "plain.onnx"
    model.write_bytes(model.read_bytes() + b"\0")
    (tmp_path / "guard.toml").write_text(TAMPERED + RISK)
    guard = Guard.load(tmp_path / "guard.toml")
    guard.record(log, key=tmp_path / "key.json")
    with pytest.raises(ModelRefused):
        guard.arm()
    guard.close()
    assert [message for _, message in notes(log)] == ["security event: refused_file"]


def test_without_a_risk_level_events_are_noted_all_the_same(tmp_path: Path, log: Path) -> None:
    made = began(write_policy(tmp_path, POLICY + SIGNALS), log)
    made.guard.event("sandbox_violation")
    made.run(100, "twenty")
    made.guard.close()
    assert [message for _, message in notes(log)] == ["security event: sandbox_violation"]
    assert "risk" not in Log(log).about
    made.guard.event("sandbox_violation")  # nobody records any more, and nobody minds


def test_a_log_without_its_risk_limits_is_explained_too(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of earlier versions."""
    made = Bench(write_policy(tmp_path, POLICY + SIGNALS + RISK))
    made.signals |= {"throttle": 0.4, "brake": 0.0, "wheel": 20.0}
    monkeypatch.setattr("edgeguard.guard.limits", lambda *_: None)
    made.guard.record(log, key=log.with_name("key.json"))
    made.nominal()
    made.guard.event("bus_intrusion")
    made.run(100, "twenty")
    made.guard.close()
    (change,) = falls(log)
    assert change.why == "risk level 2, acts from 2"
