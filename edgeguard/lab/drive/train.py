# SPDX-License-Identifier: Apache-2.0
"""Behaviour cloning: from the frames of `record` to three trained networks."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import track
from torch import Tensor
from torch.nn import functional

from edgeguard.intake.preprocess import InputSpec, Preprocessor
from edgeguard.lab.drive.nets import Kind, Steerer, fresh

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


def train(
    kind: Kind, x: U8, y: npt.NDArray[np.float32], held: tuple[U8, npt.NDArray[np.float32]],
    epochs: int, seed: int,
) -> Trained:  # fmt: skip
    """x uint8 [N, C, H, W], y [N]; flips double the data; held chooses nothing, it reports."""
    started = time.monotonic()
    net = fresh(kind, seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=DECAY)
    steps = epochs * (len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    rng = np.random.default_rng(seed)
    data, labels = torch.from_numpy(x), torch.from_numpy(y)
    for _ in track(range(epochs), f"{kind.name}: epochs"):
        order = rng.permutation(len(x))[: len(x) // BATCH * BATCH]
        for at in order.reshape(-1, BATCH):
            picture = data[at].float() / 255
            want = labels[at].clone()
            picture, want = _augmented(picture, want, rng)
            if kind.radius:
                picture = _worse(net, picture, want, kind.radius / 255)
            loss = functional.smooth_l1_loss(net(picture)[0][:, 0], want, beta=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return Trained(net.eval(), time.monotonic() - started, rms(net, *held))


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


def save(trained: Trained, path: Path) -> None:
    """Weights and figures, to export from."""
    state: dict[str, Any] = {"net": trained.net.state_dict(), "rms": trained.held_rms,
                             "seconds": trained.seconds}  # fmt: skip
    torch.save(state, path)
