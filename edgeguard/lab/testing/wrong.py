# SPDX-License-Identifier: Apache-2.0
"""Which answers to a picture of a sign are wrong commands: above what the true sign allows.

A picture stands for every road that its sign may stand on, so anything may have been commanded
before it. Of what the members answer the vote may take a label as a raise, from less, or as a
lower, from more: on a road at 120 a 50 that is read as 80 lowers, and is wrong all the same. It
counts where either would be taken. A sign that commands nothing leaves the limit as it was (taken
to be ``HOLDING``): only a raise leads above that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeguard.config import GuardConfig
from edgeguard.config.fixed import ONE
from edgeguard.evidence.selective import Bools, Ints, vote
from edgeguard.lab.zoo.vote import Demand, demands

HOLDING = 50 / 3.6  # m/s in force where the true sign commands nothing
NEAR = 1e-3  # m/s, the same command


@dataclass(frozen=True)
class Rule:
    """What labels command, and what the vote asks for before it takes them.

    value float64 [labels], m/s, NaN: nothing; top: the largest command of the channel, m/s.
    """

    value: npt.NDArray[np.float64]
    top: float
    demand: dict[str, Demand]

    @classmethod
    def of(cls, config: GuardConfig, table: dict[str, Any]) -> Rule:
        """Of a guard and its policy table. Raises ConfigError without a channel of labels."""
        demand = demands(config, table)
        channels = enumerate(config.channels.values())
        number, channel = next((i, c) for i, c in channels if c.kind == "label")
        value = [row["value"] / ONE if row["channel"] == number else np.nan
                 for row in table["labels"]]  # fmt: skip
        return cls(np.array(value), channel.range.high, demand)

    def above(self, label: Ints, true: Ints) -> Bools:
        """Whether labels [N], -1 for none, command more than the true signs [N] allow."""
        limit = np.where(np.isnan(self.value[true]), HOLDING, self.value[true])
        with np.errstate(invalid="ignore"):
            return np.asarray((label >= 0) & (self.value[label] > limit + NEAR))

    def taken(self, label: Ints, certainty: Ints, operation: str) -> Ints:
        """The label [N] that the vote takes for an operation, -1 for none, of what M members say:
        label [N, M], -1 where one abstains, and certainty [N, M] Q0.16."""
        demand = self.demand[operation]
        votes = vote(label, certainty, demand.granted, demand.quorum)
        return np.where(votes.level >= demand.certainty, votes.winner, -1)

    def wrong(self, label: Ints, certainty: Ints, true: Ints) -> Bools:
        """Whether the vote takes a wrong command [N] from something that may be in force."""
        return self.raised(label, certainty, true) | self.lowered(label, certainty, true)

    def raised(self, label: Ints, certainty: Ints, true: Ints) -> Bools:
        """Whether it is taken where less is in force [N]."""
        return self.above(self.taken(label, certainty, "raise"), true)

    def lowered(self, label: Ints, certainty: Ints, true: Ints) -> Bools:
        """Whether it is taken where more is in force [N]."""
        taken = self.taken(label, certainty, "lower")
        with np.errstate(invalid="ignore"):
            from_more = ~np.isnan(self.value[true]) & (self.value[taken] < self.top - NEAR)
        return self.above(taken, true) & from_more

    def obeyed(self, label: Ints, certainty: Ints, true: Ints) -> Bools:
        """Whether the vote comes down to what the sign allows, or below [N], from whatever more is
        in force."""
        taken = self.taken(label, certainty, "lower")
        commands = (taken >= 0) & ~np.isnan(self.value[taken])
        return commands & ~self.above(taken, true)
