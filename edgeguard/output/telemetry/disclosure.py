# SPDX-License-Identifier: Apache-2.0
"""What may leave the deciding process: scores copy a model, pictures and certainty do more.

Enforced here, before anything is handed over: what is not disclosed is in no message at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgeguard.card import Card
from edgeguard.config import GuardConfig
from edgeguard.decision import Decision
from edgeguard.intake.camera import Box

MOST_PIXELS = 40_000  # of a picture: three bytes each, and one message holds them


class Subject(Protocol):
    """What is shown of a guard."""

    config: GuardConfig

    @property
    def members(self) -> Mapping[str, Any]: ...
    @property
    def risk(self) -> int | None: ...
    def evidence(self, member: str) -> dict[str, Any]: ...


def snapshot(guard: Subject, cards: Mapping[str, Card], decision: Decision) -> dict[str, Any]:
    """A decision as JSON-ready data, as far as ``[telemetry] disclosure`` lets it out.

    Never: raw scores, embeddings, signals. Ages in ms, commands in the channels' units.
    """
    ages_ms = decision.ages_ms
    return {
        "sequence": decision.sequence,
        "mode": decision.mode.name,
        "causes": list(decision.causes),
        "present": list(decision.present),
        "active": decision.active,
        "operator_request": decision.operator_request,
        "channels": {
            name: _channel(guard.config, cards, name, said, decision.command[name])
            for name, said in decision.evidence.items()
        },
        "members": {
            name: _member(guard, name, cards[name], ages_ms[name]) for name in guard.config.members
        },
        "cameras": {name: {"age_ms": ages_ms[name]} for name in guard.config.cameras},
    }


def _channel(
    config: GuardConfig, cards: Mapping[str, Card], name: str, said: Mapping[str, Any],
    command: float,
) -> dict[str, Any]:  # fmt: skip
    """A command that follows the value of a model is that value: `label` keeps it back, too."""
    found: dict[str, Any] = {key: said[key] for key in ("votes", "voters")}
    found |= _certainty(said["certainty"], config.telemetry.disclosure)
    if config.channels[name].kind == "label":
        members = (m for m, entry in config.members.items() if name in entry.may_suggest.operations)
        found["label"] = next((_named(cards[m], said["label"]) for m in members), None)
    if config.channels[name].kind == "label" or config.telemetry.disclosure == "full":
        found["command"] = command
    return found


def _member(guard: Subject, name: str, card: Card, age_ms: float) -> dict[str, Any]:
    said, disclosure = guard.evidence(name), guard.config.telemetry.disclosure
    member = guard.members.get(name)
    found: dict[str, Any] = {
        "alive": None if member is None else bool(member.alive),
        "age_ms": age_ms,
        "heard": age_ms <= guard.config.members[name].max_age_ms,
    }
    found |= _certainty(said["certainty"], disclosure)
    if card.task == "classifier":
        found["label"] = _named(card, said["label"])
    if disclosure == "full":
        found |= {key: said[key] for key in ("value", "margin", "entropy", "energy")}
    return found


def _certainty(certainty: float, disclosure: str) -> dict[str, float]:
    shown = {"full": certainty, "rounded": round(certainty, 1)}
    return {"certainty": shown[disclosure]} if disclosure in shown else {}


def _named(card: Card, label: int) -> str | None:
    return card.labels[label] if 0 <= label < len(card.labels) else None


def picture(
    image: npt.NDArray[np.uint8], pixel_format: str, box: Box | None = None
) -> npt.NDArray[np.uint8]:
    """A small copy of a frame, or of a box of it: uint8 [h, w, 3] in RGB, or [h, w] of its
    brightness."""
    view = _VIEWS[pixel_format](image)
    if box is not None:
        x, y, width, height = box
        view = view[y : y + height, x : x + width]
    step = 1
    while (view.shape[0] // step + 1) * (view.shape[1] // step + 1) > MOST_PIXELS:
        step += 1
    return np.ascontiguousarray(view[::step, ::step])


_VIEWS: dict[str, Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]] = {
    "BGR": lambda image: image[..., ::-1],
    "RGB": lambda image: image,
    "BGRA": lambda image: image[..., 2::-1],
    "GRAY": lambda image: image,
    "YUYV": lambda image: image[..., 0],
    "NV12": lambda image: image[: image.shape[0] * 2 // 3],
}
