# SPDX-License-Identifier: Apache-2.0
"""Attacks on the steering networks, handed to the driving loop as faults of its frames or members.

Gradients come from the float twins, through the guard's own preprocessing; what counts is what the
int8 files make of the frames. PGD (Madry et al. 2018) runs on each frame from where it ended on the
last one, so a few steps a frame are many over a second. The attacker of `pgd all` knows the guard:
he moves all members away from the middle of the road, so that no vote sees it, each no further from
the rule's command than the policy lets pass of it; and he makes no change that a detector on images
would see. Odometry is out of his reach. The mid value follows two, but to leave the third alone,
which was trained against him, gained him nothing.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from math import inf
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgeguard import config
from edgeguard.card import Card
from edgeguard.config import GuardConfig
from edgeguard.config.vocabulary import IMAGE_FEATURES
from edgeguard.errors import EdgeguardError
from edgeguard.inference.golden import load_golden
from edgeguard.intake.camera import Camera
from edgeguard.intake.preprocess import InputSpec
from edgeguard.lab.drive.twins import Twin, twins
from edgeguard.streams.loops.fault import Fault, Make, Moment, Scores
from edgeguard.streams.loops.patch import AT, FILE
from edgeguard.streams.loops.vehicle import U8

STEPS = 4
"""Of PGD for each frame; it goes on from the last frame's."""
INSIDE = 0.05
"""How far the attacker who knows the guard stays inside its limit."""
SHARES = (1.0, 0.75, 0.5, 0.25, 0.0)
"""Of his change that he tries, until no detector on images sees it."""
CENTRED_M = 0.5
FAR = 2.0  # steering that no member says
ONE = "grey"
FLIPS, FEW = 64, 4
LIMIT_S = 120  # in which a damaged model has to answer, on a busy machine too


def attack(cell: str, against: GuardConfig) -> Make:
    """The fault of a cell of the matrix; against: the members, and the detectors that an attacker
    who knows the guard stays inside of. Raises EdgeguardError for one that is not known."""
    words = cell.split()
    if words[0] == "pgd":
        strength = float(words[2]) / 255
        return lambda seed: Fault(frame=Pgd(against, words[1] == "all", strength, seed))
    if words[0] == "flips":
        return lambda seed: Flips(against, words[1] == "all", seed).fault
    raise EdgeguardError(f"no attack {cell!r}")


# ------------------------------------------------------------------------- PGD


@dataclass
class Pgd:
    """A change of at most `radius` to every pixel of a frame, for one drive."""

    against: GuardConfig
    all: bool
    radius: float
    seed: int
    _delta: Tensor | None = None

    def __post_init__(self) -> None:
        torch.set_num_threads(1)
        names = tuple(n for n in self.against.members if n != "cruise") if self.all else (ONE,)
        self._twins = _twins(self.against.source.parent, names)
        most = [most_apart(self.against, name) if self.all else FAR for name in names]
        self._most = torch.tensor(most)
        self._unseen = Unseen(self.against) if self.all else None

    def __call__(self, frame: U8, moment: Moment) -> U8:
        if moment.since < 0:
            return frame
        x = torch.from_numpy(frame.transpose(2, 0, 1).copy()).float()[None] / 255
        if self._delta is None:
            noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(self.seed))
            self._delta = (2 * noise - 1) * self.radius
        side, rule = self._side(moment), moment.signals["rule"] if self.all else 0.0
        for _ in range(STEPS):
            self._delta = self._better(x, self._delta, rule, side)
        for less in _fainter(self._delta):
            self._delta, spoilt = less, _picture(x + less)
            if self._unseen is None or self._unseen(spoilt):
                break
        return spoilt

    def _side(self, moment: Moment) -> float:
        """Where all are to steer: 1 to the left."""
        out = moment.signals["lateral"] + moment.signals["drift"]
        return float(np.sign(out)) if abs(out) > CENTRED_M else (1.0 if self.seed % 2 else -1.0)

    def _better(self, x: Tensor, delta: Tensor, rule: float, side: float) -> Tensor:
        delta = delta.detach().requires_grad_()
        said = torch.stack([twin((x + delta).clamp(0, 1))[0] for twin in self._twins.values()])
        loss = (((said - rule) * side - self._most) ** 2).sum()
        (gradient,) = torch.autograd.grad(loss, delta)
        moved = delta.detach() - self.radius / 2 * gradient.sign()
        return moved.clamp(-self.radius, self.radius)


