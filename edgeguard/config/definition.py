# SPDX-License-Identifier: Apache-2.0
"""What a calibrated number means. A limit, or a score of the risk, holds for what its detector
measured, a certainty for who voted, and all of them for how a model was fed and what its answers
stood for; so the calibration file keeps these definitions beside the numbers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from edgeguard.card import Card, Input, Output
from edgeguard.config.schema import Demand, Detector, Member

KEYS = (
    "kind", "feature", "camera", "member", "between", "relation", "scale", "offset", "delay_ms",
    "least",
)  # fmt: skip


def definition(detector: Detector) -> dict[str, Any]:
    """The keys of [detector.NAME] that say what is measured, as TOML holds them."""
    return _said_by({key: getattr(detector, key) for key in KEYS})


def changes(detector: Detector, before: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every key that says something else than before, and both in words."""
    yield from _changes(definition(detector), before)


def model_keys(card: Card) -> dict[str, Any]:
    """The keys of [model.NAME]: the file, how a picture enters it, and what its answers stand for.
    The temperature of the card is none of them, for that of the calibration replaces it."""
    parts: dict[str, Input | Output | None] = {
        "input": card.input,
        "scores": card.scores,
        "embedding": card.embedding,
    }
    found = {k: _said_by(attrs.asdict(part)) for k, part in parts.items() if part is not None}
    labels = hashlib.sha256(json.dumps(card.labels).encode()).hexdigest()
    return {"sha256": card.sha256, **found, "labels_sha256": labels}


def model_changes(card: Card, before: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every key of [model.NAME], but for the file, for which the card says something else now."""
    now = model_keys(card)
    for key in ("input", "scores", "embedding"):
        then = before.get(key, {})
        for what, change in _changes(now.get(key, {}), then if isinstance(then, dict) else {}):
            yield key, f"{what} of the card {change}"
    if now["labels_sha256"] != before.get("labels_sha256"):
        yield "labels_sha256", "the card has other labels, or another order of them, than it had"


def voting(
    channel: str, operation: str, demand: Demand, members: Mapping[str, Member]
) -> dict[str, Any]:
    """Who decides an operation: how many of the members granted it, among those heard on its
    channel. `frames` is not of it: thresholds are found on single frames."""
    may = {name: m.may_suggest.operations.get(channel, ()) for name, m in members.items()}
    return {
        "quorum": demand.quorum,
        "granted": sorted(name for name, granted in may.items() if operation in granted),
        "heard": sorted(name for name, granted in may.items() if granted),
    }


def _said_by(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Those that say anything, as TOML holds them."""
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in keys.items()
        if value not in (None, ())
    }


def _changes(now: Mapping[str, Any], before: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key in {**now, **before}:
        if now.get(key) != before.get(key):
            yield key, f"is {_said(now.get(key))}, and was {_said(before.get(key))}"


def _said(value: Any) -> str:
    return "not given" if value is None else json.dumps(value, default=str)
