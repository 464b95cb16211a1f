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
from edgeguard.lab.attacks.campaign import digest_of
from edgeguard.lab.attacks.cw import CarliniL2
from edgeguard.lab.attacks.jsma import JSMA
from edgeguard.lab.attacks.judge import Result, judge
from edgeguard.lab.attacks.threat import Threat
from edgeguard.lab.attacks.victim import Target, Victim, images
from edgeguard.lab.defences import distill
from edgeguard.lab.defences.bench import Bench, Frames
from edgeguard.lab.defences.card import Card
from edgeguard.lab.defences.detector import Share
from edgeguard.lab.defences.harness import Defended, examine
from edgeguard.lab.defences.static import BATCH, RADIUS, Attack
from edgeguard.lab.zoo import data, nets
from edgeguard.lab.zoo.adversarial import Scores
from edgeguard.lab.zoo.onnx_torch import OnnxNet
from edgeguard.zoo import models_dir

JSMA_AT_MOST, CW_AT_LEAST = 0.05, 0.99
PIXELS = 0.1  # share that JSMA may change


def make(bench: Bench, folder: Path) -> tuple[Path, float]:
    """The student's int8 file in `folder`, trained where it is not there yet; and what training it
    costs as a multiple of plain training."""
    how = recipe_of(bench)
    teacher = OnnxNet(bench.twin("distillation")).scores
    training, held = data.split(
        data.load_train(bench.root), data.read_split(models_dir() / "split.json")
    )
    file = file_of(bench, folder)
    if not file.exists():
        run = distill.fit(how, teacher, training, file.with_suffix(".pt"))
        distill.write(run, how, held.x[::5], file)
    return file, 1.0 + _dearer(how, teacher, training)


def recipe_of(bench: Bench) -> distill.Distillation:
    """How the student is made."""
    how = distill.Distillation(bench.member)
    return replace(how, epochs=2, every=12) if bench.quick else how


def file_of(bench: Bench, folder: Path) -> Path:
    """Where the student lies, and beside it the checkpoint that its training goes on from: the name
    carries a hash of recipe, teacher and source, so that no other request takes it for its own."""
    how, zoo = recipe_of(bench), Path(nets.__file__).parent
    sources = [Path(distill.__file__), *(zoo / f"{n}.py" for n in ("train", "nets", "augment"))]
    key = digest_of(sources, bench.twin("distillation"), repr(how).encode())
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
    own = bench.chosen.where(right)
    own = own.where(np.arange(min(len(own), 24 if bench.quick else 200)))
    blind = distill.Probabilities(victim)
    published = _attack(bench, blind, own, Published(JSMA(PIXELS)), Threat("l0", PIXELS))
    logits = _attack(bench, victim, own, JSMA(PIXELS), Threat("l0", PIXELS))
    cw = CarliniL2(60, 4, first=0.1)
    found = _attack(bench, victim, own, cw, Threat("l2"))
    same = bench.chosen.where(bench.right).where(np.arange(min(len(own), int(bench.right.sum()))))
    bare = _attack(bench, bench.victim, same, JSMA(PIXELS), Threat("l0", PIXELS))
    verdict = examine(Defended("distillation", blind, victim, own.pixels, own.y), RADIUS)
    at = f"defend.{bench.member}.distillation"
    jsma, hit = _share(published), _share(found)
    return Card(
        name="distillation", kind="training", member=bench.member, device_us=0.0, training=cost,
        clean_before=bench.clean(), clean_after=Share(int(right.sum()), len(right)),
        coverage=Share(len(right), len(right)), static={"jsma": jsma},
        adaptive={"jsma": _share(logits), "cw": hit},
        notes={
            "jsma": Figure(f"{at}.jsma", jsma.value, "1", jsma.n, jsma.interval,
                           f"<= {JSMA_AT_MOST:g}", jsma.value <= JSMA_AT_MOST),
            "cw": Figure(f"{at}.cw", hit.value, "1", hit.n, hit.interval,
                         f">= {CW_AT_LEAST:g}", hit.value >= CW_AT_LEAST),
            "jsma.undefended": _share(bare),
            "cw.l2_median": found.median_size,
            "verdict": str(verdict),
            "broken": float(verdict.broken),
        },
        loads=f"{file.name}, a member like any other",
    )  # fmt: skip


def _attack(bench: Bench, seen: Target, own: Frames, attack: Attack, threat: Threat) -> Result:
    """Batch by batch, then judged as one."""
    parts = []
    for at in range(0, len(own), BATCH):
        part = own.where(np.arange(at, min(at + BATCH, len(own))))
        parts.append(attack(seen, images(part.pixels), torch.from_numpy(part.y)))
        bench.advance(len(part))
    return judge(seen, own.pixels, own.y, torch.cat(parts), threat)


def _share(result: Result) -> Share:
    return Share(int(result.fooled.sum()), len(result.fooled))
