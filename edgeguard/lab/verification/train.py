# SPDX-License-Identifier: Apache-2.0
"""A member that can be verified: trained so that interval bounds around images stay on one side.

The loss is (1 - share) * cross entropy + share * cross entropy of the worst scores over a box
(Gowal et al. 2018, "On the Effectiveness of Interval Bound Propagation"). Radius and share rise
slowly; weights start so that boxes neither grow nor shrink (Shi et al. 2021).
``python -m edgeguard.lab.verification.train`` makes models/gtsrb/certified.* again.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from edgeguard.errors import EdgeguardError
from edgeguard.lab.verification import boxes, exact_scales
from edgeguard.lab.zoo import cards, data, nets, quantize_onnx, runners
from edgeguard.lab.zoo.augment import Augment
from edgeguard.lab.zoo.make import checkpoint_of
from edgeguard.lab.zoo.train import Run, as_tensor, batches, follow, made_with, prepare

NAME = "certified"
LIGHT = Augment(
    degrees=7, scale=0.1, shift=0.06, shear=0.05, perspective=0.03, gain=(0.75, 1.4), offset=0.05,
    gamma=0.15, tint=0.05, blur=0.0, coarse=0.0, noise=0.0, erase=0.0,
)  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """Everything that a run depends on besides the data; radii in [0, 1] units."""

    name: str = NAME
    seed: int = 41
    batch: int = 128
    balance: float = 0.35
    epochs: int = 26
    lr: float = 1.5e-3
    radius: float = 2.4 / 255  # of each image's box, drawn between 0.4 of it and all of it
    share: float = 0.4  # of the worst-case loss at the end
    ramp: tuple[float, float] = (0.02, 0.5)  # radius and share rise between these parts of the run
    average: float = 0.998

    def at(self, done: float) -> tuple[float, float, float]:
        """Learning rate, radius and share after a part ``done`` (0..1) of the run."""
        start, end = self.ramp
        risen = min(1.0, max(0.0, (done - start) / (end - start)))
        rate = self.lr * min(1.0, 0.1 + done / start)
        if done > end:
            rate *= 0.01 + 0.99 * (1 + math.cos(math.pi * (done - end) / (1 - end))) / 2
        return rate, self.radius * risen, self.share * risen

    def sentence(self) -> str:
        """For the card."""
        start, end = (round(100 * part) for part in self.ramp)
        return (
            f"{self.epochs} epochs planned; Adam, batch {self.batch}, lr {self.lr:g}, a cosine "
            f"from {end} % on; loss "
            f"{1 - self.share:g} clean + {self.share:g} worst case over boxes of 0.4 to 1 times "
            f"{self.radius * 255:.1f}/255, both rising from {start} to {end} %; weight average "
            f"{self.average:g}; short scales, weights within -64..64"
        )


def certified() -> nets.Classifier:
    """Wide and flat, strides in place of pooling: a box grows with every layer. 229k parameters."""
    features = nn.Sequential(
        nets.rectified(3, 32, 5, 2), nets.rectified(32, 64, 3, 2), nets.rectified(64, 64, 3, 2)
    )
    embed = nn.Sequential(
        nn.Flatten(), nn.Linear(64 * 16, 160, bias=False), nn.BatchNorm1d(160), nn.ReLU()
    )
    return nets.Classifier(features, embed, 160, 0.0)


def start(recipe: Recipe) -> Run:
    """A fresh run: weights that keep boxes, Adam."""
    net = certified()
    boxes.initialise(net, torch.Generator().manual_seed(recipe.seed))
    average = certified().requires_grad_(False).eval()
    average.load_state_dict(net.state_dict())
    net, average = (m.to(memory_format=torch.channels_last) for m in (net, average))
    return Run(net, average, torch.optim.Adam(net.parameters(), lr=recipe.lr))


def loss_of(net: nets.Classifier, x: Tensor, y: Tensor, radius: Tensor, share: float) -> Tensor:
    """Clean and worst-case cross entropy."""
    low, high = (x - radius).clamp(0, 1), (x + radius).clamp(0, 1)
    scores, centre, spread = boxes.forward(net, x, low, high)
    clean = functional.cross_entropy(scores, y)
    if share == 0.0:
        return clean
    worst = boxes.worst_scores(net.head, centre, spread, y)
    return (1 - share) * clean + share * functional.cross_entropy(worst, y)


def one_epoch(run: Run, recipe: Recipe, x: Tensor, y: Tensor) -> float:
    """Train one epoch; returns the mean loss."""
    g = torch.Generator().manual_seed(recipe.seed * 1000 + run.epoch)
    total, steps = 0.0, len(y) // recipe.batch
    run.net.train()
    shown = tqdm(batches(y, recipe, g), total=steps, desc=f"{NAME} {run.epoch}", mininterval=10)
    for step, index in enumerate(shown):
        lr, radius, share = recipe.at((run.epoch + step / steps) / recipe.epochs)
        for group in run.optimizer.param_groups:
            group["lr"] = lr
        images, labels = LIGHT(x[index].float().div_(255.0), y[index], g)
        images = images.contiguous(memory_format=torch.channels_last)
        radii = radius * (0.4 + 0.6 * torch.rand(len(images), 1, 1, 1, generator=g))
        loss = loss_of(run.net, images, labels, radii, share)
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(run.net.parameters(), 8.0)
        run.optimizer.step()
        follow(run.average, run.net, min(recipe.average, 1 - 1 / (1 + run.epoch * steps + step)))
        total += loss.item()
    return total / steps


@torch.no_grad()
def validate(net: nets.Classifier, held: data.Images) -> dict[str, float]:
    """On every fifth frame of the calibration tracks: clean, and certified by boxes at 1 and 2."""
    x, y = as_tensor(held.where(torch.arange(0, len(held), 5).numpy()))
    x = x.float().div_(255.0)
    net.eval()
    found = {}
    for grey in (0, 1, 2):
        radius = grey / 255
        right = 0
        for images, labels in zip(torch.split(x, 256), torch.split(y, 256), strict=True):
            box = (images - radius).clamp(0, 1), (images + radius).clamp(0, 1)
            _, centre, spread = boxes.forward(net, images, *box)
            worst = boxes.worst_scores(net.head, centre, spread, labels)
            right += int((worst.scatter(1, labels[:, None], -torch.inf).amax(1) < 0).sum())
        found["clean" if grey == 0 else f"box{grey}"] = right / len(y)
    return found


def fit(recipe: Recipe, training: data.Images, held: data.Images, checkpoint: Path) -> Run:
    """Train to the end of the recipe, going on from ``checkpoint`` if it exists. Raises
    EdgeguardError for one that was made with another recipe, split or data."""
    run = start(recipe)
    run.made_with = made_with(recipe, training, held)
    if checkpoint.exists():
        run.load(checkpoint)
    x, y = as_tensor(training)
    while run.epoch < recipe.epochs:
        begun = time.perf_counter()
        loss = one_epoch(run, recipe, x, y)
        run.seconds += time.perf_counter() - begun
        run.epoch += 1
        figures = {"epoch": run.epoch, "loss": loss, **validate(run.average, held)}
        run.history.append(figures)
        run.save(checkpoint)
        shown = " ".join(f"{k} {v:.4f}" for k, v in figures.items())
        print(f"{NAME} {shown} {run.seconds:.0f} s", flush=True)
    return run


def publish(run: Run, recipe: Recipe, given: cards.Material, folder: Path) -> dict[str, Any]:
    """Write int8 file, float twin, golden vectors and card into ``folder``, all or none."""
    with cards.all_or_none(folder) as workshop:
        return make_files(run, recipe, given, workshop)


def make_files(run: Run, recipe: Recipe, given: cards.Material, folder: Path) -> dict[str, Any]:
    """As ``zoo.cards.make_files``, with short scales."""
    file, twin = folder / f"{NAME}.onnx", folder / f"{NAME}.float.onnx"
    frames = runners.chw(runners.to_float(given.held.x[::5]))
    quantize_onnx.export_float(nets.folded(run.average), twin)
    quantize_onnx.quantize_onnx(twin, file, frames)
    exact_scales.make_exact(twin, file)
    ends = quantize_onnx.quantization(file)
    scores = runners.Affine(*ends["scores"])
    logits = scores.dequantize(runners.run(file, given.held.x)[0])
    golden = cards.write_golden(file, given.held, folder)
    card = {
        "name": NAME,
        "task": "classifier",
        "runtime": "onnx",
        "file": file.name,
        "sha256": runners.digest(file),
        "float_twin": twin.name,
        "float_twin_sha256": runners.digest(twin),
        "bytes": file.stat().st_size,
        "parameters": nets.parameters(run.average),
        "labels": "labels.json",
        "input": cards.describe_input("onnx", ends["image"]),
        "outputs": cards.describe_outputs(run.average.head.in_features, ends),
        "temperature": round(cards.fit_temperature(logits, given.held.y), 4),
        "golden": {"file": golden.name, "sha256": runners.digest(golden), "inputs": cards.GOLDEN},
        "training": {
            "data": "GTSRB train_32 without the calibration tracks and class 14 track 23",
            "split": "split.json",
            "seed": recipe.seed,
            "epochs": run.epoch,
            "seconds": round(run.seconds),
            "recipe": recipe.sentence(),
        },
        "accuracy": cards.describe_accuracy(file, twin, scores, given.test),
    }
    cards.write_json(folder / f"{NAME}.card.json", card)
    return card


@click.command()
@click.option("--data-dir", help="Folder that holds gtsrb/.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("models/gtsrb"))
@click.option("--checkpoints", type=click.Path(path_type=Path), default=Path(".zoo"))
@click.option("--epochs", type=click.IntRange(min=1), help="Instead of the recipe's.")
def main(data_dir: str | None, out: Path, checkpoints: Path, epochs: int | None) -> None:
    """Train the member, going on from its checkpoint, and write its files."""
    torch.set_num_threads(1)
    recipe = Recipe() if epochs is None else replace(Recipe(), epochs=epochs)
    try:
        root, training, held = prepare(data_dir, out)
    except FileNotFoundError as error:
        raise EdgeguardError(str(error)) from None
    checkpoint = checkpoint_of(NAME, epochs, checkpoints)
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    run = fit(recipe, training, held, checkpoint)
    test = data.load_file(root / "gtsrb" / "test_public_32.npz")
    card = publish(run, recipe, cards.Material(held, test, data.class_names(root)), out)
    print(card["accuracy"])


if __name__ == "__main__":
    main()
