# SPDX-License-Identifier: Apache-2.0
"""A few of the attacked pictures with what every member and the guard say of them: gallery.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch.nn import functional

from edgeguard.lab.attacks import corpus
from edgeguard.lab.attacks.guard_box import Verdict
from edgeguard.lab.attacks.resting import Resting
from edgeguard.lab.attacks.rp2 import size_of
from edgeguard.lab.attacks.victim import U8, Victim, images, to_pixels

FILE = "gallery.json"
OF_GUARD = 3  # pictures of each attack on the whole
Parts = Mapping[str, tuple[str, int]]
"""Figures that have pictures: the part of the corpus, and how many images they are of."""


def choose(results: Path, parts: Parts) -> list[dict[str, Any]]:
    """Rows of parts: of each attack on a member the hit of median size; of the attacks on the
    whole guard some hits, and some that it stopped."""
    shown = []
    for figure, (part, n) in parts.items():
        rows = corpus.read(results / part)
        of = corpus.counted(rows, None if figure.startswith("guard.") else n)
        hits = of[rows["hit"][of]]
        if figure.startswith("guard."):
            counted = rows.get("accepted")
            if counted is None:
                continue  # a member alone: the members' own attacks show that
            held = np.flatnonzero(counted & ~rows["hit"])
            by_cause = np.argsort(rows["causes"][held] == "", kind="stable")  # the telling ones
            chosen = [*hits[:OF_GUARD], *held[by_cause][:OF_GUARD]]
        else:
            ranked = hits[np.argsort(rows["size"][hits], kind="stable")]
            chosen = [ranked[len(ranked) // 2]] if len(ranked) else []
        shown += [{"figure": figure, "part": part, "row": int(row)} for row in chosen]
    return shown


def write(
    results: Path, shown: list[dict[str, Any]], victims: Mapping[str, Victim],
    resting: Resting | None,
) -> None:  # fmt: skip
    """Ask the members and the guard about the chosen rows, clean and attacked."""
    for sample in shown:
        rows = corpus.read(results / sample["part"])
        one = slice(sample["row"], sample["row"] + 1)
        sample["true"], sample["size"] = int(rows["y"][one][0]), float(rows["size"][one][0])
        for when, column in (("clean", "clean"), ("attacked", "pixels")):
            pixels = rows[column][one]
            sample[when] = {n: int(v.labels(_fitted(pixels, v))[0]) for n, v in victims.items()}
            if resting is not None:
                sample[f"guard_{when}"] = _words(resting.verdicts(pixels, rows["y"][one])[0])
    cards = [victim.card for victim in victims.values() if victim.card is not None]
    names = list(cards[0].labels) if cards else []
    corpus.write_json(results / FILE, {"labels": names, "members": list(victims), "shown": shown})


def _fitted(pixels: U8, victim: Victim) -> U8:
    """At the size of the model: stickers are kept larger."""
    size = size_of(victim)
    if pixels.shape[2:] == size:
        return pixels
    return to_pixels(functional.interpolate(images(pixels), size, mode="area"))


def _words(verdict: Verdict | None) -> dict[str, Any] | None:
    """None: no command is above that of the true sign."""
    if verdict is None:
        return None
    return {"raised": verdict.raised, "causes": list(verdict.causes)}
