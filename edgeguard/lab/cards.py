# SPDX-License-Identifier: Apache-2.0
"""The card of a model file that may have none, and what it makes of a picture."""

from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
import numpy.typing as npt

from edgeguard.card import Card, Input, card_path
from edgeguard.errors import ConfigError
from edgeguard.intake.preprocess import InputSpec, Preprocessor


def beside(model: Path) -> Card | None:
    """The card beside a model file, None without one. Raises ConfigError for a broken card."""
    try:
        file = card_path(model)
    except ConfigError:
        return None
    return Card.load(file)


def grey_levels(entry: Input) -> npt.NDArray[np.float32]:
    """What the guard's own preprocessing makes of each grey level of each channel [C, 256], in the
    order of the card's colour. Another order of steps in float32 rounds some ties otherwise."""
    spec = InputSpec.of(attrs.evolve(entry, size=(16, 16), layout="CHW"))
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    frame, kind = (levels, "GRAY") if spec.channels == 1 else (np.dstack([levels] * 3), "RGB")
    made = spec.empty()
    Preprocessor(spec, 16, 16, kind, statistics=False).run(frame, made)
    return made.astype(np.float32).reshape(spec.channels, 256)
