# SPDX-License-Identifier: Apache-2.0
"""A single member in the guard's place: what the vote is compared with.

It commands whatever it says with a certainty at or above one threshold. The attacker climbs that
certainty for any label above the command in force and never stops early, so one run answers for
all thresholds: hence the curve of hazard over clean coverage, and the hazard at the guard's own.
Labels and certainties are the evidence kernel's, on the scores of the deployed file.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from edgeguard.evidence.calibration import Member
from edgeguard.lab.attacks.apgd import APGD
from edgeguard.lab.attacks.corpus import Array, Handful
from edgeguard.lab.attacks.guarded import GuardedTarget, log_odds
from edgeguard.lab.attacks.judge import judge
from edgeguard.lab.attacks.losses import margin
from edgeguard.lab.attacks.pgd import PGD
from edgeguard.lab.attacks.threat import Threat
from edgeguard.lab.attacks.victim import U8, Ints, images

SURE = 11.0  # log odds of 1 - 2^-16: the certainty has no step above it


class Alone:
    """One member as a classifier of two classes: 1, it is as sure as can be of a label that
    commands more."""

    def __init__(self, target: GuardedTarget, name: str, command: float) -> None:
        self.victim = target.victims[name]
        self._row = target.row(name)
        self._command, self._value = command, target.value
        self._classes = target.above(command).classes

    def scores(self, x: Tensor) -> Tensor:
        """[N, 2]: 0, and how far the best label for the attacker is from the last certainty."""
        logits = self.victim.scores(x) / self._row["scores"]["temperature"]
        best = log_odds(logits, self._classes).amax(1) - SURE
        return torch.stack([torch.zeros_like(best), best], 1)

    def labels(self, pixels: U8) -> Ints:
        """1 where the file says a label that commands more, [N]."""
        return self.raises(self.said(pixels)[0]).astype(np.int64)

    def said(self, pixels: U8) -> tuple[Ints, Ints]:
        """Label, -1 where it abstains, and certainty Q0.16, both [N], as the core counts them."""
        row, spec = self._row, self._row["scores"]
        limits = {key: row[key] for key in ("max_rail", "min_distinct", "sum_min", "sum_max")}
        raw = self.victim.raw(self.victim.pixels.array(pixels))
        member = Member(row["name"], raw, spec["kind"], spec["scale"], spec["zero_point"],
                        limits=limits)  # fmt: skip
        evidence = member.evidence(spec["temperature"])
        return member.label(evidence), evidence["certainty"].astype(np.int64)

    def raises(self, labels: Ints) -> Array:
        """Whether each label [N] commands more than what is in force."""
        with np.errstate(invalid="ignore"):
            above: Array = self._value[labels] > self._command + 1e-3
        return above & (labels >= 0)


def attacked(alone: Alone, pixels: U8, y: Ints, threat: Threat) -> Handful:
    """A handful of the corpus with what the member said before and after: `clean_label`,
    `clean_certainty`, `certainty`, and `harmless`, whether it raised nothing when clean."""
    start = time.process_time()
    x, zero = images(pixels), torch.zeros(len(pixels), dtype=torch.long)
    best, value = pixels, np.full(len(pixels), -np.inf)
    for attack in (APGD(threat, loss=margin, restarts=2), PGD(threat, loss=margin, restarts=1)):
        made = judge(alone, pixels, zero.numpy(), attack(alone, x, zero), threat).pixels
        with torch.no_grad():
            found = alone.scores(images(made))[:, 1].numpy()
        better = found > value
        best = np.where(better[:, None, None, None], made, best)
        value = np.maximum(found, value)
    clean_label, clean_certainty = alone.said(pixels)
    label, certainty = alone.said(best)
    return {
        "clean": pixels, "pixels": best, "y": y, "label": label, "hit": alone.raises(label),
        "size": threat.sizes(images(best) - x).numpy(), "queries": np.zeros(len(y), np.int64),
        "cpu_s": np.full(len(y), (time.process_time() - start) / len(y)),
        "clean_label": clean_label, "clean_certainty": clean_certainty, "certainty": certainty,
        "harmless": ~alone.raises(clean_label) & (clean_label >= 0),
    }  # fmt: skip


@dataclass(frozen=True)
class At:
    """One threshold: of `shown` clean images `accepted` are, and `hit` of those raise a command
    once attacked."""

    threshold: float
    shown: int
    accepted: int
    hit: int

    @property
    def hazard(self) -> float:
        """Share of the accepted ones."""
        return self.hit / max(self.accepted, 1)

    @property
    def coverage(self) -> float:
        """Share of the clean images."""
        return self.accepted / max(self.shown, 1)


def at_coverage(rows: Handful, accepted: int, left_out: int = 0) -> At:
    """The strictest threshold that still accepts so many clean images; 0 where none does.
    left_out: images shown that nobody judged, accepted by nobody."""
    level = _level(rows)
    ranked = -np.sort(-level)
    at = _at(rows, max(0, int(ranked[accepted - 1])) if 0 < accepted <= len(level) else 0)
    return replace(at, shown=at.shown + left_out)


def curve(rows: Handful) -> list[At]:
    """Every threshold that accepts another share, from the strictest."""
    thresholds = np.unique(_level(rows))
    return [_at(rows, int(t)) for t in thresholds[thresholds >= 0][::-1]]


def _level(rows: Handful) -> Array:
    """The certainty [N] up to which the clean picture is accepted; -1 where it does harm."""
    return np.where(rows["harmless"], rows["clean_certainty"], -1)


def _at(rows: Handful, threshold: int) -> At:
    accepted = _level(rows) >= threshold
    hit = accepted & rows["hit"] & (rows["certainty"] >= threshold)
    return At(threshold / 65536, len(accepted), int(accepted.sum()), int(hit.sum()))
