# SPDX-License-Identifier: Apache-2.0
"""Cards of stages before the member: what they undo of a static attack, and of one that knows them.

A stage accepts every picture, so its coverage is 1 and it is held against the bare member, whose
own row is the static column without a stage.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from edgeguard.lab.attacks.judge import judge
from edgeguard.lab.attacks.losses import margin
from edgeguard.lab.attacks.threat import Threat
from edgeguard.lab.attacks.victim import Target, images
from edgeguard.lab.defences.bench import Bench, Frames
from edgeguard.lab.defences.card import Card
from edgeguard.lab.defences.detector import Share
from edgeguard.lab.defences.measure_detectors import RADII
from edgeguard.lab.defences.reconstruct import STAGES, Staged
from edgeguard.lab.defences.static import BATCH, RADIUS, SteadyPGD

SHOWN = ("depth4", "median2", "median3", "jpeg50", "noise8")
STARTS = 2  # of the attack, each from another random picture


def measure(bench: Bench, name: str) -> Card:
    """The card of one stage of STAGES, or of "none"."""
    staged = bench.victim if name == "none" else Staged(bench.victim, STAGES[name])
    labels = staged.labels(bench.chosen.pixels)
    after = labels == bench.chosen.y
    was, fell = after[bench.right], static(bench, staged)
    return Card(
        name=f"stage.{name}", kind="stage", member=bench.member, device_us=_cost_us(bench, staged),
        training=bench.training_multiple(),
        clean_before=bench.clean(), clean_after=Share(int(after.sum()), len(after)),
        coverage=Share(len(after), len(after)),
        static=shares(fell, was), adaptive=adaptive(bench, staged, after, fell),
        loads=LOADS.get(name, "nothing: see its card"),
    )  # fmt: skip


def _cost_us(bench: Bench, staged: Target) -> float:
    """Of what is measured: where the stage is random, the answer is the majority of all draws, and
    each draw is a run of the member. One change alone is too short to tell two runs apart by."""
    if not isinstance(staged, Staged):
        return 0.0
    if staged.stage.random:
        return bench.dearer_us(staged.labels)
    change, g = staged.stage.change, np.random.default_rng(0)
    return bench.per_picture_us(lambda pixels: change(pixels, g))


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
    return {name: Share(int(won[was].sum()), int(was.sum())) for name, won in fell.items()}


def adaptive(
    bench: Bench, target: Target, after: np.ndarray, fell: Mapping[str, np.ndarray],
    radii: Mapping[str, float] = RADII,
) -> dict[str, Share]:  # fmt: skip
    """PGD through the stage (BPDA; EOT over all draws), on the margin, from two starts; of the
    chosen pictures that are read rightly, `after` [N].

    The worst of all counts for each picture (E7): what fell within a radius has fallen within every
    larger one, and within 8/255 so has what a static attack had, `fell`. radii: rising.
    """
    own, found = bench.chosen.where(after), {}
    beaten = np.zeros(len(after), bool)
    beaten[np.flatnonzero(bench.right)] = fell["fgsm"] | fell["pgd"]
    won = np.zeros(len(own), bool)
    for name, radius in radii.items():
        if radius >= RADIUS:
            won |= beaten[after]
        for seed in range(STARTS):
            left = np.flatnonzero(~won)
            won[left] = _fooled(bench, target, own.where(left), radius, seed)
        found[name] = Share(int(won.sum()), len(own))
    return found


def _fooled(bench: Bench, target: Target, own: Frames, radius: float, seed: int) -> np.ndarray:
    """Whether the deployed target reads each attacked picture wrongly [N]."""
    threat, steps = Threat("linf", radius), 20 if bench.quick else 40
    attack, won = SteadyPGD(threat, steps, 2.5 / steps, margin, seed), np.zeros(len(own), bool)
    for at in range(0, len(own), BATCH):
        rows = np.arange(at, min(at + BATCH, len(own)))
        part = own.where(rows)
        adv = attack(target, images(part.pixels), torch.from_numpy(part.y))
        won[rows] = judge(target, part.pixels, part.y, adv, threat).fooled
        bench.advance(len(part))
    return won
