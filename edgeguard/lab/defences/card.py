# SPDX-License-Identifier: Apache-2.0
"""The card of a defence: what it costs, and what is left of it when the attacker knows it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rich.table import Table

from edgeguard.figures import Figure
from edgeguard.lab.defences.detector import Share

T = TypeVar("T")


@dataclass(frozen=True)
class Card:
    """One defence on one member.

    Every success is the attacker's: the picture is read wrongly and accepted, of those that were
    read rightly and accepted before (E8). `static`: the attack does not know the defence;
    `adaptive`: it does. coverage: clean pictures that are accepted.
    """

    name: str
    kind: str
    member: str
    device_us: float
    """Of one picture, beyond the bare member."""
    training: float
    """Cost of training as a multiple of that of the plain member."""
    clean_before: Share
    clean_after: Share
    """Read rightly, of all that are accepted."""
    coverage: Share
    static: Mapping[str, Share]
    adaptive: Mapping[str, Share]
    notes: Mapping[str, Any] = field(default_factory=dict)
    """Limits, norms, and whatever else belongs to this defence."""
    loads: str = ""
    """What the runtime loads of it, in words."""

    def figures(self) -> list[Figure]:
        """defend.MEMBER.NAME.*, of what has a value; the bars are those of the issue, where there
        is one."""
        at = f"defend.{self.member}.{self.name}"
        made = [_figure(f"{at}.clean.before", self.clean_before),
                _figure(f"{at}.clean.after", self.clean_after),
                _figure(f"{at}.coverage", self.coverage)]  # fmt: skip
        made += [_figure(f"{at}.static.{k}", s) for k, s in _known(self.static).items()]
        made += [_figure(f"{at}.adaptive.{k}", s) for k, s in _known(self.adaptive).items()]
        for key, value in _known(self.notes).items():
            if isinstance(value, Figure):
                made.append(value)
            elif isinstance(value, Share):
                made.append(_figure(f"{at}.{key}", value))
            elif isinstance(value, float):
                made.append(Figure(f"{at}.{key}", value))
        made.append(Figure(f"{at}.device", self.device_us, "us"))
        made.append(Figure(f"{at}.training_multiple", self.training))
        return made

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "name": self.name, "kind": self.kind, "member": self.member, "loads": self.loads,
            "device_us": round(self.device_us, 1), "training_multiple": round(self.training, 2),
            "clean_before": self.clean_before.table(), "clean_after": self.clean_after.table(),
            "coverage": self.coverage.table(),
            "static": {k: s.table() for k, s in _known(self.static).items()},
            "adaptive": {k: s.table() for k, s in _known(self.adaptive).items()},
            "notes": {k: _plain(v) for k, v in _known(self.notes).items()},
        }  # fmt: skip


def _known(values: Mapping[str, T]) -> dict[str, T]:
    """Without shares of nothing and medians of nothing, which would say nothing. A figure with a
    bar stays: what was not measured does not hold."""
    return {
        key: v for key, v in values.items()
        if getattr(v, "bar", None) or not _is_nan(getattr(v, "value", v))
    }  # fmt: skip


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _figure(name: str, share: Share) -> Figure:
    return Figure(name, share.value, "1", share.n, share.interval)


def _plain(value: Any) -> Any:
    if isinstance(value, Share):
        return value.table()
    if isinstance(value, Figure):
        return {"value": None if _is_nan(value.value) else value.value, "bar": value.bar}
    return value


def table(cards: list[Card]) -> Table:
    """One line for each defence; shares are the attacker's success."""
    made = Table(title="Success of the attacker, static and adaptive", title_justify="left")
    made.add_column("defence")
    for name in ("clean", "accepted", "static", "adaptive", "us", "training"):
        made.add_column(name, justify="right")
    for card in cards:
        made.add_row(
            card.name, f"{card.clean_after.value:.1%}", f"{card.coverage.value:.1%}",
            _cells(card.static), _cells(card.adaptive), f"{card.device_us:.0f}",
            f"{card.training:.1f}x",
        )  # fmt: skip
    return made


def _cells(shares: Mapping[str, Share]) -> str:
    return "\n".join(f"{name} {share.value:.0%}" for name, share in _known(shares).items())
