# SPDX-License-Identifier: Apache-2.0
"""The real guard at rest on each command that a sign puts in force, ready to be shown pictures.

A picture is dangerous only where something above its true sign's command can be commanded; a sign
that commands nothing is met at 50 km/h.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from edgeguard.lab.attacks.guard_box import GuardBox, Verdict
from edgeguard.lab.attacks.guarded import GuardedTarget
from edgeguard.lab.attacks.losses import margin
from edgeguard.lab.attacks.victim import U8, Ints, images

HOLDING = 50 / 3.6  # m/s in force where the true sign commands nothing
PREFIX, SEEN = 6, 60  # clean pictures that bring the guard to rest, and of how many they are chosen
SPEED = 8.0  # m/s, for signals that the policy declares


class Resting:
    """Guards are started when their command is first asked for. Close it, or use it in a `with`."""

    def __init__(self, target: GuardedTarget, own: tuple[U8, Ints]) -> None:
        """own: pictures [M, C, H, W] with labels [M], from which the clean prefixes are taken."""
        self.target, self.own = target, own
        self._boxes: dict[float, GuardBox | None] = {}

    def __enter__(self) -> Resting:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the members."""
        for box in self._boxes.values():
            if box is not None:
                box.close()
        self._boxes.clear()

    def groups(self, y: Ints) -> Iterator[tuple[float, Ints]]:
        """Commands in force, and the rows of y [N] that are met while they are; without those above
        which nothing is commanded, or for which no picture brings the guard to rest."""
        value = self.target.value[y]
        allowed = np.where(np.isnan(value), HOLDING, value)
        for command in np.unique(allowed):
            if self._higher(command) and self.at(float(command)) is not None:
                yield float(command), np.flatnonzero(allowed == command)

    def at(self, command: float) -> GuardBox | None:
        """The guard while this command is in force; None: no clean picture puts it there."""
        if command not in self._boxes:
            prefix = self._prefix(command)
            self._boxes[command] = (
                None if prefix is None else GuardBox(self.target.policy, prefix, SPEED)
            )
        return self._boxes[command]

    def verdicts(self, pixels: U8, y: Ints) -> list[Verdict | None]:
        """What the guard does with each picture [N, C, H, W] of a sign y [N]; None: not judged."""
        found: list[Verdict | None] = [None] * len(y)
        for command, rows in self.groups(y):
            box = self.at(command)
            assert box is not None
            for row, verdict in zip(rows, box.ask(pixels[rows]), strict=True):
                found[row] = verdict
        return found

    def _higher(self, command: float) -> bool:
        with np.errstate(invalid="ignore"):
            return bool((self.target.value > command + 1e-3).any())

    def _prefix(self, command: float) -> U8 | None:
        """Clean pictures of a sign with this command that every member is sure of."""
        with np.errstate(invalid="ignore"):
            labels = np.flatnonzero(np.abs(self.target.value - command) < 0.02)
        x, y = self.own
        for label in labels:
            some = x[y == label][:SEEN]
            if len(some) < PREFIX:
                continue
            with torch.no_grad():
                sure = torch.stack([
                    -margin(v.scores(images(some)), torch.full((len(some),), int(label)))
                    for v in self.target.victims.values()
                ]).amin(0)  # fmt: skip
            best = sure.argsort(descending=True)[:PREFIX].numpy()
            if float(sure[int(best[-1])]) > 0:
                return np.ascontiguousarray(some[best])
        return None
