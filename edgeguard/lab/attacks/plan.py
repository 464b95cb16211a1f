# SPDX-License-Identifier: Apache-2.0
"""Which attacks are run on one model, within which threat, and what undefended ones must reach."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgeguard.lab.attacks.apgd import APGD
from edgeguard.lab.attacks.cw import CarliniL0, CarliniL2, CarliniLinf
from edgeguard.lab.attacks.deepfool import DeepFool
from edgeguard.lab.attacks.eot import EOT, HELD_OUT
from edgeguard.lab.attacks.fgsm import FGSM
from edgeguard.lab.attacks.hopskipjump import HopSkipJump
from edgeguard.lab.attacks.jsma import JSMA
from edgeguard.lab.attacks.lbfgs import LBFGS
from edgeguard.lab.attacks.losses import cross_entropy
from edgeguard.lab.attacks.pgd import PGD
from edgeguard.lab.attacks.square import Square
from edgeguard.lab.attacks.substitute import MOST_QUERIES, Papernot, Substitute
from edgeguard.lab.attacks.threat import LEVELS, Threat
from edgeguard.lab.attacks.universal import Universal
from edgeguard.lab.attacks.victim import U8, Counted, FloatVictim, Ints, Victim, images

OWN = 150  # pictures that the attacker of a black box has
CROWD = 1000  # pictures that a universal change is made on
QUICK_QUERIES = 1200  # of the substitute with --quick
STARTS = 200  # pictures that a decision-based attack may start from
SMALLER = (2, 4)  # grey levels: what an adversarially trained member has to withstand
FEW = 10  # pictures that --quick attacks within those
Made = tuple[Tensor, Ints | None]


@dataclass
class Scene:
    """One victim, and what the attacker has besides."""

    victim: Victim
    own: U8
    """Pictures [M, C, H, W] of the attacker's, none of which is attacked."""
    own_labels: Ints
    twin: FloatVictim | None = None
    quick: bool = False

    @cached_property
    def substitute(self) -> Substitute:
        """Trained once for all images."""
        classes = self.victim.scores(images(self.own[:1])).shape[1]
        granted = answers(self.quick)
        weaker = Papernot(queries=granted, epochs=4, last_epochs=8)
        attack = weaker if self.quick else Papernot(queries=granted)
        return attack.learn(self.victim.labels, _spread(self.own, OWN), classes)

    @cached_property
    def universal(self) -> Tensor:
        """Made once for all images."""
        crowd = min(CROWD // 5 if self.quick else CROWD, len(self.own))
        chosen = np.linspace(0, len(self.own) - 1, crowd).astype(int)
        attack = Universal(linf(8))
        labels = torch.from_numpy(self.own_labels[chosen])
        return attack(self.victim, images(self.own[chosen]), labels)


def answers(quick: bool) -> int:
    """That the attacker who learns a substitute is granted."""
    return QUICK_QUERIES if quick else MOST_QUERIES


def _spread(pixels: U8, count: int) -> U8:
    return pixels[np.linspace(0, len(pixels) - 1, min(count, len(pixels))).astype(int)]


@dataclass(frozen=True)
class Job:
    """One attack in one threat. `bar`: least success on an undefended model; `modules`: whose
    source decides whether kept results still count."""

    name: str
    threat: Threat
    make: Callable[[Scene, Tensor, Tensor], Made]
    modules: tuple[str, ...]
    bar: float | None = None
    quick: int = 100
    """How many images --quick attacks."""
    by_twin: bool = False
    """Made on the float twin, to show what it is worth on the file that runs."""


def linf(levels: float, **more: Any) -> Threat:
    """L-inf with a radius in grey levels."""
    return Threat("linf", levels / LEVELS, **more)


def _white(attack: Callable[[Any, Tensor, Tensor], Tensor]) -> Callable[..., Made]:
    return lambda s, x, y: (attack(s.victim, x, y), None)


def _by_twin(attack: Callable[[Any, Tensor, Tensor], Tensor]) -> Callable[..., Made]:
    def make(s: Scene, x: Tensor, y: Tensor) -> Made:
        assert s.twin is not None
        return attack(s.twin, x, y), None

    return make


def _noise(threat: Threat) -> Callable[..., Made]:
    return lambda s, x, y: (threat.corner(x), None)


def _square(threat: Threat) -> Callable[..., Made]:
    return lambda s, x, y: Square(threat)(Counted(s.victim.answers, len(x)), x, y)


def _hopskipjump(threat: Threat) -> Callable[..., Made]:
    def make(s: Scene, x: Tensor, y: Tensor) -> Made:
        starts = images(_spread(s.own, STARTS))
        return HopSkipJump(threat)(Counted(s.victim.labels, len(x)), x, y, starts)

    return make


def _transferred(threat: Threat) -> Callable[..., Made]:
    """The queries were asked once for all images, so each counts all of them."""
    return lambda s, x, y: (
        FGSM(threat)(s.substitute, x, y), np.full(len(x), s.substitute.queries)
    )  # fmt: skip


def _universal(s: Scene, x: Tensor, y: Tensor) -> Made:
    return (x + s.universal).clamp(0, 1), None


def _many_steps(threat: Threat, bar: float | None, quick: int) -> list[Job]:
    return [
        Job("pgd", threat, _white(PGD(threat, restarts=3)), ("pgd",), bar, quick),
        Job("apgd_ce", threat, _white(APGD(threat, loss=cross_entropy)), ("apgd",), bar, quick),
        Job("apgd_dlr", threat, _white(APGD(threat, targets=4)), ("apgd",), bar, quick),
    ]


def jobs(quick: bool = False) -> Mapping[str, Job]:
    """All attacks on one model, in the order in which they are run: cheap ones first. quick: with
    the queries that --quick grants."""
    eight, minimal = linf(8), Threat("l2")
    share = Threat("l0", 0.1)
    scores = replace(eight, knowledge="scores", queries=5000)
    labels = Threat("l2", 3.0, knowledge="labels", queries=5000)
    paper = linf(0.3 * LEVELS, knowledge="transfer", queries=answers(quick))
    sixteen = linf(16, knowledge="transfer", queries=answers(quick))
    twin = replace(minimal, knowledge="transfer")
    seen = linf(16, transformations=HELD_OUT.names)
    found = [
        Job("noise", eight, _noise(eight), ()),
        Job("fgsm", eight, _white(FGSM(eight)), ("fgsm",)),
        Job("jsma", share, _white(JSMA()), ("jsma",), 0.99),
        Job("substitute", paper, _transferred(paper), ("substitute", "fgsm"), 0.64),
        Job("substitute", sixteen, _transferred(sixteen), ("substitute", "fgsm")),
        Job("universal", eight, _universal, ("universal",)),
        *_many_steps(eight, 0.99, 25),
        *(job for levels in SMALLER for job in _many_steps(linf(levels), None, FEW)),
        Job("eot", seen, _white(EOT(seen)), ("eot",), None, 6),
        Job("deepfool", minimal, _white(DeepFool()), ("deepfool",), 0.99, 20),
        Job("deepfool_float", twin, _by_twin(DeepFool()), ("deepfool",), None, 20, True),
        Job("square", scores, _square(scores), ("square",), 0.9, 6),
        Job("hopskipjump", labels, _hopskipjump(labels), ("hopskipjump",), 0.9, 10),
        Job("cw_l2", minimal, _white(CarliniL2()), ("cw",), 0.99, 10),
        Job("cw_l2_float", twin, _by_twin(CarliniL2(grid=False)), ("cw",), None, 10, True),
        Job("lbfgs", minimal, _white(LBFGS()), ("lbfgs",), 0.99, 10),
        Job("cw_linf", Threat("linf"), _white(CarliniLinf()), ("cw",), None, 5),
        Job("cw_l0", Threat("l0"), _white(CarliniL0()), ("cw",), None, 3),
    ]
    return {f"{job.name}.{job.threat.name}": job for job in found}
