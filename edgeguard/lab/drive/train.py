# SPDX-License-Identifier: Apache-2.0
"""Behaviour cloning: from the frames of `record` to three trained networks."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import track
from torch import Tensor
from torch.nn import functional

from edgeguard.intake.preprocess import InputSpec, Preprocessor
from edgeguard.lab.drive.nets import Kind, Steerer, fresh
from edgeguard.lab.zoo import checkpoints

BATCH, RATE, DECAY = 128, 2e-3, 1e-4
U8 = npt.NDArray[np.uint8]


@dataclass
class Trained:
    """A network and how it came about."""

    net: Steerer
    seconds: float
    held_rms: float
    """Root mean square error on held tracks, in full locks."""


def inputs(kind: Kind, frames: U8) -> U8:
    """Frames [N, 84, 96, 3] RGB as the guard's own kernel makes them: uint8 [N, C, H, W]."""
    channels = 1 if kind.colour == "GRAY" else 3
    spec = InputSpec(
        *kind.size, dtype="int8", scale=1 / 255, zero_point=-128, colour=kind.colour,
        mean=(0.0,) * channels, std=(1.0,) * channels,
    )  # fmt: skip
    run = Preprocessor(spec, *frames.shape[1:3], "RGB", statistics=False).run
    tensor = np.zeros(spec.shape, np.int8)
    made = np.zeros((len(frames), *spec.shape[1:]), np.uint8)
    from edgeguard._kernels import Health

    health = Health()
    for i, frame in enumerate(frames):
        run(frame, tensor, None, health)
        made[i] = (tensor[0].astype(np.int16) + 128).astype(np.uint8)
    return made


class Run:
    """A training run and what it learns from: x uint8 [N, C, H, W], steering y [N]. All of its
    state is in the checkpoint, so that a run that was stopped ends as one that was not."""

    def __init__(
        self, kind: Kind, x: U8, y: npt.NDArray[np.float32], epochs: int, seed: int
    ) -> None:
        self.kind, self.epochs = kind, epochs
        self.x, self.y = torch.from_numpy(x), torch.from_numpy(y)
        self.net = fresh(kind, seed)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=RATE, weight_decay=DECAY)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, RATE, total_steps=epochs * (len(x) // BATCH)
        )
        self.rng = np.random.default_rng(seed)
        self.epoch, self.seconds = 0, 0.0
        recipe = (kind, epochs, seed, BATCH, RATE, DECAY)
        self.made_with = checkpoints.made_with(recipe, frames=x, steering=y)

    def save(self, path: Path) -> None:
        """Write the checkpoint."""
        state = {
            "net": self.net.state_dict(), "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(), "epoch": self.epoch, "seconds": self.seconds,
            "numpy": self.rng.bit_generator.state, "torch": torch.get_rng_state(),
        }  # fmt: skip
        checkpoints.save(path, state, self.made_with)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint. Raises EdgeguardError for one of another run."""
        state = checkpoints.load(path, self.made_with)
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.epoch, self.seconds = state["epoch"], state["seconds"]
        self.rng.bit_generator.state = state["numpy"]
        torch.set_rng_state(state["torch"])

    def one_epoch(self) -> None:
        """Flips double the data."""
        begun = time.monotonic()
        order = self.rng.permutation(len(self.x))[: len(self.x) // BATCH * BATCH]
        for at in order.reshape(-1, BATCH):
            picture, want = _augmented(self.x[at].float() / 255, self.y[at].clone(), self.rng)
            if self.kind.radius:
                picture = _worse(self.net, picture, want, self.kind.radius / 255)
            loss = functional.smooth_l1_loss(self.net(picture)[0][:, 0], want, beta=0.1)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.schedule.step()
        self.epoch += 1
        self.seconds += time.monotonic() - begun


def train(run: Run, held: tuple[U8, npt.NDArray[np.float32]], checkpoint: Path) -> Trained:
    """To the end, going on from the checkpoint if it exists. held: frames and steering that choose
    nothing; they are reported on. Raises EdgeguardError for a checkpoint of another run."""
    if checkpoint.exists():
        run.load(checkpoint)
    for _ in track(range(run.epoch, run.epochs), f"{run.kind.name}: epochs"):
        run.one_epoch()
        run.save(checkpoint)
    return Trained(run.net.eval(), run.seconds, rms(run.net, *held))


def _augmented(x: Tensor, y: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Left is right for half of them; a little more or less light, a little noise."""
    flips = torch.from_numpy(rng.random(len(x)) < 0.5)
    x = torch.where(flips[:, None, None, None], x.flip(3), x)
    y = torch.where(flips, -y, y)
    gain = torch.from_numpy(rng.uniform(0.9, 1.1, (len(x), 1, 1, 1)).astype(np.float32))
    noise = torch.from_numpy(rng.normal(0, 0.01, x.shape).astype(np.float32))
    return (x * gain + noise).clamp(0, 1), y


def _worse(net: Steerer, x: Tensor, y: Tensor, radius: float) -> Tensor:
    """One step of the sign of the gradient from a random start (Wong et al. 2020)."""
    start = (x + torch.empty_like(x).uniform_(-radius, radius)).clamp(0, 1).requires_grad_()
    loss = functional.mse_loss(net(start)[0][:, 0], y)
    (gradient,) = torch.autograd.grad(loss, start)
    moved = start.detach() + 1.25 * radius * gradient.sign()
    return torch.min(torch.max(moved, x - radius), x + radius).clamp(0, 1)


@torch.no_grad()
def rms(net: Steerer, x: U8, y: npt.NDArray[np.float32]) -> float:
    """Error on frames."""
    net.eval()
    said = torch.cat([net(part.float() / 255)[0][:, 0] for part in torch.from_numpy(x).split(512)])
    return float(((said - torch.from_numpy(y)) ** 2).mean().sqrt())
