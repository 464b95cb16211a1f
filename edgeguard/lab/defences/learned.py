# SPDX-License-Identifier: Apache-2.0
"""A small detector that learned what attacked pictures look like (after Metzen et al. 2017).

Its number is a quadratic form of the embedding, |P(e - c) - p|^2 - |B(e - c)|^2, the very formula
of the runtime's `relative_mahalanobis`; instead of being fitted to clean pictures alone, P, p and B
are trained to tell clean pictures from attacked ones. So nothing new has to run on the device.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from edgeguard.evidence.embedding import real
from edgeguard.lab.attacks.fgsm import FGSM
from edgeguard.lab.attacks.judge import judge
from edgeguard.lab.attacks.threat import Threat
from edgeguard.lab.attacks.victim import U8, Ints, images
from edgeguard.lab.defences.embedded import Distance, Embedded
from edgeguard.lab.defences.static import BATCH, Attack, SteadyPGD

Reals = npt.NDArray[np.float64]
DIRECTIONS = 24  # rows of P, and of B
EPOCHS, RATE, DECAY = 400, 0.02, 1e-3
SEED = 11
FORM = "relative_mahalanobis"


def training_attacks(quick: bool) -> dict[str, tuple[Attack, Threat]]:
    """What it is trained on: one step and many, within 4/255 and 8/255; no C&W, which is left for
    the test."""
    made: dict[str, tuple[Attack, Threat]] = {}
    steps = 10 if quick else 40
    for levels in (4, 8):
        near = Threat("linf", levels / 255)
        made[f"fgsm{levels}"] = FGSM(near), near
        made[f"pgd{levels}"] = SteadyPGD(near, steps, 2.5 / steps, seed=SEED), near
    return made


class Learned(Distance):
    """A trained form; `feature` is the kernel that runs it. seconds: CPU time that it cost."""

    seconds = 0.0

    @classmethod
    def fitted(cls, model: Embedded, clean: U8, attacked: Sequence[U8]) -> Learned:
        """clean and attacked: pictures [N, C, H, W]. Raises ValueError without either."""
        if not len(clean) or not any(map(len, attacked)):
            raise ValueError("the learned detector needs clean pictures and attacked ones")
        own = _embeddings(model, clean)
        others = np.concatenate([_embeddings(model, pixels) for pixels in attacked if len(pixels)])
        made = cls(model, FORM, _trained(own, others))
        made.name = "learned"
        return made


def _embeddings(model: Embedded, pixels: U8) -> Reals:
    return real(model.raw(pixels)[1], model.output)


def _trained(clean: Reals, attacked: Reals) -> dict[str, npt.NDArray[np.float32]]:
    """Logistic regression on the form; both sides weigh the same."""
    centre = clean.mean(0)
    spread = np.maximum(clean.std(0), 1e-3 * clean.std())
    x = torch.from_numpy((np.concatenate([clean, attacked]) - centre) / spread).float()
    y = torch.cat([torch.zeros(len(clean)), torch.ones(len(attacked))])
    weight = torch.where(y > 0, 0.5 / len(attacked), 0.5 / len(clean))
    g = torch.Generator().manual_seed(SEED)
    size = (DIRECTIONS, x.shape[1])
    parts = [torch.randn(size, generator=g) / x.shape[1] for _ in range(2)]
    parts += [torch.zeros(DIRECTIONS), torch.zeros(1)]
    for part in parts:
        part.requires_grad_()
    optimizer = torch.optim.AdamW(parts, RATE, weight_decay=DECAY)
    for _ in range(EPOCHS):
        optimizer.zero_grad()
        functional.binary_cross_entropy_with_logits(
            _form(x, parts), y, weight, reduction="sum"
        ).backward()
        optimizer.step()
    projection, background, point, _ = (part.detach().numpy() for part in parts)
    return {
        "centre": centre.astype(np.float32), "projection": (projection / spread).astype(np.float32),
        "points": point[None].astype(np.float32),
        "background": (background / spread).astype(np.float32),
    }  # fmt: skip


def _form(x: Tensor, parts: list[Tensor]) -> Tensor:
    projection, background, point, offset = parts
    near = ((x @ projection.T - point) ** 2).sum(1)
    return near - ((x @ background.T) ** 2).sum(1) + offset


def attacked_frames(model: Embedded, pixels: U8, y: Ints, quick: bool) -> list[U8]:
    """Training frames after each attack; only those that the model then reads wrongly."""
    victim, found = model.victim, []
    for attack, threat in training_attacks(quick).values():
        for at in range(0, len(y), BATCH):
            own, labels = pixels[at : at + BATCH], y[at : at + BATCH]
            adv = attack(victim, images(own), torch.from_numpy(labels))
            result = judge(victim, own, labels, adv, threat)
            found.append(result.pixels[result.fooled])
    return found
