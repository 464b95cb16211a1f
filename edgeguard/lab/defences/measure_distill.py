# SPDX-License-Identifier: Apache-2.0
"""The card of distillation: JSMA as it was published, and Carlini & Wagner on the same file.

The textbook case of a defence that only an adaptive attack shows to be none: both bars are to hold
at once, and the harness has to say so.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import attrs
import numpy as np
import torch
from torch import Tensor

from edgeguard.figures import Figure
from edgeguard.lab.attacks.cw import CarliniL2
from edgeguard.lab.attacks.jsma import JSMA
from edgeguard.lab.attacks.threat import Threat
from edgeguard.lab.attacks.victim import Target, Victim
from edgeguard.lab.defences import distill, once
from edgeguard.lab.defences.bench import Bench
from edgeguard.lab.defences.card import Card
from edgeguard.lab.defences.detector import Share, share
from edgeguard.lab.defences.harness import Defended, examine
from edgeguard.lab.defences.static import RADIUS
from edgeguard.lab.zoo import data
from edgeguard.lab.zoo.adversarial import Scores
from edgeguard.lab.zoo.onnx_torch import OnnxNet

JSMA_AT_MOST, CW_AT_LEAST = 0.05, 0.99
PIXELS = 0.1  # share that JSMA may change
EXAMINED = 200  # pictures by which the harness judges the evaluation


def make(bench: Bench, folder: Path) -> tuple[Path, float]:
    """The student's int8 file in `folder`, trained where it is not there yet; and what training it
    costs as a multiple of plain training."""
    how = recipe_of(bench)
    teacher = OnnxNet(bench.twin("distillation")).scores
    training, file = bench.split[0], file_of(bench, folder)

    def write(to: Path) -> None:
        run = distill.fit(how, teacher, training, file.with_suffix(".pt"))
        distill.write(run, how, once.calibrating(bench), to)

    once.make(file, write)
    return file, 1.0 + _dearer(how, teacher, training)


def recipe_of(bench: Bench) -> distill.Distillation:
    """How the student is made."""
    how = distill.Distillation(bench.member)
    return replace(how, epochs=2, every=12) if bench.quick else how


def file_of(bench: Bench, folder: Path) -> Path:
    """Where the student lies, and beside it the checkpoint that its training goes on from. Raises
    EdgeguardError for a member without a float twin."""
    how, twin = recipe_of(bench), bench.twin("distillation")
    key = once.key_of(bench, [Path(distill.__file__)], twin, how)
    return folder / f"{how.name}.distilled-{key}.onnx"


def _dearer(how: distill.Distillation, teacher: Scores, images: data.Images) -> float:
    """CPU time of steps with a teacher over those without; the teacher itself costs 1 more."""
    few, once = images.where(np.arange(4 * how.batch)), replace(how, epochs=1, every=1)
    took = []
    for answers in (teacher, lambda x: torch.full((len(x), data.CLASSES), 1.0), teacher):
        begun = time.process_time()
        distill.fit(once, answers, few)
        took.append(time.process_time() - begun)
    return took[2] / took[1]  # the first only warms up


@dataclass(frozen=True)
class Published:
    """JSMA gives up where no pair of pixels is salient; the lab's goes on with the least bad pair,
    which on a picture without any gradient is painting it black at random."""

    inner: JSMA

    def __call__(self, victim: Target, x: Tensor, y: Tensor) -> Tensor:
        """Images [N, C, H, W]; clean where there is no gradient to begin with."""
        leaf = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(victim.scores(leaf).square().sum(), leaf)
        rows = torch.nonzero(gradient.flatten(1).any(1))[:, 0]
        made = x.clone()
        if len(rows):
            made[rows] = self.inner(victim, x[rows], y[rows])
        return made


def measure(bench: Bench, folder: Path) -> Card:
    """Train if need be, attack, judge on the deployed file."""
    file, cost = make(bench, folder)
    victim = Victim(file, bench.agreed, attrs.evolve(bench.card, file=file.name))
    labels = victim.labels(bench.chosen.pixels)
    right = labels == bench.chosen.y
    own, same = bench.attackable(right), bench.attackable(bench.right)
    few = min(len(own), len(same), 24) if bench.quick else min(len(own), len(same))
    own, same = own.where(np.arange(few)), same.where(np.arange(few))
    blind, pixels = distill.Probabilities(victim), Threat("l0", PIXELS)
    published = bench.attack(blind, own, Published(JSMA(PIXELS)), pixels)
    logits = bench.attack(victim, own, JSMA(PIXELS), pixels)
    found = bench.attack(victim, own, CarliniL2(60, 4, first=0.1), Threat("l2"))
    bare = bench.attack(bench.victim, same, JSMA(PIXELS), pixels)
    some = own.where(np.arange(min(few, EXAMINED)))
    verdict = examine(Defended("distillation", blind, victim, some.pixels, some.y), RADIUS)
    at = f"defend.{bench.member}.distillation"
    jsma, hit = share(published.fooled), share(found.fooled)
    return Card(
        name="distillation", kind="training", member=bench.member, device_us=0.0, training=cost,
        clean_before=bench.clean(), clean_after=share(right),
        coverage=Share(len(right), len(right)), static={"jsma": jsma},
        adaptive={"jsma": share(logits.fooled), "cw": hit},
        notes={
            "jsma": Figure(f"{at}.jsma", jsma.value, "1", jsma.n, jsma.interval,
                           f"<= {JSMA_AT_MOST:g}", jsma.value <= JSMA_AT_MOST),
            "cw": Figure(f"{at}.cw", hit.value, "1", hit.n, hit.interval,
                         f">= {CW_AT_LEAST:g}", hit.value >= CW_AT_LEAST),
            "jsma.undefended": share(bare.fooled),
            "cw.l2_median": found.median_size,
            "verdict": str(verdict),
            "broken": float(verdict.broken),
        },
        loads=f"{file.name}, a member like any other",
    )  # fmt: skip
