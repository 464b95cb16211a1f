# SPDX-License-Identifier: Apache-2.0
"""What happens to what members say from the onset on: killed, no number, biased, in bursts.

What is wrong is wrong with all of them alike, so that they agree: no vote can see it. A bias is
added to their answers, errors and all; who is led astray says the rule's command and so much more.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, floor, inf

import numpy as np
import numpy.typing as npt

from edgeguard.card import Card
from edgeguard.streams.loops.fault import Fault, Make, Moment, Scores

ONE = ("grey",)
ALL = ("grey", "colour", "hard")


def killed(names: tuple[str, ...]) -> Make:
    """The process of these members ends."""
    return lambda seed: Fault(
        member=lambda card, scores, moment: None if card.name in names else scores
    )


def no_number(names: tuple[str, ...]) -> Make:
    """These members say NaN."""
    nan = np.array([np.nan], np.float32)
    return lambda seed: Fault(
        member=lambda card, scores, moment: nan if card.name in names else scores
    )


def shifted(by: Callable[[Moment], float]) -> Make:
    """So much is added to every member's steering; to the left or right by the seed's parity."""

    def make(seed: int) -> Fault:
        sign = 1.0 if seed % 2 else -1.0

        def tamper(card: Card, scores: Scores, moment: Moment) -> Scores:
            steps = scores.astype(np.float64) + sign * by(moment) / (card.scores.scale or 1.0)
            return _sane(steps, card, scores)

        return Fault(member=tamper)

    return make


def astray(by: float) -> Make:
    """Every member says the rule's steering, and so much more to one side: nothing is added to
    what it errs by itself, so it stays where it is below a limit."""

    def make(seed: int) -> Fault:
        sign = 1.0 if seed % 2 else -1.0

        def tamper(card: Card, scores: Scores, moment: Moment) -> Scores:
            says = (moment.signals["rule"] + sign * by) / (card.scores.scale or 1.0)
            return _sane(np.full(scores.shape, says + card.scores.zero_point), card, scores)

        return Fault(member=tamper)

    return make


def _sane(steps: npt.NDArray[np.float64], card: Card, like: Scores) -> Scores:
    """As raw scores, within what the card and the type can say."""
    return np.asarray(np.clip(np.rint(steps), *_ends(card, like)), like.dtype)


def _ends(card: Card, scores: Scores) -> tuple[int, int]:
    """The lowest and the highest raw answer that is sane: what lies further out would be found by
    the range alone, and no debounce, vote or rule would be tried."""
    low, high = card.value_range or (-inf, inf)
    scale, zero = card.scores.scale or 1.0, card.scores.zero_point
    limits = np.iinfo(scores.dtype)
    return ceil(max(limits.min, low / scale + zero)), floor(min(limits.max, high / scale + zero))


def bias(strength: float) -> Make:
    """The same on every step."""
    return shifted(lambda moment: strength)


def burst(steps: int) -> Make:
    """Hard over for so many steps, then nothing for nine times as long: a debounce that drains
    forgets it in between."""
    return shifted(lambda moment: 2.0 if moment.since % (10 * steps) < steps else 0.0)


MEMBERS: dict[str, Make] = {
    "kill one": killed(ONE),
    "kill all": killed(ALL),
    "NaN one": no_number(ONE),
    "NaN all": no_number(ALL),
    **{f"bias {b:g}": bias(b) for b in (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 1.0)},
    **{f"astray {b:g}": astray(b) for b in (0.2, 0.3, 0.35, 0.4)},
    **{f"burst {n}": burst(n) for n in range(1, 7)},
}
