# SPDX-License-Identifier: Apache-2.0
"""Detectors on a member's embedding: the shipped distances, and boxes of activations.

`Distance` is the runtime's kernel with the arrays of ood.toml, and the same formula in torch.
`Boxes` (Henzinger, Lukina, Schilling 2020, "Outside the box") are those of
`edgeguard.evidence.boxes`: for each class the range of every value of the embedding.
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
from edgeguard.cli.calibration_arrays import distances
from edgeguard.config.fixed import ONE
from edgeguard.config.vocabulary import BOXES
from edgeguard.errors import ModelRefused
from edgeguard.evidence import boxes
from edgeguard.evidence.conformal import UNREADABLE
from edgeguard.evidence.embedding import real
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
        """As the runtime computes it, in steps of 1 / 65,536."""
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


class Boxes(Distance):
    """How far the embedding leaves the box of the class that the model names."""

    @classmethod
    def fitted(cls, model: Embedded, pixels: U8, y: Ints) -> Boxes:
        """As `edgeguard calibrate` fits them: to every picture, whatever the model says of it."""
        return cls(model, BOXES, boxes.fit(real(model.raw(pixels)[1], model.output), y))

    def look(self, x: Tensor, y: Tensor) -> Look:
        """Against the box of the class that the model names."""
        scores, embedding = self.model.both(x)
        return Look(scores, self._outside(embedding, scores.detach().argmax(1)))

    def _outside(self, embedding: Tensor, label: Tensor) -> Tensor:
        """A class without a box is outside every limit, as in the runtime."""
        row = label.clamp_max(len(self._t["low"]) - 1)
        low, high = self._t["low"][row], self._t["high"][row]
        beyond = (low - embedding).clamp_min(0) + (embedding - high).clamp_min(0)
        unread = (row != label) | (low > high).any(1)
        return torch.where(unread, UNREADABLE / ONE, beyond.sum(1))
