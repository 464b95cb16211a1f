# SPDX-License-Identifier: Apache-2.0
"""Detectors on a member's embedding: the shipped distances, and boxes of activations.

`Distance` is the runtime's kernel with the arrays of ood.toml, and the same formula in torch.
`Boxes` (Henzinger, Lukina, Schilling 2020, "Outside the box") keeps for each class the range of
every value of the embedding over training pictures; its number is by how many steps in all the
embedding leaves the box of the class that the model names.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgeguard import _kernels, config
from edgeguard.card import Output
from edgeguard.cli.calibration_arrays import distances
from edgeguard.config.fixed import ONE
from edgeguard.errors import ModelRefused
from edgeguard.lab.attacks.victim import U8, Floats, Ints, Victim
from edgeguard.lab.defences.detector import Look
from edgeguard.lab.surrogate import Answer, deployed

Raw = tuple[npt.NDArray[Any], npt.NDArray[Any]]


class Embedded:
    """A deployed model that gives its embedding: both outputs, differentiable and as it runs."""

    def __init__(self, victim: Victim) -> None:
        """Raises ModelRefused for a model without a card that names an embedding."""
        card = victim.card
        if card is None or card.embedding is None:
            raise ModelRefused(f"{victim.path}: gives no embedding; name one in its card")
        self.victim, self.card, self.output = victim, card, card.embedding
        self._answer: Answer = deployed(victim.path)
        names = [o.name for o in victim.surrogate.spec.outputs]
        self._at = names.index(card.scores.name), names.index(card.embedding.name)

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scores [N, n] and embedding [N, d] as numbers."""
        victim = self.victim
        return victim.surrogate.both(victim.pixels(x), self.card.scores.name, self.output.name)

    def raw(self, pixels: U8) -> Raw:
        """Scores and embeddings as the file stores them."""
        made = self._answer(self.victim.pixels.array(pixels))
        return made[self._at[0]], made[self._at[1]]

    def labels(self, pixels: U8) -> Ints:
        """What the model says, [N]."""
        return self.victim.labels(pixels)


class Distance:
    """One embedding feature of the runtime; `fit` as edgeguard.evidence.embedding makes it."""

    def __init__(self, model: Embedded, feature: str, fit: Mapping[str, Any]) -> None:
        self.model, self.feature, self.fit = model, feature, fit
        self.name, self.limit = feature, float("inf")
        self._t = {key: torch.from_numpy(np.asarray(a)) for key, a in fit.items()}

    def look(self, x: Tensor, y: Tensor) -> Look:
        """The formula of native/kernels/embedding.hpp."""
        scores, embedding = self.model.both(x)
        return Look(scores, self._number(scores, embedding - self._t["centre"]))

    def _number(self, scores: Tensor, away: Tensor) -> Tensor:
        t = self._t
        image = away @ t["projection"].T
        if self.feature == "vim":
            rest = ((away**2).sum(1) - (image**2).sum(1)).clamp_min(1e-9).sqrt()
            rest = t["weight"][0] * rest
            if self.model.card.scores.kind == "probabilities":
                return rest  # they have no energy
            heat = self.model.card.temperature
            return rest - heat * (scores / heat).logsumexp(1)
        if self.feature == "nearest":
            image = image / image.norm(dim=1, keepdim=True).clamp_min(1e-12)
        near = ((image[:, None] - t["points"]) ** 2).sum(2).amin(1)
        if self.feature == "relative_mahalanobis":
            near = near - ((away @ t["background"].T) ** 2).sum(1)
        return near

    def measured(self, pixels: U8) -> Floats:
        """By the kernels, in steps of 1 / 65,536."""
        scores, embeddings = self.model.raw(pixels)
        card = self.model.card
        evidence = _kernels.evidence_batch(
            scores, kind=card.scores.kind, scale=card.scores.scale,
            zero_point=card.scores.zero_point, temperature=card.temperature,
        )  # fmt: skip
        number = distances(self.model.output, self.fit, self.feature, embeddings)(evidence)
        return np.asarray(number / ONE, np.float32)

    def labels(self, pixels: U8) -> Ints:
        """What the model says, [N]."""
        return self.model.labels(pixels)


def shipped_fits(policy: Path, member: str) -> dict[str, dict[str, Any]]:
    """By feature, what a guard.toml's calibration holds for a member. Raises ConfigError."""
    cfg = config.load(policy)
    return {feature: fit for (name, feature), fit in cfg.fits.items() if name == member
            and feature in config.vocabulary.EMBEDDING_FEATURES}  # fmt: skip


class Boxes:
    """low, high int16 [classes, d], in steps of the embedding."""

    name = "boxes"

    def __init__(self, model: Embedded, low: npt.NDArray[Any], high: npt.NDArray[Any]) -> None:
        self.model, self.low, self.high = model, low, high
        self.limit = float("inf")
        self._ends = (
            torch.from_numpy(low.astype(np.float32)),
            torch.from_numpy(high.astype(np.float32)),
        )

    @classmethod
    def fitted(cls, model: Embedded, pixels: U8, y: Ints, margin: float = 0.05) -> Boxes:
        """Ranges over pictures that the model reads rightly, wider by a share of themselves on both
        sides. Only int8 and uint8 embeddings. Raises ModelRefused for another."""
        if model.output.dtype not in ("int8", "uint8"):
            raise ModelRefused(
                f"{model.victim.path}: its embedding is no integer; boxes need steps"
            )
        scores, steps = model.raw(pixels)
        right = scores.argmax(1) == y
        low = np.zeros((scores.shape[1], steps.shape[1]), np.int16)
        high = np.zeros_like(low)
        for label in range(len(low)):
            own = steps[right & (y == label)].astype(np.int16)
            if len(own):
                wide = np.ceil((own.max(0) - own.min(0)) * margin).astype(np.int16)
                low[label], high[label] = own.min(0) - wide, own.max(0) + wide
        return cls(model, low, high)

    def look(self, x: Tensor, y: Tensor) -> Look:
        """Against the box of the class that the model names."""
        scores, embedding = self.model.both(x)
        steps = embedding / _scale(self.model.output) + self.model.output.zero_point
        return Look(scores, self._outside(steps, scores.detach().argmax(1)))

    def _outside(self, steps: Tensor, label: Tensor) -> Tensor:
        low, high = (end[label] for end in self._ends)
        return ((low - steps).clamp_min(0) + (steps - high).clamp_min(0)).sum(1)

    def measured(self, pixels: U8) -> Floats:
        """A whole number of steps."""
        scores, steps = self.model.raw(pixels)
        label, wide = scores.argmax(1), steps.astype(np.int32)
        below = np.maximum(self.low[label] - wide, 0)
        above = np.maximum(wide - self.high[label], 0)
        return np.asarray((below + above).sum(1), np.float32)

    def labels(self, pixels: U8) -> Ints:
        """What the model says, [N]."""
        return self.model.labels(pixels)


def _scale(output: Output) -> float:
    return output.scale or 1.0
