# SPDX-License-Identifier: Apache-2.0
"""Cards of stages before the member: what they undo of a static attack, and of one that knows them.

A stage accepts every picture, so its coverage is 1 and it is held against the bare member, whose
own row is the static column without a stage.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgeguard.lab.attacks.apgd import APGD
from edgeguard.lab.attacks.cw import CarliniL2
from edgeguard.lab.attacks.losses import margin
from edgeguard.lab.attacks.pgd import PGD
from edgeguard.lab.attacks.threat import Threat
from edgeguard.lab.attacks.victim import Target
from edgeguard.lab.defences.bench import Bench
from edgeguard.lab.defences.card import Card
from edgeguard.lab.defences.detector import Share, share
from edgeguard.lab.defences.measure_detectors import RADII
from edgeguard.lab.defences.reconstruct import STAGES, Staged
from edgeguard.lab.defences.static import RADIUS, Attack, SteadyPGD

STARTS = 2  # of each attack, each from another random picture


def measure(bench: Bench, name: str) -> Card:
    """The card of one stage of STAGES, or of "none"."""
    staged = bench.victim if name == "none" else Staged(bench.victim, STAGES[name])
    labels = staged.labels(bench.chosen.pixels)
    after = labels == bench.chosen.y
    was, fell = after[bench.right], static(bench, staged)
    cw, norm = carlini(bench, staged, after)
    return Card(
        name=f"stage.{name}", kind="stage", member=bench.member, device_us=cost_us(bench, staged),
        training=bench.training_multiple(),
        clean_before=bench.clean(), clean_after=share(after),
        coverage=Share(len(after), len(after)),
        static=shares(fell, was), notes=norm,
        adaptive={**adaptive(bench, staged, after, fell), **cw},
        loads=LOADS.get(name, "nothing: see its card"),
    )  # fmt: skip


def cost_us(bench: Bench, staged: Target) -> float:
    """Of what is measured: where the stage is random, the answer is the majority of all draws, and
    each draw is a run of the member. One change alone is too short to tell two runs apart by."""
    if not isinstance(staged, Staged):
        return 0.0
    if _is_random(staged):
        return bench.dearer_us(staged.labels)
    change, g = staged.stage.change, np.random.default_rng(0)
    return bench.per_picture_us(lambda pixels: change(pixels, g))


def _is_random(target: Target) -> bool:
    return isinstance(target, Staged) and target.stage.random


def static(bench: Bench, target: Target) -> dict[str, np.ndarray]:
    """By attack on the bare member: whether the target reads its picture wrongly; of those that the
    bare member reads rightly [n]."""
    y = bench.chosen.y[bench.right]
    return {name: target.labels(made.pixels) != y for name, made in bench.attacked.items()}


LOADS = {
    "none": "nothing",
    **{name: "the kernel squeeze_*, on the crop before guard.suggest" for name in
       ("depth4", "median2", "median3")},
}  # fmt: skip


def shares(fell: Mapping[str, np.ndarray], was: np.ndarray) -> dict[str, Share]:
    """Of those that the target itself read rightly before, `was` [n]."""
    return {name: share(won[was]) for name, won in fell.items()}


def adaptive(
    bench: Bench, target: Target, after: np.ndarray, fell: Mapping[str, np.ndarray],
    radii: Mapping[str, float] = RADII,
) -> dict[str, Share]:  # fmt: skip
    """Attacks through the stage (BPDA; EOT over all draws), on the chosen pictures that are read
    rightly, `after` [N]. Raises EdgeguardError for none.

    The worst of all counts for each picture (E7): what fell within a radius has fallen within every
    larger one, and within 8/255 so has what a static attack had, `fell`. radii: rising.
    """
    own, found = bench.attackable(after), {}
    beaten = np.zeros(len(after), bool)
    beaten[np.flatnonzero(bench.right)] = fell["fgsm"] | fell["pgd"]
    won = np.zeros(len(own), bool)
    for name, radius in radii.items():
        if radius >= RADIUS:
            won |= beaten[after]
        threat = Threat("linf", radius)
        for attack in _attacks(threat, bench.quick, _is_random(target)):
            left = np.flatnonzero(~won)
            if len(left):
                won[left] = bench.attack(target, own.where(left), attack, threat).fooled
        found[name] = share(won)
    return found


def _attacks(threat: Threat, quick: bool, random: bool) -> list[Attack]:
    """PGD on the margin and APGD on DLR, which keep any wrong picture on their way. A random
    answer is drawn anew when it is judged, and a picture on the border is read rightly as often as
    not: there PGD that goes on to its end stands in for APGD."""
    steps = 20 if quick else 40
    made: list[Attack] = [PGD(threat, steps, 2.5 / steps, STARTS, margin)]
    if not random:
        return [*made, APGD(threat, steps, STARTS)]
    return [SteadyPGD(threat, steps, 2.5 / steps, margin, seed) for seed in range(STARTS)] + made


def carlini(
    bench: Bench, target: Target, after: np.ndarray
) -> tuple[dict[str, Share], dict[str, float]]:
    """C&W without a radius on every fourth picture that is read rightly, `after` [N]: its success
    and the median norm. Not through a random stage: its smallest change lies on the border."""
    if _is_random(target):
        return {}, {}
    own = bench.attackable(after)
    few = own.where(np.arange(0, len(own), 4))
    found = bench.attack(target, few, CarliniL2(60, 4, first=0.1), Threat("l2"))
    return {"cw": share(found.fooled)}, {"adaptive.cw.l2_median": found.median_size}
