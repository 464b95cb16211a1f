# SPDX-License-Identifier: Apache-2.0
"""The risk level at the actuator: of security events, and of what is no trip on its own."""

from __future__ import annotations

import numpy as np
import pytest

from edgeguard import config
from edgeguard.errors import ConfigError
from tests.faults.bench import PERIOD_MS, POLICY, Bench, write_policy
from tests.faults.watched import RISK, SIGNALS, WHEEL, acting, bench, calibrated


def test_security_events_raise_the_risk(tmp_path):
    made = bench(tmp_path, RISK).nominal()
    assert made.guard.risk == 0
    made.guard.event("bus_intrusion")
    made.run(2 * PERIOD_MS, "twenty")
    assert (made.guard.risk, made.decision.mode.name) == (2, "FALLBACK")
    assert acting(made) == {"RISK_RAISED"} and not made.decision.operator_request
    made.guard.event("refused_file")
    made.run(2 * PERIOD_MS, "twenty")
    assert made.guard.risk == 3 and made.decision.operator_request
    assert acting(made) == {"RISK_RAISED", "RISK_HIGH"}
    made.run(63_000, "twenty")
    assert (made.guard.risk, made.decision.mode.name) == (0, "NOMINAL")
    with pytest.raises(ValueError, match="sandbox_violation"):
        made.guard.event("rain")


@pytest.mark.parametrize("stamp", [10**400, -(10**400), None, "now", 1.5])
def test_without_a_time_there_is_no_risk_level_and_that_is_a_risk(tmp_path, stamp):
    made = bench(tmp_path, RISK).nominal()
    for _ in range(3):
        decision = made.guard.decide(made.signals, stamp)
        assert "TIME_FAULT" in decision.present
    made.now_ns += 200_000_000  # nobody has given a level for longer than ten periods
    assert "RISK_RAISED" not in made.tick().present  # with a time there is one again
    assert made.guard.risk == 0


def test_wrong_tokens_are_security_events(tmp_path):
    path = write_policy(tmp_path, POLICY + SIGNALS + RISK)
    made = Bench(path, operator_token="right")
    made.signals |= {"throttle": 0.4, "brake": 0.0, "wheel": 20.0}
    made.nominal()
    for _ in range(3):
        assert made.guard.rearm("wrong") == "wrong operator token"
        made.run(1010, "twenty")
    assert (made.guard.risk, made.decision.mode.name) == (2, "FALLBACK")


def test_what_is_no_trip_on_its_own_raises_the_risk_in_time(tmp_path):
    rng = np.random.default_rng(0)
    blocks = (rng.normal(-1.0, 0.1, 300) * 65536).astype(np.int64)  # far inside the limit of 1
    path = calibrated(tmp_path, {("wheel", "risk"): {"blocks": blocks}}, POLICY + SIGNALS + """
[detector.wheel]
kind = "association"
between = ["speed", "wheel"]
relation = "difference"
above = 1.0
""" + RISK)  # fmt: skip
    made = Bench(path)
    made.signals |= {"throttle": 0.4, "brake": 0.0, "wheel": 20.0}
    made.nominal()
    made.run(60_000, "twenty")
    assert made.guard.risk == 0 and made.decision.mode.name == "NOMINAL"
    made.signals["wheel"] = 19.5  # an offset that stays under the limit
    made.run(30_000, "twenty")
    assert made.guard.risk >= 2 and "RISK_RAISED" in made.decision.causes
    assert "ASSOCIATION_BROKEN" not in made.decision.present


def test_a_risk_level_over_what_was_never_calibrated_is_refused(tmp_path):
    where = r"guard\.toml:\d+: detector\.risk\.kind: .*detector\.wheel\].*edgeguard calibrate"
    with pytest.raises(ConfigError, match=where):
        config.load(write_policy(tmp_path, POLICY + SIGNALS + WHEEL + RISK))
    blocks = {"blocks": np.arange(9)}
    for fits in ({("pedals", "risk"): blocks}, {("wheel", "risk"): {"blocks": np.arange(0)}}):
        with pytest.raises(ConfigError, match=where):
            config.load(calibrated(tmp_path, fits, POLICY + SIGNALS + WHEEL + RISK))


def test_a_stamp_of_numpy_gives_a_risk_level_too(tmp_path):
    made = bench(tmp_path, RISK).nominal()
    made.guard.event("bus_intrusion")
    made.guard.decide(made.signals, np.int64(made.now_ns + 10**7))
    assert made.guard.risk == 2
