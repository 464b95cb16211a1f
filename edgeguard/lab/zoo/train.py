# SPDX-License-Identifier: Apache-2.0
"""The training loop of the zoo: one recipe, one network, resumable after every epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from edgeguard.errors import EdgeguardError
from edgeguard.lab.zoo import checkpoints, data, nets
from edgeguard.lab.zoo.adversarial import PGD, Linf, Target
from edgeguard.lab.zoo.augment import Augment


@dataclass(frozen=True)
class Attacked:
    """Adversarial training: the radius rises over ``ramp`` epochs, the steps by a schedule."""

    radius: float  # in [0, 1] units
    ramp: int  # epochs from 0 to the full radius
    steps: tuple[tuple[int, int], ...]  # (from % of the cycle, PGD steps), the last counts
    contrast: float | None = None  # and no more than this times the image's standard deviation

    def at(self, epoch: float, epochs: int) -> tuple[float, int]:
        """Radius and number of attack steps after so many epochs of the cycle."""
        share = 100 * epoch / epochs
        steps = [count for start, count in self.steps if share >= start][-1]
        return self.radius * min(1.0, (epoch + 0.4) / self.ramp), steps

    def ball(self, x: Tensor, radius: float) -> Linf:
        """The threat around images [N, 3, H, W]; a dark sign would drown in the full radius."""
        if self.contrast is None:
            return Linf(radius)
        spread = x.std(dim=(1, 2, 3), keepdim=True)
        return Linf((spread * self.contrast).clamp(0.5 / 255, radius))


@dataclass(frozen=True)
class Cycle:
    """One fall of the learning rate, from ``lr`` to almost nothing, and what is shown meanwhile."""

    epochs: int
    lr: float
    augment: Augment
    attacked: Attacked | None = None


@dataclass(frozen=True)
class Recipe:
    """Everything that a training run depends on besides the data."""

    name: str
    seed: int
    cycles: tuple[Cycle, ...]
    batch: int = 128
    weight_decay: float = 0.05
    smoothing: float = 0.05
    average: float = 0.998  # decay per step of the weight average that is exported
    balance: float = 0.35  # images of a class are drawn in proportion to (its size) ** -balance
    teacher: str | None = None  # a trained model whose soft labels are mixed in
    blend: float = 0.0  # share in the exported weights of those at the end of the first cycle

    @property
    def epochs(self) -> int:
        """Epochs of all cycles."""
        return sum(cycle.epochs for cycle in self.cycles)

    def at(self, epoch: float) -> tuple[Cycle, float]:
        """The cycle that an epoch lies in, and how many epochs of it are done."""
        for cycle in self.cycles[:-1]:
            if epoch < cycle.epochs:
                return cycle, epoch
            epoch -= cycle.epochs
        return self.cycles[-1], epoch


# What the calibration tracks showed to be hard: shadows, glare, loss of colour, odd distances.
HARD = Augment(
    degrees=15,
    scale=0.24,
    shear=0.15,
    gain=(0.2, 2.4),
    tint=0.2,
    grey=0.2,
    shadow=0.4,
    coarse=0.2,
    noise=0.05,
)

# The robust net failed in the dark, where a perturbation of a few grey levels is all there is.
DARK = Augment(
    degrees=12,
    scale=0.18,
    perspective=0.05,
    gain=(0.12, 1.8),
    tint=0.15,
    grey=0.1,
    shadow=0.25,
    blur=0.3,
    erase=0.0,
)

RECIPES = {
    "plain": Recipe(
        "plain",
        seed=11,
        cycles=(
            Cycle(16, 3e-3, Augment()),
            Cycle(12, 2e-3, HARD),
            Cycle(9, 2e-3, replace(HARD, gain=(0.12, 2.4), blur=0.6, coarse=0.3)),
        ),
    ),
    "compact": Recipe(
        "compact",
        seed=23,
        cycles=(
            Cycle(
                24,
                5e-3,
                replace(
                    HARD, degrees=12, scale=0.18, shear=0.1, erase=0.0, noise=0.03, coarse=0.15
                ),
            ),
            Cycle(
                10, 3e-3, replace(HARD, degrees=12, scale=0.18, shear=0.1, erase=0.0, noise=0.03)
            ),
            Cycle(
                16, 3e-3, replace(HARD, degrees=12, scale=0.18, shear=0.1, erase=0.0, noise=0.03)
            ),
        ),
        weight_decay=0.01,
        smoothing=0.0,
        teacher="plain",
    ),
    "robust": Recipe(
        "robust",
        seed=37,
        blend=0.3,
        cycles=(
            Cycle(
                19,
                3e-3,
                Augment(
                    degrees=10,
                    scale=0.13,
                    shear=0.08,
                    perspective=0.05,
                    gain=(0.5, 1.5),
                    blur=0.3,
                    coarse=0.1,
                    erase=0.0,
                ),
                Attacked(radius=4.2 / 255, ramp=5, steps=((0, 1), (80, 2))),
            ),
            Cycle(
                3, 1.5e-3, DARK, Attacked(radius=3.6 / 255, ramp=1, steps=((0, 1),), contrast=0.35)
            ),
            Cycle(3, 1e-3, DARK, Attacked(radius=4.6 / 255, ramp=1, steps=((0, 1),), contrast=0.7)),
        ),
    ),
}


@dataclass
class Run:
    """State of a training run; all of it is in the checkpoint, with what it was made with."""

    net: nets.Classifier
    average: nets.Classifier
    optimizer: torch.optim.Optimizer
    epoch: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    made_with: checkpoints.MadeWith = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write the checkpoint."""
        state = {
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "seconds": self.seconds,
            "history": self.history,
        }
        checkpoints.save(path, state, self.made_with)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint. Raises EdgeguardError for one of another run."""
        state = checkpoints.load(path, self.made_with)
        self.net.load_state_dict(state["net"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.seconds, self.history = state["epoch"], state["seconds"], state["history"]


def start(recipe: Recipe) -> Run:
    """A fresh run: seeded weights, AdamW without decay on norms and biases."""
    torch.manual_seed(recipe.seed)
    net = nets.build(recipe.name)
    average = nets.build(recipe.name, frozen=True)
    average.load_state_dict(net.state_dict())
    decayed = [p for p in net.parameters() if p.ndim > 1]
    rest = [p for p in net.parameters() if p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    return Run(net, average, torch.optim.AdamW(groups, lr=recipe.cycles[0].lr))


def as_tensor(images: data.Images) -> tuple[Tensor, Tensor]:
    """uint8 [N, 3, 32, 32] and labels [N]."""
    return torch.from_numpy(images.x.transpose(0, 3, 1, 2).copy()), torch.from_numpy(images.y)


def batches(y: Tensor, recipe: Recipe, g: torch.Generator) -> Iterator[Tensor]:
    """Indices of an epoch's batches, rare classes drawn a little more often."""
    sizes = torch.bincount(y, minlength=data.CLASSES).double()
    weights = sizes.pow(-recipe.balance)[y]
    order = torch.multinomial(weights, len(y), replacement=True, generator=g)
    yield from torch.split(order[: len(y) // recipe.batch * recipe.batch], recipe.batch)


def learning_rate(cycle: Cycle, done: float) -> float:
    """Linear warm-up over 8 % of the cycle, then a cosine to almost nothing; ``done`` in 0..1."""
    if done < 0.08:
        return cycle.lr * (0.1 + 0.9 * done / 0.08)
    return cycle.lr * (0.01 + 0.99 * (1 + math.cos(math.pi * (done - 0.08) / 0.92)) / 2)


def perturbed(
    net: nets.Classifier, x: Tensor, y: Tensor, ball: Linf, pgd_steps: tuple[int, torch.Generator]
) -> Tensor:
    """Images of the adversary: random start, then one large or several smaller steps."""
    steps, g = pgd_steps
    pgd = PGD(steps=steps, step=1.25 if steps == 1 else 1.5 / steps)
    net.requires_grad_(False)
    found = pgd.ascend(Target(lambda images: net(images)[0]), x, y, ball, g)
    net.requires_grad_(True)
    return found


def one_epoch(run: Run, recipe: Recipe, x: Tensor, y: Tensor, teacher: nn.Module | None) -> float:
    """Train one epoch; returns the mean loss."""
    g = torch.Generator().manual_seed(recipe.seed * 1000 + run.epoch)
    torch.manual_seed(recipe.seed * 1000 + run.epoch)
    total, count, steps = 0.0, 0, len(y) // recipe.batch
    run.net.train()
    for step, index in enumerate(
        tqdm(batches(y, recipe, g), total=steps, desc=f"{recipe.name} {run.epoch}", mininterval=10)
    ):
        cycle, at = recipe.at(run.epoch + step / steps)
        for group in run.optimizer.param_groups:
            group["lr"] = learning_rate(cycle, at / cycle.epochs)
        images, labels = cycle.augment(x[index].float().div_(255.0), y[index], g)
        images = images.contiguous(memory_format=torch.channels_last)
        if cycle.attacked:
            radius, attack_steps = cycle.attacked.at(at, cycle.epochs)
            ball = cycle.attacked.ball(images, radius)
            images = perturbed(run.net, images, labels, ball, (attack_steps, g))
        loss = loss_of(run.net(images)[0], labels, images, recipe, teacher)
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(run.net.parameters(), 5.0)
        run.optimizer.step()
        follow(run.average, run.net, min(recipe.average, 1 - 1 / (1 + run.epoch * steps + step)))
        total, count = total + loss.item(), count + 1
    return total / count


def loss_of(
    scores: Tensor, labels: Tensor, images: Tensor, recipe: Recipe, teacher: nn.Module | None
) -> Tensor:
    """Cross entropy, half of it against the teacher's soft labels where there is one."""
    hard = functional.cross_entropy(scores, labels, label_smoothing=recipe.smoothing)
    if teacher is None:
        return hard
    with torch.no_grad():
        soft = torch.softmax(teacher(images)[0] / 2.0, 1)
    return 0.4 * hard + 0.6 * functional.cross_entropy(scores / 2.0, soft) * 2.0


@torch.no_grad()
def follow(average: nn.Module, net: nn.Module, decay: float) -> None:
    """Move the averaged weights and statistics a little towards the trained ones."""
    old = [t for t in average.state_dict().values() if t.is_floating_point()]
    new = [t for t in net.state_dict().values() if t.is_floating_point()]
    torch._foreach_lerp_(old, new, 1 - decay)


def validate(net: nets.Classifier, recipe: Recipe, held: data.Images) -> dict[str, float]:
    """Accuracy on the calibration tracks, and under a short attack where the recipe knows one."""
    x, y = as_tensor(held.where(np.arange(0, len(held), 3)))
    net.eval()
    with torch.no_grad():
        right = torch.cat([net(b.float() / 255)[0].argmax(1) for b in torch.split(x, 512)]) == y
    figures = {"clean": right.float().mean().item()}
    if recipe.cycles[-1].attacked:
        pick = torch.arange(0, len(y), max(1, len(y) // 250))
        target = Target(lambda images: net(images)[0])
        for grey in (2, 4):
            _, margin = PGD(steps=7, step=0.35, restarts=1)(
                target, x[pick].float() / 255, y[pick], Linf(grey / 255)
            )
            figures[f"pgd{grey}"] = (margin > 0).float().mean().item()
    return figures


def made_with(recipe: object, training: data.Images, held: data.Images) -> checkpoints.MadeWith:
    """What a run depends on: recipe with seed, tracks that are set aside, training frames."""
    split = np.unique(held.track)
    return checkpoints.made_with(recipe, split=split, images=training.x, labels=training.y)


def teacher_of(recipe: Recipe, kept: Path, given: checkpoints.MadeWith) -> nets.Classifier | None:
    """The network that the recipe learns from, trained to the end of its own recipe on what the
    pupil is ``given``. Raises EdgeguardError when there is none."""
    if recipe.teacher is None:
        return None
    checkpoint = kept / f"{recipe.teacher}.pt"
    if not checkpoint.exists():
        raise EdgeguardError(
            f"{checkpoint}: not there; {recipe.name} learns from {recipe.teacher}: train that first"
        )
    wanted = RECIPES[recipe.teacher]
    state = checkpoints.load(checkpoint, given | checkpoints.made_with(wanted))
    if state["epoch"] < wanted.epochs:
        raise EdgeguardError(
            f"{checkpoint}: is trained {state['epoch']} of {wanted.epochs} epochs; {recipe.name} "
            f"learns from {recipe.teacher}: train that to its end first"
        )
    teacher = nets.build(recipe.teacher, frozen=True)
    teacher.load_state_dict(state["average"])
    return teacher


def fit(
    recipe: Recipe, training: data.Images, held: data.Images, checkpoint: Path, kept: Path
) -> Run:
    """Train to the end of the recipe, going on from ``checkpoint`` if it exists; ``kept``: where
    the checkpoint of its teacher lies. Raises EdgeguardError where either is of another run."""
    run = start(recipe)
    run.made_with = made_with(recipe, training, held)
    if checkpoint.exists():
        run.load(checkpoint)
    teacher = teacher_of(recipe, kept, run.made_with)
    first = checkpoint.with_name(f"{recipe.name}-first.pt")
    x, y = as_tensor(training)
    while run.epoch < recipe.epochs:
        begun = time.perf_counter()
        loss = one_epoch(run, recipe, x, y, teacher)
        run.seconds += time.perf_counter() - begun
        run.epoch += 1
        figures = {"epoch": run.epoch, "loss": loss, **validate(run.average, recipe, held)}
        run.history.append(figures)
        run.save(checkpoint)
        if run.epoch == recipe.cycles[0].epochs and recipe.blend:
            run.save(first)
        shown = " ".join(f"{k} {v:.4f}" for k, v in figures.items())
        print(f"{recipe.name} {shown} {run.seconds:.0f} s", flush=True)
    if recipe.blend:
        earlier = checkpoints.load(first, run.made_with)["average"]
        run.average.load_state_dict(blended(run.average.state_dict(), earlier, recipe.blend))
    return run


def blended(late: dict[str, Tensor], early: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Weights between two stages of a run; ``share`` is that of the earlier."""
    return {
        key: torch.lerp(value, early[key], share) if value.is_floating_point() else value
        for key, value in late.items()
    }


def prepare(data_dir: str | Path | None, out_dir: Path) -> tuple[Path, data.Images, data.Images]:
    """Data root, training and calibration frames; writes split.json where there is none."""
    root = data.data_root(data_dir)
    images = data.load_train(root)
    path = out_dir / "split.json"
    if not path.exists():
        out_dir.mkdir(parents=True, exist_ok=True)
        data.write_split(path, data.choose_calibration(np.asarray(images.track)))
    training, held = data.split(images, data.read_split(path))
    return root, training, held


def recipe_for(name: str, epochs: int | None) -> Recipe:
    """The recipe of a member; on request one cycle of another length (to try things)."""
    if name not in RECIPES:
        raise ValueError(f"{name}: no such model; there are {', '.join(RECIPES)}")
    recipe = RECIPES[name]
    return (
        replace(recipe, cycles=(replace(recipe.cycles[-1], epochs=epochs),)) if epochs else recipe
    )
