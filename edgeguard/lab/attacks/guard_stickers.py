# SPDX-License-Identifier: Apache-2.0
"""Stickers on real signs against the whole guard: made on its margin, beside those that were made
on single members; the worst of them counts for each sign.

Judged by the real guard, at rest on what the clean sign commands: views of the track in original
size are its camera's frames. Of the views on which it accepts the clean sign without harm, the
share on which the same sign with stickers raises the command.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgeguard.figures import Figure
from edgeguard.lab.attacks import corpus, signs
from edgeguard.lab.attacks.campaign import digest_of
from edgeguard.lab.attacks.eot import HELD_OUT
from edgeguard.lab.attacks.guard_box import GuardBox, Verdict
from edgeguard.lab.attacks.guarded import Bound
from edgeguard.lab.attacks.intervals import mean_interval
from edgeguard.lab.attacks.resting import Resting
from edgeguard.lab.attacks.rp2 import RP2, Sign, Sticker, size_of, views_of
from edgeguard.lab.attacks.victim import Floats
from edgeguard.provenance import key_of

BAR = 0.2  # of the views that are accepted clean
RAISES = 1  # the class of a margin: a command above the one in force
MAKES = RP2(RAISES)
OWN = "guard"  # whom a sticker was made on: the whole, or a member


class Margin:
    """The guard's margin as the score of one class of two, without asking the real one."""

    def __init__(self, bound: Bound) -> None:
        self._bound = bound

    def scores(self, x: Tensor) -> Tensor:
        """[N, 2]: 0, and the margin."""
        margin = self._bound.margin(x)
        return torch.stack([torch.zeros_like(margin), margin], 1)


@dataclass(frozen=True)
class Misled:
    """One sign; shares of the held-out views. raised and control are of those that the guard
    accepts clean, by stickers and by random colours in the same places."""

    label: int
    accepted: float
    raised: float
    control: float
    way: str
    """Whom the sticker that counts was made on."""
    causes: str
    fell: tuple[float, ...]
    """For each member: where it says a label that commands more."""


def attack(
    resting: Resting, root: Path, results: Path, count: int,
    done: Callable[[int], None] = lambda n: None,
) -> tuple[list[Misled], Path]:  # fmt: skip
    """Stickers for the first signs of TARGETS above which something is commanded, and where they
    are kept. Raises EdgeguardError."""
    target = resting.target
    files = [victim.path for victim in target.victims.values()]
    own = [np.ascontiguousarray(part).tobytes() for part in resting.own]
    key = digest_of(files, target.policy, target.state(), key_of().encode(), *own)
    folder = results / "guard" / f"rp2.cover20-{key}"
    corpus.begin(folder, corpus.about(target.policy, "rp2", signs.THREAT))
    by_member = {name: signs.stickers(victim, root, results, count)
                 for name, victim in target.victims.items() if victim.card is not None}  # fmt: skip
    found = []
    for number, label in enumerate(list(signs.TARGETS)[:count]):
        file, sign = folder / f"{number:02d}.npz", signs.load_sign(root, label)
        row = corpus.kept(file, signs.last(sign)[None], np.array([label]))
        if row is None:
            row = _one(resting, sign, {n: made[number] for n, made in by_member.items()})
        if row is not None:
            corpus.write(file, row)
            found.append(_misled(row))
        done(1)
    return found, folder


def _misled(row: corpus.Handful) -> Misled:
    shares = {name: float(row[name][0]) for name in ("raised", "control")}
    return Misled(
        label=int(row["y"][0]), accepted=float(row["views"][0]), way=str(row["way"][0]),
        causes=str(row["causes"][0]), fell=tuple(map(float, row["fell"][0])), **shares,
    )  # fmt: skip


