# SPDX-License-Identifier: Apache-2.0
"""All attacks on the whole guard, on the same pictures: what each reaches, and the worst of them.

A control (a random corner of the ball), one step, many steps with gradients, the pictures that fool
members alone, and one attacker who sees nothing but whether the command moves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from edgeguard.lab.attacks.apgd import APGD
from edgeguard.lab.attacks.corpus import Array
from edgeguard.lab.attacks.fgsm import FGSM
from edgeguard.lab.attacks.guard_box import Verdict
from edgeguard.lab.attacks.guarded import Bound
from edgeguard.lab.attacks.hopskipjump import HopSkipJump
from edgeguard.lab.attacks.judge import judge
from edgeguard.lab.attacks.losses import climb, margin
from edgeguard.lab.attacks.pgd import PGD
from edgeguard.lab.attacks.threat import Threat
from edgeguard.lab.attacks.victim import U8, Counted, Ints, images

WAYS = ("noise", "one_step", "gradients", "members", "label_only")
BLACK_OF = 4  # pictures of a handful that the label-only attacker has, those that withstood first


class Attacked:
    """Pictures uint8 [N, C, H, W] that a guard with a box accepts without harm, attacked."""

    def __init__(
        self, bound: Bound, pixels: U8, threat: Threat, black: Threat, worst: Sequence[U8],
        starts: U8,
    ) -> None:  # fmt: skip
        """black: the same ball for the label-only attacker, with his queries; worst: what fools
        each member alone [N, ...]; starts: pictures [S, ...] of the attacker's that raise the
        command."""
        self._bound, self._clean, self._threat = bound, pixels, threat
        self.shown = pixels.copy()
        """The worst picture of each; where nothing is, the last of many steps."""
        self.hits = {way: np.zeros(len(pixels), bool) for way in WAYS}
        self.tried = np.zeros(len(pixels), bool)
        """By the label-only attacker, with so many queries:"""
        self.queries = np.zeros(len(pixels), np.int64)
        self._verdicts: dict[int, Verdict] = {}
        x = images(pixels)
        self.flat = self._flat(x)
        """Whether the margin has no gradient, or one that is no number."""
        self._by_gradients(x)
        for picture in worst:
            left = self._left()
            self._take("members", left, images(picture[left]))
        self._by_answers(x, black, images(starts))

    @property
    def hit(self) -> Array:
        """Whether any attack raised the command, [N]."""
        return np.any(list(self.hits.values()), axis=0)

    @property
    def verdicts(self) -> list[Verdict]:
        """What the guard did with the pictures that are shown."""
        return [self._verdicts[i] for i in range(len(self.shown))]

    def _left(self) -> Ints:
        return np.flatnonzero(~self.hit)

    def _flat(self, x: Tensor) -> Array:
        gradient = climb(self._bound, x, torch.zeros(len(x), dtype=torch.long), margin)[0]
        sizes = gradient.flatten(1).abs().amax(1)
        return ((sizes == 0) | ~torch.isfinite(sizes)).numpy()

    def _by_gradients(self, x: Tensor) -> None:
        """Many steps first: theirs is the picture that is shown where nothing helps."""
        zero, everyone = torch.zeros(len(x), dtype=torch.long), np.arange(len(x))
        first = APGD(self._threat, loss=margin, restarts=2)
        self._take("gradients", everyone, first(self._bound, x, zero))
        left = self._left()
        if len(left):
            again = PGD(self._threat, loss=margin, restarts=1)
            self._take("gradients", left, again(self._bound, x[left], zero[left]))
        one = FGSM(self._threat, loss=margin)
        self._take("one_step", everyone, one(self._bound, x, zero))
        self._take("noise", everyone, self._threat.corner(x))

    def _by_answers(self, x: Tensor, black: Threat, starts: Tensor) -> None:
        rows = np.argsort(self.hit, kind="stable")[:BLACK_OF]
        ask = Counted(self._bound.labels, len(rows))
        zero = torch.zeros(len(rows), dtype=torch.long)
        adv, queries = HopSkipJump(black)(ask, x[rows], zero, starts)
        self.tried[rows], self.queries[rows] = True, queries
        self._take("label_only", rows, adv, black, queries)

    def _take(
        self, way: str, rows: Ints, adv: Tensor, threat: Threat | None = None,
        queries: Ints | None = None,
    ) -> None:  # fmt: skip
        """Judge images [M, ...] that were made of rows [M]."""
        if len(rows) == 0:
            return
        nothing = np.zeros(len(rows), np.int64)
        result = judge(self._bound, self._clean[rows], nothing, adv, threat or self._threat,
                       queries=queries)  # fmt: skip
        before = self.hit[rows]
        self.hits[way][rows] |= result.fooled
        for i, row in enumerate(rows.tolist()):
            if row not in self._verdicts or (result.fooled[i] and not before[i]):
                self.shown[row] = result.pixels[i]
                self._verdicts[row] = self._bound.verdicts[i]
