# SPDX-License-Identifier: Apache-2.0
"""What the vote of the three members is worth: plurality, quorum and calibrated certainty.

An image is accepted when at least ``QUORUM`` members name the same label, each with a certainty
not below its own threshold. The thresholds come from the calibration tracks only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeguard.lab.zoo import data
from edgeguard.lab.zoo.figures import Figure, rate
from edgeguard.lab.zoo.runners import Model

QUORUM = 2
BAR_ACCURACY = 0.995  # of what is accepted
BAR_COVERAGE = 0.95  # share that is accepted
WANTED_COVERAGE = 0.985  # share of the calibration frames that the thresholds may not go below

I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Ballots:
    """What the members said: labels int64 [M, N] and certainties float32 [M, N]."""

    labels: I64
    certainty: F32

    @classmethod
    def of(cls, members: list[Model], x: data.U8) -> Ballots:
        """Run the int8 files of all members, each on its own runtime."""
        said = [member.certainty(member.logits(x)) for member in members]
        return cls(np.stack([label for label, _ in said]), np.stack([p for _, p in said]))


def plurality(ballots: Ballots) -> I64:
    """The label with most votes; among equals the one with the greater sum of certainties. [N]"""
    weight = np.zeros((ballots.labels.shape[1], data.CLASSES))
    for label, p in zip(ballots.labels, ballots.certainty, strict=True):
        weight[np.arange(len(label)), label] += 1.0 + p / 100.0
    winner: I64 = weight.argmax(1)
    return winner


def accepted(ballots: Ballots, thresholds: F32) -> tuple[I64, npt.NDArray[np.bool_]]:
    """Label [N] of the certain votes and whether a quorum of members stands behind it [N]."""
    sure = ballots.certainty >= thresholds[:, None]
    votes = np.zeros((ballots.labels.shape[1], data.CLASSES), np.int64)
    for label, counts in zip(ballots.labels, sure, strict=True):
        votes[np.arange(len(label)), label] += counts
    return votes.argmax(1), votes.max(1) >= QUORUM


def choose_thresholds(ballots: Ballots) -> F32:
    """Thresholds [M] from calibration frames: each member's certainty at one common quantile, the
    highest at which WANTED_COVERAGE of the frames is still accepted."""
    best = np.zeros(len(ballots.certainty), np.float32)
    for quantile in np.linspace(0.0, 0.2, 81):
        thresholds = np.quantile(ballots.certainty, quantile, axis=1).astype(np.float32)
        _, taken = accepted(ballots, thresholds)
        if taken.mean() < WANTED_COVERAGE:
            break
        best = thresholds
    return best


def vote_figures(
    models: Path, calibration: data.Images, test: data.Images
) -> tuple[list[Figure], F32]:
    """The three figures of the vote, and the thresholds that gave them."""
    members = [Model.load(models, name) for name in ("plain", "compact", "robust")]
    thresholds = choose_thresholds(Ballots.of(members, calibration.x))
    ballots = Ballots.of(members, test.x)
    raw = plurality(ballots) == test.y
    label, taken = accepted(ballots, thresholds)
    right = (label == test.y) & taken
    return [
        rate("gtsrb.vote.accuracy", int(raw.sum()), len(test)),
        rate("gtsrb.vote.selective_accuracy", int(right.sum()), int(taken.sum()), BAR_ACCURACY),
        rate("gtsrb.vote.coverage", int(taken.sum()), len(test), BAR_COVERAGE),
    ], thresholds
