# SPDX-License-Identifier: Apache-2.0
"""What an evaluation is of: the members, the pictures, and which attacks on how many of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeguard.card import Card, card_path
from edgeguard.config import load, load_cards, model_path
from edgeguard.errors import EdgeguardError
from edgeguard.lab.attacks.plan import Job, Scene, jobs
from edgeguard.lab.attacks.victim import U8, FloatVictim, Ints, Victim
from edgeguard.lab.zoo import data
from edgeguard.zoo import models_dir

AGREED = 1000  # pictures on which the surrogate must be the file
STICKERS, GUARD = "rp2", "guard"
"""Attacks that are on signs, and on the whole."""


@dataclass(frozen=True)
class Request:
    """What the command was asked for."""

    what: Path | None
    many: int
    quick: bool
    members: tuple[str, ...]
    attacks: tuple[str, ...]
    data: Path | None
    data_dir: str | None
    results: Path
    jobs: int = 1
    scheduler: str | None = None


@dataclass(frozen=True)
class Pictures:
    """To attack, and the attacker's own: uint8 [N, 3, H, W], labels [N]."""

    x: U8
    y: Ints
    own: U8
    own_y: Ints


def wanted(request: Request) -> list[Job]:
    """The attacks on single models that were asked for. Raises EdgeguardError."""
    known = jobs()
    names = {job.name for job in known.values()} | {STICKERS, GUARD}
    for name in request.attacks:
        if name not in names and name not in known:
            raise EdgeguardError(f"--attack {name}: known are {', '.join(sorted(names))}")
    asked = request.attacks
    return [j for full, j in known.items() if not asked or j.name in asked or full in asked]


def members(request: Request) -> Iterator[tuple[str, Path, Card | None]]:
    """Name, file and card of each model that is attacked. Raises EdgeguardError."""
    what = request.what or models_dir() / "guard.toml"
    if what.suffix in (".onnx", ".tflite"):
        has_card = card_path(what).is_file()
        yield what.stem, what, Card.beside(what) if has_card else None
        return
    config = load(what)
    cards = load_cards(config)
    for name in request.members:
        if name not in cards:
            raise EdgeguardError(f"--member {name}: {what} has {', '.join(cards)}")
    for name, card in cards.items():
        if not request.members or name in request.members:
            yield name, model_path(config, name, card), card


def pictures(request: Request) -> Pictures:
    """In a fixed order, so that every member meets the same ones. Raises EdgeguardError."""
    if request.data is not None:
        with np.load(request.data) as file:
            x, y = file["x"], file["y"].astype(np.int64)
        half = len(y) // 2
        order = np.random.default_rng(0).permutation(len(y))
        return Pictures(_chw(x[order[half:]]), y[order[half:]], _chw(x[order[:half]]),
                        y[order[:half]])  # fmt: skip
    try:
        root = data.data_root(request.data_dir)
    except FileNotFoundError as error:
        raise EdgeguardError(str(error)) from None
    test = data.load_file(root / "gtsrb" / "test_public_32.npz")
    train = data.load_train(root)
    order = np.random.default_rng(0).permutation(len(test))
    mine = np.random.default_rng(1).permutation(len(train))[:2000]
    return Pictures(_chw(test.x[order]), test.y[order], _chw(train.x[mine]), train.y[mine])


def _chw(x: U8) -> U8:
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def scene(path: Path, card: Card | None, pictures: Pictures, quick: bool) -> Scene:
    """A victim, and what the attacker has besides. Raises SurrogateDisagrees (E2)."""
    victim = Victim(path, pictures.x[:AGREED], card)
    twin = path.with_name(f"{path.stem}.float.onnx")
    return Scene(
        victim, pictures.own, pictures.own_y, FloatVictim(twin) if twin.is_file() else None, quick
    )


def read_rightly(victim: Victim, pictures: Pictures, many: int) -> tuple[U8, Ints]:
    """The first so many pictures that the deployed file reads rightly."""
    x, y = pictures.x[: 2 * many], pictures.y[: 2 * many]
    right = np.flatnonzero(victim.labels(x) == y)[:many]
    return x[right], y[right]


def whole_guard(request: Request) -> Path | None:
    """The guard that is attacked as a whole: none for a model file, for an attack that is on
    members, or where one member was asked for."""
    policy = request.what or models_dir() / "guard.toml"
    asked = not request.attacks or GUARD in request.attacks
    return policy if policy.suffix == ".toml" and asked and not request.members else None
