# SPDX-License-Identifier: Apache-2.0
"""The largest certainty that a member's scores can say, and whether an operation asks for more."""

from __future__ import annotations

import math
from collections.abc import Mapping

from edgeguard.card import Card
from edgeguard.config import schema
from edgeguard.config.draft import Draft
from edgeguard.config.fixed import ONE, q16_ceil

_SPAN = 255  # steps of an int8 or uint8 from its lowest to its highest
_UPPER = {"int8": 127, "uint8": 255}


def check(made: Draft, cards: Mapping[str, Card], temperatures: Mapping[str, float]) -> None:
    """Report every operation for whose certainty its quorum of members cannot be found.

    temperatures: from the calibration file, by member; the others have that of their card.
    """
    if len(cards) < len(made.names["member"]):
        return
    most = {
        n: most_certain(card, temperatures.get(n, card.temperature)) for n, card in cards.items()
    }
    for name, channel in made.channels.items():
        for operation, demand in channel.demands.items():
            granted = {
                n: most[n]
                for n, member in made.members.items()
                if operation in member.may_suggest.operations.get(name, ())
            }
            _operation(made, cards, name, operation, demand, granted)


def _operation(
    made: Draft, cards: Mapping[str, Card], channel: str, operation: str, demand: schema.Demand,
    granted: Mapping[str, float],
) -> None:  # fmt: skip
    if isinstance(demand.certainty, str) or len(granted) < demand.quorum:
        return  # reported already
    # a certainty is rounded to the nearest step: half a step less is enough
    wanted = (q16_ceil(demand.certainty) - 0.5) / ONE
    short = [n for n, reach in granted.items() if reach < wanted]
    if len(granted) - len(short) >= demand.quorum:
        return
    said = ", ".join(
        f"{n} says {_down(granted[n]):g} at most ({cards[n].scores.dtype} {cards[n].scores.kind})"
        for n in short
    )
    made.report.add(
        ("channel", channel, operation, "certainty"),
        f"is {demand.certainty:g}, but {said}: the quorum of {demand.quorum} could never be"
        f" reached, and no model would {operation} this channel; ask for less, run `edgeguard"
        " calibrate` for a temperature that fits, or export float32 scores",
    )


def _down(share: float) -> float:
    """Rounded so that it can be asked for."""
    return math.floor(share * 10_000) / 10_000


def most_certain(card: Card, temperature: float) -> float:
    """No answer of this model has a larger certainty in native/kernels/evidence.cpp, which adds up
    floats of 32 bits; 1 where nothing limits it."""
    scores = card.scores
    if card.task != "classifier" or scores.dtype == "float32":
        return 1.0
    exact = _logits if scores.kind == "logits" else _probabilities
    # n / 8 additions in each of 8 lanes, within 2^-24; the rest is for e^z, within 2 ULP
    rounding: float = (scores.size + 64) * 2.0**-26
    return min(1.0, exact(card, temperature) * (1.0 + rounding))


def _logits(card: Card, temperature: float) -> float:
    """One score at the top of its integers, all others at the bottom."""
    scores = card.scores
    return 1.0 / (1.0 + (scores.size - 1) * math.exp(-_SPAN * scores.scale / temperature))


def _probabilities(card: Card, temperature: float) -> float:
    """One score at the top, all others 0. Mass that is missing is given to nobody, so a temperature
    below 1 gains by a step of probability on each of so many others as are missing."""
    n, step = card.scores.size, card.scores.scale
    top = step * (_UPPER[card.scores.dtype] - card.scores.zero_point)
    missing = (1.0 - top) / step if temperature < 1.0 else 0.0
    if top <= 0.0:  # it can say 0 alone
        return 0.0
    if top >= 1.0 or missing > n - 1:
        return 1.0
    rest: float = (step / top) ** (1.0 / temperature)
    last = math.ceil(missing)
    # up to the last but one it only rises or only falls; the last may bring the sum above 1
    return max(min(1.0, top + m * step) / (1.0 + m * rest) for m in {0, last, max(last - 1, 0)})
