# SPDX-License-Identifier: Apache-2.0
"""What a guard makes of a worker that breaks a rule, and of a file that it refuses: risk."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgeguard import Guard, _isolation
from edgeguard.errors import ModelRefused
from edgeguard.inference import supervisor
from edgeguard.zoo import models_dir
from tests.faults.bench import camera_guard
from tests.inference.strange_worker import program

RISK = """
[detector.risk]
kind = "risk"
max_false_trips_per_hour = 1.0
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A guard.toml with one model in a process of its own, whose files may be changed."""
    camera_guard(tmp_path, "process").close()
    path = tmp_path / "camera.toml"
    for file in models_dir().glob("compact*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "labels.json").write_bytes((models_dir() / "labels.json").read_bytes())
    text = path.read_text().replace("package:gtsrb/compact", "compact.tflite")
    path.write_text(
        text.replace("[member.compact]", '[member.compact]\ncard = "compact.card.json"')
    )
    with path.open("a") as file:
        file.write(RISK)
    return path


def drive(guard: Guard, until: Callable[[], bool]) -> int:
    """Tick with frames until something holds; the time of the last tick, in ms."""
    rng, end, ms = np.random.default_rng(0), time.monotonic() + 60.0, 0
    while not until():
        assert time.monotonic() < end, "waited in vain"
        ms += 10
        frame = rng.integers(0, 256, (48, 64, 3), np.uint8) if ms % 100 == 0 else None
        guard.step("front", frame, {"speed": 20.0}, ms * 1_000_000)
        time.sleep(0.002)
    return ms


def level(guard: Guard) -> int:
    return guard.risk or 0


@pytest.mark.skipif(_isolation.landlock_abi() == 0, reason="needs: Landlock")
def test_a_worker_that_reads_what_is_not_its_own_raises_the_risk_to_the_top(
    policy: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervisor, "_PROGRAM", program("open('/etc/passwd')"))
    with Guard.load(policy) as guard:
        guard.arm()
        assert level(guard) == 0
        ms = drive(guard, lambda: level(guard) == 3)
        decision = guard.decide({"speed": 20.0}, (ms + 10) * 1_000_000)
        assert {"RISK_RAISED", "RISK_HIGH"} <= set(decision.causes)
        assert decision.mode.name == "FALLBACK" and decision.operator_request
    assert "security event: sandbox_violation (6 points)" in caplog.text


def test_a_model_that_was_exchanged_is_refused_and_raises_the_risk(
    policy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = policy.with_name("compact.tflite")
    honest = model.read_bytes()
    with Guard.load(policy) as guard:
        guard.arm()
        model.write_bytes(honest[:-1] + bytes([honest[-1] ^ 1]))
        os.kill(guard.members["compact"].pid, signal.SIGKILL)
        ms = drive(guard, lambda: level(guard) == 2)
        decision = guard.decide({"speed": 20.0}, (ms + 10) * 1_000_000)
        assert "RISK_RAISED" in decision.causes and "MEMBER_LOST" in decision.causes
    assert caplog.text.count("security event: refused_file (3 points)") == 1
    with Guard.load(policy) as guard:
        with pytest.raises(ModelRefused, match="is not the file of its card"):
            guard.arm()
        assert guard.decide({"speed": 20.0}, 10_000_000).mode.name == "SAFE_STOP"
        assert level(guard) == 2
    assert caplog.text.count("security event: refused_file (3 points)") == 2


def test_a_worker_that_only_dies_is_no_security_event(
    policy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Guard.load(policy) as guard:
        guard.arm()
        first = guard.members["compact"].pid
        os.kill(first, signal.SIGKILL)
        drive(guard, lambda: guard.members["compact"].pid not in (None, first))
        assert level(guard) == 0
    assert "security event" not in caplog.text
