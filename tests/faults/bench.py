# SPDX-License-Identifier: Apache-2.0
"""A guard of three external members on a simulated clock: the test says what they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard import Decision, Guard

LABELS = ["stop", "ten", "twenty", "thirty", "nothing"]
MEANING = {"stop": 0.0, "ten": 10.0, "twenty": 20.0, "thirty": 30.0}
MEMBERS = ("one", "two", "three")
PERIOD_MS = 10

POLICY = """
[guard]
name = "bench"
period_ms = 10

[signal.speed]
unit = "m/s"
range = [0.0, 70.0]

[rearm]
standstill_signal = "speed"
standstill_below = 0.1

[channel.target_speed]
unit = "m/s"
range = [0.0, 36.0]
rise = 1.5
fall = 4.0
stop = 0.0
measured = "speed"
fallback = { controller = "slow_and_hold", floor = 5.0 }
raise = { certainty = 0.98, quorum = 3 }
lower = { certainty = 0.80, quorum = 2 }

[channel.target_speed.means]
stop = 0.0
ten = 10.0
twenty = 20.0
thirty = 30.0

[controller]
budget_ms = 10.0
"""

MEMBER = """
[member.{name}]
card = "{name}.card.json"
runtime = "external"
deadline_ms = 25
max_age_ms = 100
may_suggest = ["target_speed"]
"""


def card(name: str, **changes: Any) -> dict[str, Any]:
    """A card whose scores are the probabilities of LABELS, as float32."""
    scores = {"name": "scores", "dtype": "float32", "kind": "probabilities", "size": len(LABELS)}
    picture = {"layout": "CHW", "dtype": "float32", "size": [8, 8]}
    made = {
        "name": name, "file": f"{name}.onnx", "sha256": "0" * 64, "runtime": "onnx",
        "task": "classifier", "labels": LABELS, "input": picture, "outputs": [scores],
    }  # fmt: skip
    return made | changes


def write_policy(folder: Path, policy: str = POLICY) -> Path:
    """Write guard.toml and the three cards; return the path of guard.toml."""
    for name in MEMBERS:
        (folder / f"{name}.card.json").write_text(json.dumps(card(name)))
        policy += MEMBER.format(name=name)
    (folder / "guard.toml").write_text(policy)
    return folder / "guard.toml"


def certain(label: str, certainty: float = 1.0) -> np.ndarray:
    """Probabilities with this certainty for a label, the rest shared out; float32 [5]."""
    scores = np.full(len(LABELS), (1 - certainty) / (len(LABELS) - 1), np.float32)
    scores[LABELS.index(label)] = certainty
    return scores


class Bench:
    """Drives a guard tick by tick; a frame's worth of suggestions every third tick."""

    def __init__(self, path: Path, start_ns: int = 1_000_000_000, **load: Any) -> None:
        self.guard = Guard.load(path, **load)
        self.now_ns = start_ns
        self.signals: dict[str, Any] = {"speed": 20.0}
        self.ticks = 0
        self.commands: list[float] = []
        self.decision: Decision

    def say(self, scores: Any, members: tuple[str, ...] = MEMBERS, late_ms: float = 5.0) -> None:
        """Members deliver scores of a frame captured ``late_ms`` ago."""
        for member in members:
            self.guard.suggest(member, scores, self.now_ns - int(late_ms * 1e6), self.now_ns)

    def tick(self, ms: float = PERIOD_MS) -> Decision:
        """Let time pass and decide."""
        self.now_ns += int(ms * 1e6)
        self.decision = self.guard.decide(self.signals, self.now_ns)
        self.commands.append(self.decision.command["target_speed"])
        self.ticks += 1
        return self.decision

    def run(self, ms: float, label: str | None = None, certainty: float = 1.0) -> Decision:
        """Run for a time; with a label, all members say it on every third tick."""
        for _ in range(round(ms / PERIOD_MS)):
            if label is not None and self.ticks % 3 == 0:
                self.say(certain(label, certainty))
            self.tick()
        return self.decision

    def nominal(self) -> Bench:
        """Arm and run until the models command at 20 m/s; the rule has slowed down meanwhile."""
        self.guard.arm()
        self.run(1000, "twenty")
        assert self.decision.mode.name == "NOMINAL", self.decision.causes
        return self

    @property
    def command(self) -> float:
        """The last command at the actuator, m/s."""
        return self.commands[-1]


COMPACT = """
[camera.front]
rate_hz = 10
max_age_ms = 250

[member.compact]
model = "package:gtsrb/compact"
runtime = "litert"
isolation = "{isolation}"
camera = "front"
deadline_ms = 100
max_age_ms = 350
may_suggest = ["target_speed"]
"""
"""One real member behind a real camera; `isolation` is to be filled in."""


def camera_guard(folder: Path, isolation: str) -> Guard:
    """An armed guard with one real member, the shipped compact model, behind a real camera."""
    policy = POLICY.replace("quorum = 3", "quorum = 1").replace("quorum = 2", "quorum = 1")
    policy = (
        policy[: policy.index("[channel.target_speed.means]")]
        + policy[policy.index("[controller]") :]
    )
    policy += COMPACT.format(isolation=isolation)
    policy += '\n[channel.target_speed.means]\n"Speed limit (20km/h)" = 5.5\n'
    (folder / "camera.toml").write_text(policy)
    guard = Guard.load(folder / "camera.toml")
    guard.arm()
    return guard
