# SPDX-License-Identifier: Apache-2.0
"""Three steering networks of different kinds, each with at most 60,000 parameters.

They differ in what they see (grey or colour, what size), in how they are built, and in what they
were trained on, so that one flaw does not fell all three.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


class Steerer(nn.Module):
    """Features, an embedding, and one number in -1 to 1."""

    def __init__(self, features: nn.Module, wide: int, embedding: int) -> None:
        super().__init__()
        self.features = features
        self.embed = nn.Sequential(nn.Linear(wide, embedding), nn.ReLU())
        self.head = nn.Linear(embedding, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[N, C, H, W] in 0 to 1 -> steering [N, 1], embedding [N, E]."""
        embedding = self.embed(self.features(x).flatten(1))
        return self.head(embedding), embedding


def _conv(entry: int, out: int, size: int, stride: int, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(entry, out, size, stride, size // 2, groups=groups), nn.ReLU())


def grey() -> Steerer:
    """Strided convolutions on 42x48 grey."""
    features = nn.Sequential(_conv(1, 12, 5, 2), _conv(12, 20, 3, 2), _conv(20, 28, 3, 2))
    return Steerer(features, 28 * 6 * 6, 32)


def colour() -> Steerer:
    """Depthwise separable convolutions on 48x48 RGB."""
    layers: list[nn.Module] = [_conv(3, 12, 3, 2)]
    for entry, out, stride in ((12, 24, 2), (24, 32, 2), (32, 48, 1)):
        layers += [_conv(entry, entry, 3, stride, entry), _conv(entry, out, 1, 1)]
    return Steerer(nn.Sequential(*layers), 48 * 6 * 6, 24)


def hard() -> Steerer:
    """Pooled convolutions on 32x40 RGB; trained on frames changed against it."""
    features = nn.Sequential(
        _conv(3, 16, 3, 1), nn.MaxPool2d(2), _conv(16, 24, 3, 1), nn.MaxPool2d(2),
        _conv(24, 24, 3, 1), nn.MaxPool2d(2),
    )  # fmt: skip
    return Steerer(features, 24 * 4 * 5, 48)


@dataclass(frozen=True)
class Kind:
    """A member: its network, what it sees, and what its training does to the frames."""

    name: str
    make: type | object = field(repr=False)  # it prints with its address
    size: tuple[int, int]
    colour: str
    radius: float
    """Of adversarial changes in training, in 1/255; 0: none."""
    runtime: str


KINDS = {
    "grey": Kind("grey", grey, (42, 48), "GRAY", 0.0, "onnx"),
    "colour": Kind("colour", colour, (48, 48), "RGB", 0.0, "litert"),
    "hard": Kind("hard", hard, (32, 40), "RGB", 4.0, "onnx"),
}


def parameters(net: nn.Module) -> int:
    """How many numbers it has."""
    return sum(p.numel() for p in net.parameters())


def fresh(kind: Kind, seed: int) -> Steerer:
    """An untrained one."""
    torch.manual_seed(seed)
    made: Steerer = kind.make()  # type: ignore[operator]
    return made
