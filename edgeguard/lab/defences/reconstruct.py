# SPDX-License-Identifier: Apache-2.0
"""Stages that change the picture before the members see it: median, fewer bits, JPEG, noise.

`Staged` is the model behind a stage. Its gradient is that of the identity where the stage has none
(BPDA), and the mean over draws where the stage is random (EOT; Athalye, Carlini, Wagner 2018). Its
answer to a random stage is the majority of DRAWS.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from edgeguard.lab.attacks.victim import U8, Ints, Target, images, to_pixels
from edgeguard.lab.defences.squeeze import SQUEEZERS

DRAWS = 20  # auto-attack PR 105: one draw under-reports what an attack does to a random defence
QUALITY = 50  # of JPEG
SPREAD = 8  # grey levels, of the noise
Change = Callable[[U8, np.random.Generator], U8]


@dataclass(frozen=True)
class Stage:
    """Pictures [N, C, H, W] to pictures of the same shape."""

    name: str
    change: Change
    random: bool = False
    smooth: Callable[[Tensor], Tensor] | None = None
    """The same in torch where it has a gradient of its own."""


def _jpeg(pixels: U8, g: np.random.Generator) -> U8:
    made = np.empty_like(pixels)
    for picture, out in zip(pixels, made, strict=True):
        file = io.BytesIO()
        whole = Image.fromarray(np.squeeze(picture.transpose(1, 2, 0)))
        whole.save(file, "JPEG", quality=QUALITY)
        read = np.asarray(Image.open(file)).reshape(*picture.shape[1:], picture.shape[0])
        out[:] = read.transpose(2, 0, 1)
    return made


def _noise(pixels: U8, g: np.random.Generator) -> U8:
    made = pixels + np.rint(g.normal(0, SPREAD, pixels.shape))
    return np.asarray(made.clip(0, 255).astype(np.uint8))


def _squeezed(name: str) -> Stage:
    squeezer = SQUEEZERS[name]
    return Stage(name, lambda pixels, g: squeezer(pixels), smooth=squeezer.torch)


STAGES = {
    s.name: s
    for s in (
        *(_squeezed(name) for name in SQUEEZERS),
        Stage(f"jpeg{QUALITY}", _jpeg),
        Stage(f"noise{SPREAD}", _noise, random=True),
    )
}


@dataclass
class Staged:
    """A model behind a stage: `scores` for the attacker who knows it, `labels` as deployed."""

    model: Target
    stage: Stage
    draws: int = DRAWS
    seed: int = 0
    _random: np.random.Generator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(self.seed)

    def scores(self, x: Tensor) -> Tensor:
        """Mean scores [N, n] over the draws; differentiable."""
        count = self.draws if self.stage.random else 1
        return torch.stack([self.model.scores(self.seen(x)) for _ in range(count)]).mean(0)

    def seen(self, x: Tensor) -> Tensor:
        """The picture behind one draw of the stage, its gradient passed back."""
        if self.stage.smooth is not None:
            return self.stage.smooth(x)
        made = images(self.stage.change(to_pixels(x.detach()), self._random))
        return x + (made - x).detach()

    def labels(self, pixels: U8) -> Ints:
        """The answer, by majority where the stage is random, [N]."""
        if not self.stage.random:
            return self.model.labels(self.stage.change(pixels, self._random))
        said = np.stack([
            self.model.labels(self.stage.change(pixels, self._random)) for _ in range(self.draws)
        ])  # fmt: skip
        return np.array([np.bincount(column).argmax() for column in said.T], np.int64)
