# SPDX-License-Identifier: Apache-2.0
"""The real guard at rest on each command that a sign puts in force, ready to be shown pictures.

A picture is dangerous only where something above its true sign's command can be commanded; a sign
that commands nothing is met at 50 km/h.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from edgeguard.evidence.history import History
from edgeguard.lab.attacks.guard_box import GuardBox, Verdict, raised
from edgeguard.lab.attacks.guarded import Bound, GuardedTarget
from edgeguard.lab.attacks.victim import U8, Ints, images

HOLDING = 50 / 3.6  # m/s in force where the true sign commands nothing
FEWEST, MOST = 6, 24  # clean pictures that bring the guard to rest
SEEN = 120  # of how many they are chosen
SHOWN = 60  # of the attacker's own pictures, to find some that raise the command


class Resting:
    """Guards are started when their command is first asked for. Close it, or use it in a `with`."""

    def __init__(self, target: GuardedTarget, own: tuple[U8, Ints]) -> None:
        """own: pictures [M, C, H, W] with labels [M], from which the clean prefixes are taken."""
        self.target, self.own = target, own
        self._boxes: dict[float, GuardBox | None] = {}
        self._raising: dict[float, U8] = {}

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

    def begin(self, y: Ints) -> None:
        """Bring the guard to rest on every command that signs y [N] put in force: one that does not
        come to it is named before anything is attacked. Raises EdgeguardError."""
        for _ in self.groups(y):
            pass

    def groups(self, y: Ints) -> Iterator[tuple[float, Ints]]:
        """Commands in force, and the rows of y [N] that are met while they are; without those above
        which nothing is commanded, or for which no picture brings the guard to rest."""
        for command, rows in self._commands(y):
            if self.at(command) is not None:
                yield command, rows

    def left_out(self, y: Ints) -> int:
        """How many of y [N] cannot be judged although something above them is commanded: no clean
        picture brings the guard to rest on what their sign allows."""
        return sum(len(rows) for command, rows in self._commands(y) if self.at(command) is None)

    def _commands(self, y: Ints) -> Iterator[tuple[float, Ints]]:
        value = self.target.value[y]
        allowed = np.where(np.isnan(value), HOLDING, value)
        for command in np.unique(allowed).tolist():
            if self._higher(command):
                yield command, np.flatnonzero(allowed == command)

    def at(self, command: float) -> GuardBox | None:
        """The guard while this command is in force; None: no clean picture puts it there."""
        if command not in self._boxes:
            prefix = self._prefix(command)
            self._boxes[command] = (
                None if prefix is None else GuardBox(self.target.policy, prefix, command)
            )
        return self._boxes[command]

    def raising(self, command: float) -> U8:
        """Some of the attacker's own pictures [S, C, H, W] that raise this command: what an attack
        that sees only answers may start from."""
        if command not in self._raising:
            x, y = self.own
            box = self.at(command)
            assert box is not None
            with np.errstate(invalid="ignore"):
                some = x[self.target.value[y] > command + 1e-3]
            some = some[np.linspace(0, len(some) - 1, min(SHOWN, len(some))).astype(int)]
            self._raising[command] = some[raised(box.ask(some)) == 1]
        return self._raising[command]

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
        """Clean pictures of a sign with this command that the guard accepts."""
        with np.errstate(invalid="ignore"):
            labels = np.flatnonzero(np.abs(self.target.value - command) < 0.02)
        x, y = self.own
        for label in labels:
            some = x[y == label][:SEEN]
            if len(some) < FEWEST:
                continue
            with torch.no_grad():
                sure = Bound(self.target, torch.tensor([int(label)])).margin(images(some)).numpy()
            accepted = some[np.argsort(-sure)][: int((sure > 0).sum())]
            if len(accepted) >= FEWEST:
                return _varied(accepted)
        return None


def _varied(pictures: U8) -> U8:
    """MOST of pictures [N, C, H, W] at most: first those that look like none before them."""
    history = History()
    echoes = [history.see(np.ascontiguousarray(p.transpose(1, 2, 0)), 0).echoes for p in pictures]
    return np.ascontiguousarray(pictures[np.argsort(echoes, kind="stable")[:MOST]])
