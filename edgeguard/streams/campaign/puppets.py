# SPDX-License-Identifier: Apache-2.0
"""A guard whose members say what a test wants, in the raw scores of their own cards."""

from __future__ import annotations

from random import Random
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from attrs import evolve, frozen

from edgeguard.card import Card
from edgeguard.config import GuardConfig, load_cards
from edgeguard.config.cards import label_list
from edgeguard.errors import EdgeguardError
from edgeguard.guard import Guard

SURE = 12.0  # logit of the label that is said, after temperature: certainty above 0.999
Scores = npt.NDArray[Any]


class Answer(NamedTuple):
    """What a member delivers, ordered by when."""

    ready_ns: int
    order: int
    member: str
    scores: Any
    capture_ns: int
    """As it was stamped then, whatever became of the clock since."""


def puppet_guard(config: GuardConfig, token: str | None = None) -> Guard:
    """The same policy; nobody but the campaign speaks for its members."""
    members = {n: evolve(m, runtime="external") for n, m in config.members.items()}
    return Guard(evolve(config, members=members), token)


@frozen
class Meaning:
    """The channel that is driven, and the labels that command something on it."""

    channel: str
    labels: tuple[tuple[int, float], ...]
    """(index, value) by rising value; at least two values. None that says stop, or less than the
    rules hold: rules that cannot see may hold their speed there, which no limit allows."""
    stops: tuple[tuple[int, float], ...]
    """Those."""


def meaning(config: GuardConfig) -> Meaning:
    """Raises EdgeguardError when no channel follows labels with at least two values that are no
    stop."""
    labels = label_list(load_cards(config))
    for name, channel in config.channels.items():
        floor = channel.fallback.parameters.get("floor", channel.stop)
        said = sorted(
            (float(value), labels.index(label))
            for label, value in channel.means.items()
            if not isinstance(value, str)
        )
        drives = tuple((i, v) for v, i in said if v != channel.stop and v >= floor)
        if channel.kind == "label" and len({value for _, value in drives}) > 1:
            stops = tuple((i, v) for v, i in said if (i, v) not in drives)
            return Meaning(name, drives, stops)
    raise EdgeguardError(
        f"{config.source}: --target host: wants a channel of kind label on which at least two"
        " classes command different values, neither of them its stop or below what the rules hold"
    )


def no_quorum(config: GuardConfig, name: str, lost: set[str]) -> bool:
    """Whether without these members no operation of a channel has its quorum."""
    channel = config.channels[name]
    least = min(demand.quorum for demand in channel.demands.values())
    members = config.members.items()
    granted = {m for m, member in members if name in member.may_suggest.operations}
    return len(granted - lost) < least


def say(card: Card, label: int, rng: Random) -> Scores:
    """Raw scores [n] of a member that is sure of a label."""
    spec = card.scores
    noise = np.array([rng.gauss(0.0, 0.4) for _ in range(spec.size)])
    logits = noise * card.temperature
    logits[label] = SURE * card.temperature
    if spec.kind == "probabilities":
        real = np.exp(SURE * (np.arange(spec.size) == label) + noise)
        real /= real.sum()
    else:
        real = logits
    if spec.dtype == "float32":
        return np.asarray(real, np.float32)
    dtype = np.dtype(spec.dtype)
    limits = np.iinfo(dtype)
    steps = np.round(real / spec.scale) + spec.zero_point
    # One step below the rail: a score at the rail is a fault of its own (F07).
    return np.asarray(np.clip(steps, limits.min, limits.max - 1), dtype)
