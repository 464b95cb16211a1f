# SPDX-License-Identifier: Apache-2.0
"""What an attacker may do and know. Part of every result."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

NORMS = ("linf", "l2", "l0")
KNOWLEDGE = ("white-box", "transfer", "scores", "labels")
LEVELS = 255
SLACK = 1e-6  # of float32 sums
HALVINGS = 12  # of a change that rounding brought outside


@dataclass(frozen=True)
class Threat:
    """Images near x in a norm, inside the box [low, high]; `l0` counts pixels, all channels as
    one, as a share of the picture.

    radius: None where the attack looks for the smallest change by itself. queries: the most answers
    of the deployed model for each image, with knowledge `transfer` for all of them together; None:
    unlimited.
    """

    norm: str = "linf"
    radius: float | None = None
    low: float = 0.0
    high: float = 1.0
    transformations: tuple[str, ...] = ()
    knowledge: str = "white-box"
    queries: int | None = None

    def __post_init__(self) -> None:
        if self.norm not in NORMS or self.knowledge not in KNOWLEDGE:
            raise ValueError(
                f"norm {self.norm!r} of {NORMS}, knowledge {self.knowledge!r} of {KNOWLEDGE}"
            )

    @property
    def name(self) -> str:
        """For figure ids: linf.8, l2.3, l0.10, l2.min."""
        if self.radius is None:
            return f"{self.norm}.min"
        unit = {"linf": LEVELS, "l2": 1, "l0": 100}[self.norm]
        return f"{self.norm}.{self.radius * unit:g}"

    def sizes(self, delta: Tensor) -> Tensor:
        """The norm of each change [N, C, H, W], [N]."""
        if self.norm == "linf":
            return delta.abs().flatten(1).amax(1)
        if self.norm == "l2":
            return delta.flatten(1).norm(dim=1)
        changed: Tensor = (delta != 0).any(1).flatten(1).float().mean(1)
        return changed

    def allows(self, delta: Tensor) -> Tensor:
        """Whether each change is inside the radius, [N]."""
        sizes = self.sizes(delta)
        return torch.ones_like(sizes, dtype=torch.bool) if self.radius is None else (
            sizes <= self.radius + SLACK
        )  # fmt: skip

    def project(self, adv: Tensor, x: Tensor) -> Tensor:
        """The nearest image inside the ball around x and the box (linf, l2)."""
        delta = adv - x
        radius = self.bound
        if self.norm == "linf":
            delta = delta.clamp(-radius, radius)
        else:
            sizes = delta.flatten(1).norm(dim=1).clamp_min(1e-12)
            delta = delta * (radius / sizes).clamp_max(1.0)[:, None, None, None]
        return (x + delta).clamp(self.low, self.high)

    def start(self, x: Tensor, g: Generator) -> Tensor:
        """A random image of the ball."""
        if self.norm == "linf":
            return self.project(x + (torch.rand(x.shape, generator=g) * 2 - 1) * self.bound, x)
        noise = self.steepest(torch.randn(x.shape, generator=g))
        return self.project(x + noise * self.bound * torch.rand(len(x), 1, 1, 1, generator=g), x)

    def corner(self, x: Tensor) -> Tensor:
        """A random image at the end of the ball (linf): the control of every attack (E4)."""
        g = torch.Generator().manual_seed(0)
        signs = torch.randint(0, 2, x.shape, generator=g) * 2 - 1
        return self.project(x + signs * self.bound, x)

    def steepest(self, gradient: Tensor) -> Tensor:
        """The direction of unit length in this norm that climbs fastest."""
        if self.norm == "linf":
            return gradient.sign()
        sizes = gradient.flatten(1).norm(dim=1).clamp_min(1e-12)
        return gradient / sizes[:, None, None, None]

    @property
    def bound(self) -> float:
        """The radius; ValueError where there is none, or none of this kind."""
        if self.radius is None or self.norm == "l0":
            raise ValueError(f"{self.name}: this attack needs a radius in linf or l2")
        return self.radius


def on_grid(x: Tensor) -> Tensor:
    """The nearest 8-bit picture."""
    return (x * LEVELS).round() / LEVELS


def towards(adv: Tensor, x: Tensor) -> Tensor:
    """The 8-bit picture next to adv on the side of x, which is one itself: no pixel is further."""
    steps = (adv - x) * LEVELS
    nearest = steps.round()
    steps = torch.where((steps - nearest).abs() < 1e-3, nearest, steps.trunc())
    return on_grid(x + steps / LEVELS)


def shrunk(adv: Tensor, x: Tensor, threat: Threat) -> Tensor:
    """8-bit pictures of the change adv - x, made smaller until its nearest picture is inside."""
    made, low = x.clone(), torch.zeros(len(x), 1, 1, 1)
    step = 0.5
    for _ in range(HALVINGS):
        tried = on_grid(x + (low + step) * (adv - x)).clamp(threat.low, threat.high)
        inside = threat.allows(tried - x)
        made[inside] = tried[inside]
        low[inside] += step
        step /= 2
    return made


def rounded(adv: Tensor, x: Tensor, threat: Threat) -> Tensor:
    """adv as 8-bit pictures inside the threat; where the nearest is outside, a little smaller in
    L2, where rounding adds to the norm, and each pixel rounded towards x in the other norms."""
    made = on_grid(adv).clamp(threat.low, threat.high)
    outside = ~threat.allows(made - x)
    if outside.any():
        closer = shrunk if threat.norm == "l2" else lambda a, b, _: towards(a, b)
        made[outside] = closer(adv[outside], x[outside], threat)
    return made