def most_apart(against: GuardConfig, member: str) -> float:
    """How far from the rule's command a member may be, to either side."""
    limits = [
        abs(limit)
        for detector in against.detectors.values()
        if detector.kind == "association" and f"member.{member}" in detector.between
        for limit in (detector.below, detector.above) if isinstance(limit, int | float)
    ]  # fmt: skip
    return min(limits) - INSIDE if limits else FAR


def _fainter(delta: Tensor) -> Iterator[Tensor]:
    """A change [1, 3, H, W], then its mean over each two columns whose difference is all that
    sharpness looks at (few members see them apart), then less and less of that."""
    yield delta
    both = delta.unflatten(3, (-1, 2)).mean(4).repeat_interleave(2, 3)
    for share in SHARES:
        yield share * both


def _picture(x: Tensor) -> U8:
    """[1, 3, H, W] in 0 to 1 -> RGB [H, W, 3]."""
    spoilt = x.clamp(0, 1) * 255
    return np.ascontiguousarray(spoilt[0].numpy().transpose(1, 2, 0).round().astype(np.uint8))


class Unseen:
    """Whether no detector on images sees a frame, by the guard's own kernel."""

    def __init__(self, against: GuardConfig) -> None:
        spec = InputSpec.of(config.load_cards(against)[ONE].input)
        self._camera = Camera({spec: np.zeros(spec.shape, np.int8)}, "RGB")
        self._limits = [
            (IMAGE_FEATURES.index(d.feature or ""), _end(d.below, -inf), _end(d.above, inf))
            for d in against.detectors.values() if d.kind == "image"
        ]  # fmt: skip

    def __call__(self, frame: U8) -> bool:
        """Frame: RGB [H, W, 3]."""
        health, *_ = self._camera.look(frame)
        assert health is not None
        return all(low < health.features[at] < high for at, low, high in self._limits)


def _end(limit: object, none: float) -> float:
    return float(limit) if isinstance(limit, int | float) else none


@cache
def _twins(folder: Path, names: tuple[str, ...]) -> Mapping[str, Twin]:
    return twins(folder, names)


# ----------------------------------------------------------------------- patch

SIDE = 18
INK = 0.1, 0.9
ROUNDS, BATCH = 150, 24


def make_patches(folder: Path, frames: U8, seed: int = 0) -> None:
    """Write patch.npz: two patches that make all members steer left on frames [N, 84, 96, 3]."""
    x = torch.from_numpy(frames.transpose(0, 3, 1, 2).copy()).float() / 255
    found = {
        name: _grown(folder, x, name == "printed", torch.Generator().manual_seed(seed))
        for name in ("still", "printed")
    }
    np.savez_compressed(folder / FILE, **found)  # type: ignore[arg-type]


