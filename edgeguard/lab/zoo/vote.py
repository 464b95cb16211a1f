# SPDX-License-Identifier: Apache-2.0
"""What the vote of the shipped guard is worth: its members, quorums and certainties.

Everything is counted as the core counts it: evidence by the kernel, plurality and quorum by
`edgeguard.evidence.selective.vote`, the policy from the guard.toml beside the models. One threshold
is chosen besides, on the calibration tracks only: the highest that still accepts WANTED_COVERAGE of
their frames, with the quorum of the operation that demands least.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeguard.config import GuardConfig, load, load_cards, model_path, policy_dict
from edgeguard.config.fixed import ONE
from edgeguard.config.vocabulary import OPERATIONS
from edgeguard.errors import ConfigError
from edgeguard.evidence.calibration import Member
from edgeguard.evidence.selective import Ints, Votes, vote
from edgeguard.figures import Figure
from edgeguard.lab.zoo import data, runners
from edgeguard.lab.zoo.figures import rate

BAR_ACCURACY = 0.995  # of what is accepted
BAR_COVERAGE = 0.95  # share that is accepted
WANTED_COVERAGE = 0.985  # share of the calibration frames that the chosen threshold accepts


@dataclass(frozen=True)
class Demand:
    """What an operation asks for: certainty Q0.16, quorum, and who may ask for it [M]."""

    certainty: int
    quorum: int
    granted: npt.NDArray[np.bool_]


class Ballots:
    """What the members of a guard said on N images: label, certainty (Q0.16), both [N, M]."""

    def __init__(self, policy: dict[str, Any], files: dict[str, Path], x: data.U8) -> None:
        """Run the int8 files of all members, each on its own runtime."""
        said = [_answers(row, files[row["name"]], x) for row in policy["members"]]
        self.label = np.stack([label for label, _ in said], axis=1)
        self.certainty = np.stack([certainty for _, certainty in said], axis=1)

    def votes(self, demand: Demand) -> Votes:
        """The joint decision on each image, and the highest threshold at which it stands."""
        return vote(self.label, self.certainty, demand.granted, demand.quorum)


def _answers(row: dict[str, Any], file: Path, x: data.U8) -> tuple[Ints, Ints]:
    spec = row["scores"]
    limits = {key: row[key] for key in ("max_rail", "min_distinct", "sum_min", "sum_max")}
    scores = runners.run(file, x)[0]
    member = Member(
        row["name"], scores, spec["kind"], spec["scale"], spec["zero_point"], limits=limits
    )
    evidence = member.evidence(spec["temperature"])
    return member.label(evidence), evidence["certainty"].astype(np.int64)


def demands(config: GuardConfig, policy: dict[str, Any]) -> dict[str, Demand]:
    """What raise and lower ask for on the guard's channel of labels. Raises ConfigError."""
    for name, row in zip(config.channels, policy["channels"], strict=True):
        if config.channels[name].kind != "label":
            continue
        may = [m.may_suggest.operations.get(name, ()) for m in config.members.values()]
        return {
            operation: Demand(
                row[operation]["certainty"],
                row[operation]["quorum"],
                np.array([operation in granted for granted in may]),
            )
            for operation in OPERATIONS
        }
    raise ConfigError(f"{config.source}: has no channel of labels to vote on")


def choose(votes: Votes) -> int:
    """The highest threshold, Q0.16, at which WANTED_COVERAGE of the frames is still accepted."""
    ranked = np.sort(votes.level)
    return max(0, int(ranked[int((1 - WANTED_COVERAGE) * len(ranked))]))


def vote_figures(
    models: Path, calibration: data.Images | None, test: data.Images
) -> tuple[list[Figure], str]:
    """The figures of the vote, and in words which threshold the selective ones are of.

    Without calibration images it is the certainty that guard.toml asks for. Raises ConfigError.
    """
    config = load(models / "guard.toml")
    cards = load_cards(config)
    policy = policy_dict(config, cards)
    files = {name: model_path(config, name, card) for name, card in cards.items()}
    asked = demands(config, policy)
    least = min(asked.values(), key=lambda demand: (demand.quorum, demand.certainty))
    threshold, origin = least.certainty, "as guard.toml asks"
    if calibration is not None:
        threshold = choose(Ballots(policy, files, calibration.x).votes(least))
        origin = "chosen on the calibration tracks"
    ballots = Ballots(policy, files, test.x)
    votes = ballots.votes(least)
    found = [rate("gtsrb.vote.accuracy", int((votes.winner == test.y).sum()), len(test))]
    found += _accepted("gtsrb.vote", votes, test.y, threshold, (BAR_ACCURACY, BAR_COVERAGE))
    for name, demand in asked.items():
        found += _accepted(
            f"gtsrb.vote.{name}", ballots.votes(demand), test.y, demand.certainty, (None, None)
        )
    return (
        found,
        f"vote: {least.quorum} members with a certainty of {threshold / ONE:.4f}, {origin}",
    )


def _accepted(
    name: str, votes: Votes, y: Ints, threshold: int, bars: tuple[float | None, float | None]
) -> list[Figure]:
    taken = votes.level >= threshold
    right = taken & (votes.winner == y)
    accepted = int(taken.sum())
    return [
        rate(f"{name}.selective_accuracy", int(right.sum()), accepted, bars[0]),
        rate(f"{name}.coverage", accepted, len(y), bars[1]),
    ]
