# SPDX-License-Identifier: Apache-2.0
"""What every defence is measured on: one deployed member, clean calibration frames, test pictures,
and the pictures of attackers who know the member but not the defence."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from edgeguard.card import Card
from edgeguard.errors import EdgeguardError
from edgeguard.lab.attacks.judge import Result, judge
from edgeguard.lab.attacks.threat import Threat
from edgeguard.lab.attacks.victim import U8, Ints, Target, Victim
from edgeguard.lab.attacks.victim import images as as_images
from edgeguard.lab.defences import static
from edgeguard.lab.defences.detector import Share, share
from edgeguard.lab.defences.embedded import Embedded
from edgeguard.lab.zoo import data
from edgeguard.zoo import models_dir

SEED = 7  # of the choice of test pictures
AGREED = 1000  # pictures on which the surrogate must be the file (E2)
Advance = Callable[[int], None]


@dataclass(frozen=True)
class Frames:
    """Pictures uint8 [N, 3, 32, 32], labels [N], and the track of each [N] or -1."""

    pixels: U8
    y: Ints
    track: Ints

    def __len__(self) -> int:
        return len(self.y)

    def where(self, rows: np.ndarray) -> Frames:
        """The chosen ones."""
        return Frames(self.pixels[rows], self.y[rows], self.track[rows])

    def halves(self) -> tuple[Frames, Frames]:
        """Every second track, and the others: none is on both sides."""
        odd = np.unique(self.track, return_inverse=True)[1] % 2 == 1
        return self.where(~odd), self.where(odd)


def frames(images: data.Images) -> Frames:
    """The lab's pictures, channels first."""
    return Frames(np.ascontiguousarray(images.x.transpose(0, 3, 1, 2)), images.y, images.track)


@dataclass
class Bench:
    """many: attacked pictures; quick: fewer steps, fewer calibration frames."""

    root: Path
    member: str = "plain"
    quick: bool = False
    many: int = 1000
    advance: Advance = field(default=lambda n: None)

    def __post_init__(self) -> None:
        torch.set_num_threads(1)  # two wait for each other on a busy machine

    @cached_property
    def card(self) -> Card:
        """Of the member."""
        return Card.load(models_dir() / f"{self.member}.card.json")

    def twin(self, wanted: str) -> Path:
        """The member's float ONNX file, which the defence `wanted` is trained on. Raises
        EdgeguardError where there is none."""
        file = models_dir() / f"{self.member}.float.onnx"
        if not file.exists():
            raise EdgeguardError(
                f"{file}: no such file; {wanted} needs a float ONNX twin: --member plain, robust"
            )
        return file

    @cached_property
    def test(self) -> Frames:
        """The public test half."""
        return frames(data.load_file(self.root / "gtsrb" / "test_public_32.npz"))

    @cached_property
    def split(self) -> tuple[data.Images, data.Images]:
        """Training frames and calibration frames, channels last."""
        keys = data.read_split(models_dir() / "split.json")
        return data.split(data.load_train(self.root), keys)

    @cached_property
    def training(self) -> Frames:
        """Training frames, whole tracks in driving order."""
        return frames(self.split[0])

    @cached_property
    def held(self) -> Frames:
        """Calibration tracks in driving order; nothing is trained on them."""
        return frames(self.split[1])

    @cached_property
    def calibration(self) -> Frames:
        """Frames that limits are set on."""
        return self.held.where(np.arange(0, len(self.held), 3 if self.quick else 1))

    @cached_property
    def agreed(self) -> U8:
        """Test pictures on which a surrogate must be the file, whatever --quick says (E2)."""
        rows = np.linspace(0, len(self.test) - 1, AGREED).astype(int)
        return self.test.pixels[np.unique(rows)]

    @cached_property
    def victim(self) -> Victim:
        """The deployed file and its surrogate, held against each other first."""
        return Victim(self.card.model_path, self.agreed, self.card)

    @cached_property
    def embedded(self) -> Embedded:
        """The same with its embedding."""
        return Embedded(self.victim)

    @cached_property
    def chosen(self) -> Frames:
        """A seeded choice of test pictures, right or not."""
        order = np.random.default_rng(SEED).permutation(len(self.test))
        return self.test.where(np.sort(order[: self.many]))

    @cached_property
    def right(self) -> np.ndarray:
        """Which of the chosen the deployed member reads rightly [N]."""
        return np.asarray(self.victim.labels(self.chosen.pixels) == self.chosen.y)

    def attackable(self, rows: np.ndarray) -> Frames:
        """Those of the chosen; rows [N]: read rightly and accepted. Raises EdgeguardError where
        there is none, since a share of nothing says nothing."""
        if not rows.any():
            raise EdgeguardError(
                f"none of {len(rows)} pictures is read rightly and accepted: give more with --n"
            )
        return self.chosen.where(rows)

    @cached_property
    def attacked(self) -> dict[str, Result]:
        """The static attacks on those that are read rightly. Raises EdgeguardError."""
        own = self.attackable(self.right)
        return {
            name: self.attack(self.victim, own, attack, threat)
            for name, (attack, threat) in static.attacks(self.quick).items()
        }

    def attack(self, seen: Target, own: Frames, attack: static.Attack, threat: Threat) -> Result:
        """On at least one picture; batch by batch, judged as one. Raises InvalidAttack."""
        parts = []
        for at in range(0, len(own), static.BATCH):
            part = own.where(np.arange(at, min(at + static.BATCH, len(own))))
            parts.append(attack(seen, as_images(part.pixels), torch.from_numpy(part.y)))
            self.advance(len(part))
        return judge(seen, own.pixels, own.y, torch.cat(parts), threat)

    def clean(self) -> Share:
        """Of the bare member on the chosen."""
        return share(self.right)

    def training_multiple(self, seconds: float = 0.0) -> float:
        """What training the member and `seconds` more cost, as a multiple of plain training. The
        cards count wall time on the machine that trained them, `seconds` is CPU time on this one:
        the size of it, no more."""
        own_s, plain_s = (
            float(Card.load(models_dir() / f"{name}.card.json").extra["training"]["seconds"])
            for name in (self.member, "plain")
        )
        return (own_s + seconds) / plain_s

    def dearer_us(self, labels: Callable[[U8], object]) -> float:
        """CPU time of one picture beyond that of the bare member; in turns, for a busy machine
        slows both."""
        pairs = [
            [self.per_picture_us(reader, 8) for reader in (labels, self.victim.labels)]
            for _ in range(25)
        ]
        return max(float(np.median([own - bare for own, bare in pairs])), 0.0)

    def per_picture_us(self, what: Callable[[U8], object], count: int = 64) -> float:
        """The median CPU time of `what` on one picture, one at a time as on the device; of this
        process, so that a busy machine changes little."""
        took = []
        for i in range(count):
            begun = time.process_time()
            what(self.chosen.pixels[i % len(self.chosen)][None])
            took.append(time.process_time() - begun)
        return float(np.median(took) * 1e6)
