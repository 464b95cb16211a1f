# SPDX-License-Identifier: Apache-2.0
"""Samples made on one member, shown to the others and to the whole guard.

Counted are the samples that fooled the member which they were made on, where the other read the
clean picture rightly (the guard: accepted it without harm). A sample on which as many members as a
quorum needs agree on the same wrong answer is a common-mode failure of the vote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgeguard.figures import Figure
from edgeguard.lab.attacks import corpus
from edgeguard.lab.attacks.campaign import Outcome
from edgeguard.lab.attacks.corpus import Handful
from edgeguard.lab.attacks.resting import Resting
from edgeguard.lab.attacks.victim import U8, Ints, Target
from edgeguard.lab.zoo.figures import rate

CARRIED = ("pgd.linf.8", "cw_l2.l2.min")


def transfer(
    outcomes: Mapping[str, Sequence[Outcome]], victims: Mapping[str, Target],
    resting: Resting | None, quorum: int = 2,
) -> list[Figure]:  # fmt: skip
    """`attack.transfer.FROM.TO.ATTACK.THREAT` and `vote.common_mode.ATTACK.THREAT.FROM`.

    outcomes: what was made on each member; resting: the guard, asked as well where there is one,
    with its own quorum.
    """
    found: list[Figure] = []
    quorum = quorum if resting is None else resting.target.quorum
    if len(victims) < 2:
        return found
    for source, made in outcomes.items():
        for outcome in made:
            name = f"{outcome.job.name}.{outcome.job.threat.name}"
            if name in CARRIED and outcome.folder is not None and outcome.hit.any():
                rows = corpus.read(outcome.folder, len(outcome.hit))
                rows = {k: column[rows["hit"]] for k, column in rows.items()}
                found += _between(source, name, rows, victims, quorum)
                if resting is not None:
                    found.append(_to_guard(source, name, rows, resting))
    return found


def _between(
    source: str, name: str, rows: Handful, victims: Mapping[str, Target], quorum: int
) -> list[Figure]:
    y, found, said = rows["y"], [], []
    for to, victim in victims.items():
        right = victim.labels(rows["clean"]) == y
        said.append(victim.labels(rows["pixels"]))
        if to != source:
            fooled = int((said[-1][right] != y[right]).sum())
            found.append(rate(f"attack.transfer.{source}.{to}.{name}", fooled, int(right.sum())))
    common = _agreed(np.stack(said, 1), y, quorum)
    found.append(rate(f"vote.common_mode.{name}.{source}", int(common.sum()), len(y)))
    return found


def _agreed(said: Ints, y: Ints, quorum: int) -> np.ndarray:
    """Whether a quorum of the labels [N, M] is the same and not y [N]."""
    alike = (said[:, :, None] == said[:, None, :]).sum(2)
    return np.asarray(((alike >= quorum) & (said != y[:, None])).any(1))


def _to_guard(source: str, name: str, rows: Handful, resting: Resting) -> Figure:
    clean = resting.verdicts(rows["clean"], rows["y"])
    taken = np.array([v is not None and v.accepted and not v.raised for v in clean], bool)
    pixels: U8 = rows["pixels"][taken]
    after = resting.verdicts(pixels, rows["y"][taken])
    hit = sum(v is not None and v.raised for v in after)
    return rate(f"attack.transfer.{source}.guard.{name}", hit, int(taken.sum()))
