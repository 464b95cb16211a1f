# SPDX-License-Identifier: Apache-2.0
"""The verdict on attacked images: 8 bits, inside the threat, read by the deployed model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from edgeguard.errors import EdgeguardError
from edgeguard.lab.attacks.threat import Threat, rounded
from edgeguard.lab.attacks.victim import U8, Floats, Ints, Target, images, to_pixels


class InvalidAttack(EdgeguardError):
    """An attack left its own threat: its result counts for nothing (E3)."""


@dataclass(frozen=True)
class Result:
    """What an attack reached on N images that were read rightly before."""

    threat: Threat
    pixels: U8
    """The attacked pictures [N, C, H, W]."""
    labels: Ints
    """What the deployed model says to them [N]."""
    fooled: np.ndarray
    """Whether that is what the attacker wants [N]."""
    size: Floats
    """Of the change in the threat's norm [N]."""
    queries: Ints | None = None

    @property
    def success(self) -> float:
        """Share of fooled images."""
        return float(self.fooled.mean()) if len(self.fooled) else 0.0

    @property
    def median_size(self) -> float:
        """Of the changes that fooled; NaN when none did."""
        return float(np.median(self.size[self.fooled])) if self.fooled.any() else float("nan")


def judge(
    victim: Target, pixels: U8, y: Ints, adv: Tensor, threat: Threat,
    target: Ints | None = None, queries: Ints | None = None,
) -> Result:  # fmt: skip
    """Round and read. pixels uint8 [N, C, H, W] clean, y [N] true labels, adv [N, C, H, W].

    target: [N] when only that answer counts. Raises InvalidAttack when a rounded image is outside
    the threat or is no number, or when more queries were asked than the threat grants.
    """
    x = images(pixels)
    if not torch.isfinite(adv).all():
        raise InvalidAttack(f"{threat.name}: {int((~torch.isfinite(adv)).sum())} values are NaN")
    made = rounded(adv.detach(), x, threat)
    outside = int((~threat.allows(made - x)).sum())
    if outside:
        raise InvalidAttack(f"{threat.name}: {outside} of {len(x)} images left the radius")
    if queries is not None and threat.queries is not None and (queries > threat.queries).any():
        raise InvalidAttack(f"{threat.name}: {queries.max()} queries, granted {threat.queries}")
    attacked = to_pixels(made)
    labels = victim.labels(attacked)
    hit = labels != y if target is None else labels == target
    size = threat.sizes(images(attacked) - x).numpy()
    return Result(threat, attacked, labels, np.asarray(hit), size, queries)
