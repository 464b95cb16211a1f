# SPDX-License-Identifier: Apache-2.0
"""The card of a model file that may have none."""

from __future__ import annotations

from pathlib import Path

from edgeguard.card import Card, card_path
from edgeguard.errors import ConfigError


def beside(model: Path) -> Card | None:
    """The card beside a model file, None without one. Raises ConfigError for a broken card."""
    try:
        file = card_path(model)
    except ConfigError:
        return None
    return Card.load(file)
