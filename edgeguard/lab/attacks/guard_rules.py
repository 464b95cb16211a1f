# SPDX-License-Identifier: Apache-2.0
"""What makes an evaluation of the whole guard invalid (E4, E5, E8)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from edgeguard.figures import Figure
from edgeguard.lab.attacks.campaign import MOST_FLAT, SLACK
from edgeguard.lab.attacks.guard_run import Hazard
from edgeguard.lab.zoo.figures import rate

REACHED = 0.95  # share that the largest radius has to fool


def figures(made: Sequence[Hazard]) -> tuple[list[Figure], list[str]]:
    """`guard.hazard.{rules_broken,zero_gradients}`, and the rules. made: by radius, the last so
    large that nothing withstands it; that one may be of fewer pictures."""
    first = made[0]
    flat = rate("guard.hazard.zero_gradients", first.count("flat"), first.accepted)
    broken = [rule for hazard in made for rule in _order(hazard)]
    for less, more in pairwise(made[:-1]):
        if less.hit > more.hit + _chance(more):
            broken.append(
                f"E4: {more.levels:g}/255 ({more.hit} of {more.accepted}) is weaker than"
                f" {less.levels:g}/255 ({less.hit}): the attack is broken"
            )
    last = made[-1]
    if last.hit < max(1, REACHED * last.accepted):
        broken.append(
            f"E4: even {last.levels:g}/255 fools only {last.hit} of {last.accepted}: the attack is"
            " too weak"
        )
    if flat.value > MOST_FLAT:
        broken.append(f"E5: {flat.value:.0%} of the images have no gradient: it is masked")
    if not first.accepted:
        broken.append("E8: the guard accepts no clean picture: there is no rate of nothing")
    return [Figure("guard.hazard.rules_broken", len(broken), "1", first.accepted), flat], broken


def _order(hazard: Hazard) -> list[str]:
    """Weaker attacks that are stronger than they may be at one radius."""
    broken, rows = [], hazard.rows
    for weaker, stronger in (("noise", "one_step"), ("one_step", "gradients")):
        less, more = hazard.count(weaker), hazard.count(stronger)
        if less > more + _chance(hazard):
            broken.append(
                f"E4: at {hazard.levels:g}/255 {weaker} ({less} of {hazard.accepted}) is stronger"
                f" than {stronger} ({more}): the stronger one is broken"
            )
    only = int((rows["accepted"] & rows["label_only"] & ~rows["gradients"]).sum())
    if only > _chance(hazard):
        broken.append(
            f"E4: at {hazard.levels:g}/255 {only} of {hazard.accepted} fall to answers alone and "
            "not to gradients: they are masked"
        )
    return broken


def _chance(hazard: Hazard) -> float:
    """By how many pictures a weaker attack may be ahead: a share, or one."""
    return max(1.0, SLACK * hazard.accepted)