def _grown(folder: Path, x: Tensor, printed: bool, random: torch.Generator) -> U8:
    """Adam on the mean steering; a printed one in ink's colours, in any row, in more or less light
    (Brown et al. 2017)."""
    torch.set_num_threads(1)
    low, high = INK if printed else (0.0, 1.0)
    members = _twins(folder, ("grey", "colour", "hard")).values()
    patch = torch.full((3, SIDE, SIDE), 0.5, requires_grad=True)
    optimizer = torch.optim.Adam([patch], 0.05)
    for _ in range(ROUNDS):
        chosen = x[torch.randint(len(x), (BATCH,), generator=random)]
        row = int(torch.randint(60, (1,), generator=random)) if printed else AT[0]
        light = 0.9 + 0.2 * float(torch.rand(1, generator=random)) if printed else 1.0
        spoilt = chosen.clone()
        spoilt[:, :, row : row + SIDE, AT[1] : AT[1] + SIDE] = (light * patch).clamp(0, 1)
        said = torch.stack([twin(spoilt) for twin in members])
        optimizer.zero_grad()
        (-said.clamp(max=1.0).mean()).backward()
        optimizer.step()
        with torch.no_grad():
            patch.clamp_(low, high)
    return np.asarray((patch.detach() * 255).round().numpy().transpose(1, 2, 0), np.uint8)


# ----------------------------------------------------------------------- flips


@dataclass
class Flips:
    """Bits of weights that turn over while the models run, so that no self-test sees them."""

    against: GuardConfig
    all: bool
    seed: int
    _frame: U8 | None = None
    _runs: dict[str, Any] = field(default_factory=dict)
    _turned: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        cards = config.load_cards(self.against)
        for name in [n for n in cards if n != "cruise"] if self.all else [ONE]:
            self._runs[name], self._turned[name] = _running(cards[name], self.seed)

    @property
    def fault(self) -> Fault:
        """What the loop takes."""
        turned = ", ".join(f"{name} {bits} bits" for name, bits in self._turned.items())
        return Fault(frame=self._see, member=self._say, note=turned)

    def _see(self, frame: U8, moment: Moment) -> U8:
        self._frame = frame
        return frame

    def _say(self, card: Card, scores: Scores, moment: Moment) -> Scores | None:
        if card.name not in self._runs or self._frame is None:
            return scores
        return np.asarray(self._runs[card.name](_fed(card, self._frame)).reshape(-1))


def _running(card: Card, seed: int) -> tuple[Any, int]:
    """The model with bits flipped, a few at a time, and how many. A file that its runtime refuses,
    or dies of, is no model that was running, so those few stay as they were. Raises EdgeguardError
    where all do."""
    from edgeguard.lab.testing.constants import constants
    from edgeguard.lab.testing.flips import runner

    held = constants(card.model_path.read_bytes(), card.model_path.suffix)
    inputs = load_golden(card)[0].reshape(-1, *card.input.shape[1:])
    turned = 0
    for few in flipped_bits(card, seed, held.bits):
        changed = held
        for bit in few:
            changed = replace(changed, data=changed.flipped(int(bit)))
        if comes_back(partial(_answers, changed.data, card, inputs)):
            held, turned = changed, turned + len(few)
    if turned == 0:
        raise EdgeguardError(f"{card.model_path}: runs with no bit flipped that was tried")
    return runner(held.data, card), turned


def flipped_bits(card: Card, seed: int, bits: int) -> npt.NDArray[np.int64]:
    """Which of so many bits [FLIPS / FEW, FEW], drawn anew for each model."""
    rng = np.random.default_rng([seed, crc32(card.name.encode())])
    return rng.integers(bits, size=(FLIPS // FEW, FEW))


def _answers(data: bytes, card: Card, inputs: npt.NDArray[Any]) -> None:
    from edgeguard.lab.testing.flips import runner

    runner(data, card)(inputs)


def comes_back(work: Callable[[], object]) -> bool:
    """Whether work ends without an exception, in a child: a runtime may die of a damaged model, or
    never return."""
    child = os.fork()
    if child == 0:
        signal.alarm(LIMIT_S)
        try:
            work()
        except BaseException:  # whatever a runtime says to a damaged file
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def _fed(card: Card, frame: U8) -> npt.NDArray[np.int8]:
    """The frame as the member's int8 input, by the guard's own kernel."""
    spec = InputSpec.of(card.input)
    tensor = np.zeros(spec.shape, np.int8)
    Camera({spec: tensor}, "RGB").look(frame)
    return tensor