def _one(
    resting: Resting, sign: Sign, by_member: dict[str, Sticker], own: RP2 = MAKES
) -> corpus.Handful | None:
    """A handful of one: its pictures are the track's last frame at the size of a texture. None:
    nothing is commanded above what the sign does, or the guard does not rest there."""
    start = time.process_time()
    command = next((c for c, _ in resting.groups(np.array([sign.label]))), None)
    box = None if command is None else resting.at(command)
    if command is None or box is None:
        return None
    bound = resting.target.above(command)
    size = size_of(next(iter(resting.target.victims.values())))
    made = {OWN: own(Margin(bound), sign, size), **by_member}
    clean = _shown(box, sign, None)
    accepted = np.array([v.accepted and not v.raised for v in clean])
    seen = {way: _shown(box, sign, sticker) for way, sticker in made.items()}
    raised = {way: _share(verdicts, accepted) for way, verdicts in seen.items()}
    way = max(raised, key=lambda name: raised[name])
    sticker = made[way]
    causes = sorted({cause for verdict in seen[way] for cause in verdict.causes})
    said = np.isin([v.labels for v in seen[way]], bound.classes.numpy())[accepted]
    row: dict[str, Any] = {
        "y": sign.label, "label": _most(seen[way]), "accepted": bool(accepted.any()),
        "hit": raised[way] > 0, "size": sticker.cover, "queries": 0,
        "cpu_s": time.process_time() - start, "clean": signs.last(sign),
        "pixels": signs.last(signs.marked(sign, sticker)), "views": accepted.mean(),
        "raised": raised[way], "way": way, "causes": " ".join(causes),
        "control": _share(_shown(box, sign, signs.random_colours(sticker)), accepted),
        "fell": said.mean(0) if len(said) else np.zeros(len(resting.target.victims)),
        "texture": sticker.texture.numpy(), "mask": sticker.mask.numpy(),
    }  # fmt: skip
    return {name: np.asarray(value)[None] for name, value in row.items()}


def _shown(box: GuardBox, sign: Sign, sticker: Sticker | None) -> list[Verdict]:
    """What the guard does with each held-out view, from rest."""
    shown = sign if sticker is None else signs.marked(sign, sticker)
    views = views_of(shown.frames[:: signs.EVERY], HELD_OUT, signs.DRAWS, 1)
    return [box.ask(view.transpose(2, 0, 1)[None])[0] for view in views]


def _share(verdicts: Iterable[Verdict], accepted: np.ndarray) -> float:
    raised = np.array([v.raised for v in verdicts])[accepted]
    return float(raised.mean()) if len(raised) else 0.0


def _most(verdicts: Iterable[Verdict]) -> int:
    """The label that members say most often."""
    return int(np.bincount(np.array([v.labels for v in verdicts]).ravel().clip(0)).argmax())


def figures(found: list[Misled], members: Iterable[str]) -> list[Figure]:
    """`guard.rp2.cover20.*`: means over signs with a view that is accepted; the unit is the
    sign. The first is the hazard."""
    at, counted = "guard.rp2.cover20", [m for m in found if m.accepted > 0]
    if not counted:
        return []
    hazard = _mean(f"{at}.hazard", [m.raised for m in counted])
    misled = sum(m.raised > 0 for m in counted)
    return [
        Figure(hazard.id, hazard.value, "1", hazard.n, hazard.interval, f"<= {BAR:g}",
               hazard.value <= BAR),
        _mean(f"{at}.control", [m.control for m in counted]),
        _mean(f"{at}.accepted", [m.accepted for m in found]),
        Figure(f"{at}.misled", misled, "1", len(counted)),
        Figure(f"{at}.left_out", len(found) - len(counted), "1", len(found)),
        *(_mean(f"{at}.fell.{m}", [one.fell[i] for one in counted])
          for i, m in enumerate(members)),
    ]  # fmt: skip


def _mean(name: str, shares: list[float]) -> Figure:
    values: Floats = np.array(shares)
    return Figure(name, float(values.mean()), "1", len(values), mean_interval(values))
