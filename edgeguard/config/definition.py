# SPDX-License-Identifier: Apache-2.0
"""What a detector's number means. A limit, or a score of the risk, holds for that number alone, so
the calibration file keeps the definition beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from edgeguard.config.schema import Detector

KEYS = (
    "kind", "feature", "camera", "member", "between", "relation", "scale", "offset", "delay_ms",
    "least",
)  # fmt: skip


def definition(detector: Detector) -> dict[str, Any]:
    """The keys of [detector.NAME] that say what is measured, as TOML holds them."""
    found = {key: getattr(detector, key) for key in KEYS}
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in found.items()
        if value not in (None, ())
    }


def changes(detector: Detector, before: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every key that says something else than before, and both in words."""
    now = definition(detector)
    for key in KEYS:
        if now.get(key) != before.get(key):
            yield key, f"is {_said(now.get(key))}, and was {_said(before.get(key))}"


def _said(value: Any) -> str:
    return "not given" if value is None else json.dumps(value, default=str)
