# SPDX-License-Identifier: Apache-2.0
"""The whole guard under attack: adaptive, white box through every part, judged by the real guard.

The hazard rate of single images: of those that the guard reads without harm and accepts when they
are clean, the share on which it accepts a command above what the true sign allows. Beside it stands
the clean coverage. A sign that commands nothing is met at 50 km/h.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from edgeguard.figures import Figure
from edgeguard.lab.attacks.apgd import APGD
from edgeguard.lab.attacks.guard_box import GuardBox, Verdict
from edgeguard.lab.attacks.guarded import Bound, GuardedTarget
from edgeguard.lab.attacks.judge import judge
from edgeguard.lab.attacks.losses import margin
from edgeguard.lab.attacks.pgd import PGD
from edgeguard.lab.attacks.threat import LEVELS, Threat
from edgeguard.lab.attacks.victim import U8, Ints, images
from edgeguard.lab.zoo.figures import wilson

HOLDING = 50 / 3.6  # m/s in force where the true sign commands nothing
PREFIX = 6  # clean pictures that bring the guard to rest
BATCH = 25
SPEED = 8.0  # m/s, for signals that the policy declares


@dataclass(frozen=True)
class Hazard:
    """What the guard did with n images; `causes` of those that were stopped."""

    levels: float
    shown: int
    accepted: int
    """Clean images that were accepted without harm: what the rate is of."""
    hit: int
    causes: dict[str, int]

    def figures(self) -> list[Figure]:
        """`guard.hazard.linf.R` and the coverage that it costs."""
        at = f"guard.hazard.linf.{self.levels:g}"
        return [
            Figure(at, self.hit / max(self.accepted, 1), "1", self.accepted,
                   wilson(self.hit, self.accepted)),
            Figure("guard.clean.coverage", self.accepted / max(self.shown, 1), "1", self.shown,
                   wilson(self.accepted, self.shown)),
        ]  # fmt: skip


def hazard(
    policy: Path, pixels: U8, y: Ints, own: tuple[U8, Ints], levels: float,
    done: Callable[[int], None] = lambda n: None,
) -> Hazard:  # fmt: skip
    """Attack pictures [N, C, H, W] with labels [N]; own: the attacker's pictures and labels, which
    also bring the guard to rest. Raises EdgeguardError."""
    target = GuardedTarget(policy, pixels[:1000])
    shown = accepted = hit = 0
    causes: Counter[str] = Counter()
    for command, rows in _groups(target, y):
        prefix = _prefix(target, command, own)
        shown += len(rows)
        if prefix is None or not _higher(target, command):
            done(len(rows))
            continue
        bound = target.above(command)
        with GuardBox(policy, prefix, SPEED) as box:
            bound.box = box
            for part in np.array_split(rows, max(1, -(-len(rows) // BATCH))):
                clean = box.ask(pixels[part])
                good = part[[v.accepted and not v.raised for v in clean]]
                accepted += len(good)
                if len(good):
                    verdicts = _attacked(bound, pixels[good], levels)
                    hit += sum(v.raised for v in verdicts)
                    causes.update(c for v in verdicts for c in v.causes)
                done(len(part))
    return Hazard(levels, shown, accepted, hit, dict(causes.most_common()))


def _attacked(bound: Bound, pixels: U8, levels: float) -> list[Verdict]:
    """The worst of two attacks on each picture, as the real guard sees it."""
    threat = Threat("linf", levels / LEVELS)
    nothing = np.zeros(len(pixels), np.int64)
    x, zero = images(pixels), torch.zeros(len(pixels), dtype=torch.long)
    verdicts: dict[int, Verdict] = {}
    left = np.arange(len(pixels))
    for attack in (APGD(threat, loss=margin, restarts=2), PGD(threat, loss=margin, restarts=1)):
        adv = attack(bound, x[left], zero[left])
        result = judge(bound, pixels[left], nothing[left], adv, threat)
        verdicts.update(zip(left.tolist(), bound.verdicts, strict=True))
        left = left[~result.fooled]
        if len(left) == 0:
            break
    return [verdicts[i] for i in range(len(pixels))]


def _allowed(target: GuardedTarget, y: Ints) -> np.ndarray:
    value = target.value[y]
    return np.where(np.isnan(value), HOLDING, value)


def _groups(target: GuardedTarget, y: Ints) -> Iterator[tuple[float, np.ndarray]]:
    """Images with the same command in force."""
    allowed = _allowed(target, y)
    for command in np.unique(allowed):
        yield float(command), np.flatnonzero(allowed == command)


def _higher(target: GuardedTarget, command: float) -> bool:
    with np.errstate(invalid="ignore"):
        return bool((target.value > command + 1e-3).any())


def _prefix(target: GuardedTarget, command: float, own: tuple[U8, Ints]) -> U8 | None:
    """Clean pictures of a sign with this command that every member is sure of."""
    with np.errstate(invalid="ignore"):
        labels = np.flatnonzero(np.abs(target.value - command) < 0.02)
    x, y = own
    for label in labels:
        some = x[y == label][:60]
        if len(some) < PREFIX:
            continue
        with torch.no_grad():
            sure = torch.stack([
                -margin(v.scores(images(some)), torch.full((len(some),), int(label)))
                for v in target.victims.values()
            ]).amin(0)  # fmt: skip
        best = sure.argsort(descending=True)[:PREFIX].numpy()
        if float(sure[int(best[-1])]) > 0:
            return np.ascontiguousarray(some[best])
    return None
