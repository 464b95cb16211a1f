# SPDX-License-Identifier: Apache-2.0
"""`edgeguard run` as a program, in the folder of its policy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

POLICY = """
[guard]
name = "run"
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
model = "package:gtsrb/plain"
camera = "front"
deadline_ms = 200
max_age_ms = 250
may_suggest = ["target_speed"]

[channel.target_speed]
unit = "m/s"
range = [0.0, 36.2]
rise = 1.5
fall = 4.0
stop = 0.0
measured = "speed"
fallback = { controller = "slow_and_hold", floor = 5.5 }
raise = { certainty = 0.5, quorum = 1 }
lower = { certainty = 0.5, quorum = 1 }
"""


def run(policy: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """more: variables of its environment."""
    return subprocess.run(
        [sys.executable, "-m", "edgeguard", "run", str(policy), *arguments],
        capture_output=True, text=True, check=False, cwd=policy.parent, env=os.environ | more,
    )  # fmt: skip


def lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def check(records: list[dict[str, Any]], frames: int) -> None:
    """Ticks between frames at 10 Hz, in order, with fitting ages and the answers of the model."""
    assert len(records) == (frames - 1) * 10 + 1
    assert [r["sequence"] for r in records] == list(range(1, len(records) + 1))
    assert {r["t_ns"] for r in records} == {10_000_000 * (n + 1) for n in range(len(records))}
    seen = {r["evidence"]["target_speed"]["label"] for r in records}
    assert len(seen - {-1}) >= 5  # eight different signs went by
    assert max(r["ages_ms"]["front"] for r in records) <= 110
