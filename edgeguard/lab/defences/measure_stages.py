# SPDX-License-Identifier: Apache-2.0
"""Cards of stages before the member: what they undo of a static attack, and of one that knows them.

A stage accepts every picture, so its coverage is 1 and it is held against the bare member, whose
own row is the static column without a stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

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
from edgeguard.lab.defences.static import BATCH, SteadyPGD

SHOWN = ("depth4", "median2", "median3", "jpeg50", "noise8")
EOT = 4  # draws for one gradient of an attack; its answer is judged by the majority of more


def measure(bench: Bench, name: str) -> Card:
    """The card of one stage of STAGES, or of "none"."""
    staged = bench.victim if name == "none" else Staged(bench.victim, STAGES[name])
    labels = staged.labels(bench.chosen.pixels)
    after = labels == bench.chosen.y
    was = after[bench.right]
    success = {}
    for attack, made in bench.attacked.items():
        wrong = staged.labels(made.pixels) != bench.chosen.y[bench.right]
        success[attack] = Share(int((wrong & was).sum()), int(was.sum()))
    own = bench.chosen.where(after)
    cost = 0.0
    if isinstance(staged, Staged):
        change, g = staged.stage.change, np.random.default_rng(0)
        cost = bench.per_picture_us(lambda pixels: change(pixels, g))
    return Card(
        name=f"stage.{name}", kind="stage", member=bench.member, device_us=cost, training=1.0,
        clean_before=bench.clean(), clean_after=Share(int(after.sum()), len(after)),
        coverage=Share(len(after), len(after)), static=success,
        adaptive=adaptive(bench, staged, own), loads=LOADS.get(name, "nothing: see its card"),
    )  # fmt: skip


LOADS = {
    "none": "nothing",
    **{name: "the kernel squeeze_*, on the crop before guard.suggest" for name in
       ("depth4", "median2", "median3")},
}  # fmt: skip


def adaptive(
    bench: Bench, staged: Target, own: Frames, radii: Mapping[str, float] = RADII
) -> dict[str, Share]:
    """PGD through the stage (BPDA, EOT), on the margin."""
    seen = replace(staged, draws=EOT) if isinstance(staged, Staged) else staged
    steps, found = (20 if bench.quick else 40), {}
    for name, radius in radii.items():
        threat = Threat("linf", radius)
        attack, hits = SteadyPGD(threat, steps, 2.5 / steps, margin), 0
        for at in range(0, len(own), BATCH):
            part = own.where(np.arange(at, min(at + BATCH, len(own))))
            adv = attack(seen, images(part.pixels), torch.from_numpy(part.y))
            hits += int(judge(staged, part.pixels, part.y, adv, threat).fooled.sum())
            bench.advance(len(part))
        found[name] = Share(hits, len(own))
    return found
