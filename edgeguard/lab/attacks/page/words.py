# SPDX-License-Identifier: Apache-2.0
"""What the parts of the page share: the results as they are looked up, and words for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.lab.attacks import corpus
from edgeguard.lab.attacks.corpus import Array

ATTACKS = {
    "noise": "random noise (control)", "fgsm": "FGSM", "jsma": "JSMA", "pgd": "PGD",
    "substitute": "substitute, then FGSM", "universal": "universal change",
    "apgd_ce": "APGD, cross entropy", "apgd_dlr": "APGD, DLR and targets", "deepfool": "DeepFool",
    "deepfool_float": "DeepFool on the float twin", "square": "Square", "cw_l2": "C&W L2",
    "hopskipjump": "HopSkipJump", "cw_l2_float": "C&W L2 on the float twin", "lbfgs": "L-BFGS",
    "eot": "EOT, wrong in most held-out views", "cw_linf": "C&W L-inf", "cw_l0": "C&W L0",
    "rp2": "RP2 stickers", "adaptive": "adaptive",
}  # fmt: skip
Figure = Mapping[str, Any]


class View:
    """The results files."""

    def __init__(
        self, results: Path, document: Mapping[str, Any], index: Mapping[str, Any],
        shown: Mapping[str, Any],
    ) -> None:  # fmt: skip
        self.results, self.document, self.corpus = results, document, index
        self.members: list[str] = shown["members"]
        self.labels: list[str] = shown["labels"]
        self.shown: list[dict[str, Any]] = shown["shown"]
        self.figures: dict[str, Figure] = {f["id"]: f for f in document["figures"]}
        self._parts = {part["part"]: part for part in index["parts"]}

    def about(self, figure: Figure) -> Mapping[str, Any]:
        """The part of the corpus that a figure is of: attack, threat, model."""
        return self._parts[figure["kept"]]

    def rows(self, figure: Figure) -> dict[str, Array]:
        """The samples that a figure is of, all columns."""
        rows = self.whole_part(figure)
        of = corpus.counted(rows, figure["n"])
        return {name: column[of] for name, column in rows.items()}

    def attacks(self, member: str) -> list[tuple[str, Figure]]:
        """Attacks on a member: `ATTACK.THREAT`, and the figure of the success."""
        at, end = f"attack.{member}.", ".success"
        return [(id[len(at) : -len(end)], f) for id, f in self.figures.items()
                if id.startswith(at) and id.endswith(end) and "kept" in f]  # fmt: skip

    def whole_part(self, figure: Figure) -> dict[str, Array]:
        """All samples of its part, where a figure counts only some of them."""
        return corpus.read(self.results / figure["kept"])

    def of_attack(self, attack: str) -> list[Figure]:
        """Figures whose pictures were made by this attack."""
        return [
            f for f in self.figures.values() if "kept" in f and self.about(f)["attack"] == attack
        ]

    def label(self, number: int) -> str:
        """A class by its name, where the model's card has names."""
        if number < 0:
            return "nothing"
        return self.labels[number] if number < len(self.labels) else f"class {number}"


def section(title: str, body: str) -> str:
    """A card of the page."""
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def threat_words(attack: str, threat: Mapping[str, Any]) -> str:
    """A radius as a person says it."""
    if attack == "rp2":
        return f"stickers on at most {threat['radius']:.0%} of a sign"
    norm = {"linf": "L-inf", "l2": "L2", "l0": "L0"}[threat["norm"]]
    if threat["radius"] is None:
        return f"smallest {norm}"
    if threat["norm"] == "linf":
        return f"{norm} at most {threat['radius'] * 255:g}/255"
    if threat["norm"] == "l0":
        return f"at most {threat['radius']:.0%} of the pixels"
    return f"{norm} at most {threat['radius']:g}"


def size_words(norm: str, size: float) -> str:
    """A size in the unit of its norm."""
    if norm == "linf":
        return f"{size * 255:.1f}/255"
    return f"{size:.1%}" if norm == "l0" else f"{size:.2f}"


def number(value: float) -> str:
    """A share as a person reads it."""
    return f"{value:.1%}" if abs(value) <= 1 else f"{value:,.0f}"


def rate(figure: Figure) -> str:
    """A share with its interval, and a bar of both."""
    value, (low, high) = figure["value"], figure["interval"]
    return (
        f"<div><span>{value:.1%} ({span(figure)})</span>"
        f'<div class="track" aria-hidden="true"><i style="width:{value:.1%}"></i>'
        f'<b style="left:{low:.1%};width:{high - low:.1%}"></b></div></div>'
    )


def span(figure: Figure) -> str:
    """The interval of a share."""
    low, high = figure["interval"]
    return f"{max(low, 0.0):.0%} to {high:.0%}"  # rounding may leave a minus before zero


def count(figure: Figure) -> str:
    """A share as `hits of n`."""
    return f"{round(figure['value'] * figure['n']):,} of {figure['n']:,}"


def table(head: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> str:
    """Rows of HTML cells; on a phone each row is a list of its own. Columns of which the name ends
    in # are numbers, in % a bar."""
    kinds = ["number" if h.endswith("#") else "rate" if h.endswith("%") else "" for h in head]
    names = [escape(h.rstrip("#%")) for h in head]
    top = "".join(f'<th class="{k}">{n}</th>' for k, n in zip(kinds, names, strict=True))
    lines = "".join(
        "<tr>" + "".join(f'<td class="{k}" data-name="{n}">{cell and f"<div>{cell}</div>"}</td>'
                         for k, n, cell in zip(kinds, names, row, strict=True)) + "</tr>"
        for row in rows
    )  # fmt: skip
    return (
        f'<div class="scroll"><table class="rows"><thead><tr>{top}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def share_below(values: Array, limits: Array) -> Array:
    """Of values [N] (infinite: never) the share at or below each limit."""
    return (values[:, None] <= limits).mean(0) if len(values) else np.zeros(len(limits))
