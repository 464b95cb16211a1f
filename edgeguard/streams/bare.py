# SPDX-License-Identifier: Apache-2.0
"""The comparator: one model without a guard, as it is often deployed.

The top class is the command, under the same envelope; there is no threshold, no vote, no age and no
detector. (The decision core refuses a policy that trusts a silent model, so it cannot stand in.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from edgeguard.config import GuardConfig, load_cards, model_path
from edgeguard.decision import Mode
from edgeguard.inference.members import Member, MemberSpec, open_members
from edgeguard.intake.preprocess import InputSpec, Preprocessor
from edgeguard.streams.run import CHANNEL


class BareDecision(NamedTuple):
    """Looks like a decision; a bare model knows no modes and no causes."""

    command: dict[str, float]
    evidence: dict[str, dict[str, Any]]
    mode: Mode = Mode.NOMINAL
    causes: tuple[str, ...] = ()
    present: tuple[str, ...] = ()


class Bare:
    """One member of a guard's policy, `plain`, whose every word becomes the target."""

    def __init__(self, config: GuardConfig, member: str = "plain") -> None:
        """Take the member, the meanings and the rates from the policy of a guard."""
        self.config = config
        self.members: dict[str, Member] = {}
        self._name = member
        self._card = load_cards(config)[member]
        self._means = config.channels[CHANNEL].means
        self._kernel: Preprocessor | None = None
        self._label = -1
        self._command: float | None = None
        self._target = 0.0
        self._serial = 0

    def arm(self) -> None:
        """Open the member. Raises ModelRefused."""
        if not self.members:
            chosen = self.config.members[self._name]
            spec = MemberSpec(
                name=self._name,
                card=self._card,
                model_path=model_path(self.config, self._name, self._card),
                runtime=chosen.runtime,
                isolation="process" if chosen.apart else "none",
            )
            self.members = {self._name: open_members([spec])[0]}

    def observe(self, camera: str, frame: Any, t_ns: int, box: Any = None) -> None:
        """Hand the frame to the model."""
        if self._kernel is None:
            height, width = frame.shape[:2]
            self._kernel = Preprocessor(InputSpec.of(self._card.input), height, width, "BGR")
        member = self.members[self._name]
        self._kernel.run(frame, member.input, box)
        self._serial += 1
        member.submit(self._serial, t_ns)

    def suggest(self, member: str, scores: Any, t_capture_ns: int, t_ready_ns: int) -> None:
        """Take scores as they are: the largest wins, and numpy takes NaN for the largest."""
        if member == self._name and len(scores):
            self._follow(int(np.argmax(scores)))

    def decide(self, signals: Mapping[str, float], t_ns: int) -> BareDecision:
        """One step towards the target; it begins at the measured speed."""
        self._listen(self.members[self._name].poll())
        if self._command is None:
            self._command = self._target = signals["speed"]
        channel = self.config.channels[CHANNEL]
        step = self.config.guard.period_ms / 1000
        up, down = channel.rise * step, channel.fall * step
        self._command += min(max(self._target - self._command, -down), up)
        said = {"label": self._label, "votes": 1, "voters": 1}
        return BareDecision({CHANNEL: self._command}, {CHANNEL: said})

    def wait(self, timeout_s: float) -> None:
        """Block until the model has answered."""
        self._listen(self.members[self._name].wait(timeout_s))

    def close(self) -> None:
        """End the member."""
        for member in self.members.values():
            member.close()

    def _listen(self, result: Any) -> None:
        if result is not None:
            self._follow(int(np.argmax(self.members[self._name].scores)))

    def _follow(self, label: int) -> None:
        self._label = label
        meaning = self._means.get(self._card.labels[label], "hold")
        if not isinstance(meaning, str):
            self._target = float(meaning)
