# SPDX-License-Identifier: Apache-2.0
"""Network distillation with a temperature (Papernot, McDaniel, Wu, Jha, Swami; S&P 2016).

A teacher learns softmax(z / T) of the labels, a student of the same kind softmax(z / T) of the
teacher's answers; deployed, the student answers softmax(z). So its logits are T times as large as
those of a plain network, and its probabilities have no gradient that float32 holds: attacks that
follow the probabilities (JSMA as published) stand still, attacks that follow the logits do not
notice (Carlini & Wagner 2016, "Defensive distillation is not robust to adversarial examples").

Here h = z / T is what is trained, which is the same function and lets the optimizer's steps keep
their size; the head is multiplied by T when the file is written.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from edgeguard.lab.attacks.victim import U8, Ints, Target
from edgeguard.lab.zoo import data, nets, quantize_onnx, runners, train
from edgeguard.lab.zoo.adversarial import Scores
from edgeguard.lab.zoo.augment import Augment

SEED = 41


@dataclass(frozen=True)
class Distillation:
    """How a student is made. every: of the training frames, each so-many-th is used."""

    name: str = "plain"
    temperature: float = 100.0
    epochs: int = 12
    every: int = 3
    batch: int = 64
    lr: float = 3e-3

    @property
    def recipe(self) -> train.Recipe:
        """The zoo's training loop, but for the loss."""
        cycle = train.Cycle(self.epochs, self.lr, Augment(erase=0.0))
        return train.Recipe(self.name, SEED, (cycle,), batch=self.batch, average=0.99)


def soft_loss(h: Tensor, taught: Tensor) -> Tensor:
    """Cross entropy of softmax(h) to the teacher's probabilities [N, n]; both at temperature T."""
    return functional.cross_entropy(h, taught)


def fit(
    how: Distillation, teacher: Scores, images: data.Images, checkpoint: Path | None = None
) -> train.Run:
    """Train a student on the answers of a teacher, which gives h [N, n] of images [N, 3, H, W].

    Goes on from the checkpoint where there is one. The averaged weights are the result.
    """
    torch.set_num_threads(1)
    run = train.start(how.recipe)
    if checkpoint is not None and checkpoint.exists():
        run.load(checkpoint)
    x, y = train.as_tensor(images.where(np.arange(0, len(images), how.every)))
    while run.epoch < how.epochs:
        begun = time.perf_counter()
        loss = one_epoch(run, how, teacher, x, y)
        run.seconds += time.perf_counter() - begun
        run.epoch += 1
        run.history.append({"epoch": run.epoch, "loss": loss})
        if checkpoint is not None:
            run.save(checkpoint)
    return run


def one_epoch(run: train.Run, how: Distillation, teacher: Scores, x: Tensor, y: Tensor) -> float:
    """The mean loss of one pass; the teacher sees the picture that the student sees."""
    recipe = how.recipe
    g = torch.Generator().manual_seed(SEED * 1000 + run.epoch)
    torch.manual_seed(SEED * 1000 + run.epoch)
    cycle, steps, total = recipe.cycles[0], len(y) // recipe.batch, 0.0
    run.net.train()
    shown = tqdm(train.batches(y, recipe, g), total=steps, desc=f"distil {run.epoch}", leave=False)
    for step, index in enumerate(shown):
        for group in run.optimizer.param_groups:
            group["lr"] = train.learning_rate(cycle, (run.epoch + step / steps) / how.epochs)
        images, _ = cycle.augment(x[index].float() / 255, y[index], g)
        with torch.no_grad():
            taught = torch.softmax(teacher(images), 1)
        loss = soft_loss(run.net(images.contiguous(memory_format=torch.channels_last))[0], taught)
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(run.net.parameters(), 5.0)
        run.optimizer.step()
        train.follow(
            run.average, run.net, min(recipe.average, 1 - 1 / (2 + run.epoch * steps + step))
        )
        total += loss.item()
    return total / max(steps, 1)


def deployable(net: nets.Classifier, temperature: float) -> nets.Classifier:
    """A copy whose scores are z = T h."""
    made = nets.folded(net)
    with torch.no_grad():
        made.head.weight.mul_(temperature)
        made.head.bias.mul_(temperature)
    return made


def write(run: train.Run, how: Distillation, frames: data.U8, file: Path) -> None:
    """The int8 file, and its float twin beside it; frames uint8 [N, H, W, 3] calibrate it."""
    twin = file.with_suffix(".float.onnx")
    quantize_onnx.export_float(deployable(run.average, how.temperature), twin)
    quantize_onnx.quantize_onnx(twin, file, runners.chw(runners.to_float(frames)))


@dataclass(frozen=True)
class Probabilities:
    """A target for attacks that follow the probabilities, as those did that distillation was
    measured with: float32, so that a sure answer has no gradient."""

    model: Target

    def scores(self, x: Tensor) -> Tensor:
        """Probabilities [N, n]."""
        return self.model.scores(x).softmax(1)

    def labels(self, pixels: U8) -> Ints:
        """As deployed."""
        return self.model.labels(pixels)
