# SPDX-License-Identifier: Apache-2.0
"""What an evaluation is of: the members, the pictures, and which attacks on how many of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from edgeguard.card import Card
from edgeguard.config import load, load_cards, model_path
from edgeguard.errors import EdgeguardError, ModelRefused
from edgeguard.lab import cards as cards_of_files
from edgeguard.lab.attacks.plan import Job, Scene, jobs
from edgeguard.lab.attacks.victim import U8, FloatVictim, Ints, Victim, hold
from edgeguard.lab.zoo import data
from edgeguard.npz import read_npz
from edgeguard.zoo import models_dir

AGREED = 1000  # pictures on which the surrogate must be the file
NOISE = 16  # grey levels, where there are not so many pictures
TEST = Path("gtsrb") / "test_public_32.npz"
MODELS = (".onnx", ".tflite")
TRACKS = Path("gtsrb") / "tracks_original" / "tracks.csv"
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
    hint: str = ""
    """Whose they are, for who did not name them."""

    @cached_property
    def agreed(self) -> U8:
        """AGREED pictures to hold a surrogate against its file on, which takes no labels: those to
        attack, the attacker's own, and all of them again with noise of up to NOISE grey levels."""
        all_of = np.concatenate([self.x, self.own])[:AGREED]
        again = all_of[np.arange(AGREED - len(all_of)) % len(all_of)].astype(np.int16)
        noise = np.random.default_rng(0).integers(-NOISE, NOISE + 1, again.shape, np.int16)
        return np.concatenate([all_of, (again + noise).clip(0, 255).astype(np.uint8)])


def wanted(request: Request) -> list[Job]:
    """The attacks on single models that were asked for. Raises EdgeguardError."""
    known = jobs(request.quick)
    names = {job.name for job in known.values()} | {STICKERS, GUARD}
    for name in request.attacks:
        if name not in names and name not in known:
            raise EdgeguardError(f"--attack {name}: known are {', '.join(sorted(names))}")
    asked = request.attacks
    return [j for full, j in known.items() if not asked or j.name in asked or full in asked]


def check(request: Request) -> None:
    """Raises EdgeguardError for a request of which a part could not be done: an evaluation that
    silently leaves out what was asked for says that nothing was found."""
    policy = request.what or models_dir() / "guard.toml"
    one_model = policy.suffix in MODELS
    if GUARD in request.attacks and (one_model or request.members):
        why = f"{policy} is one model" if one_model else "--member leaves only members"
        raise EdgeguardError(f"--attack {GUARD}: attacks a whole guard.toml, and {why}")
    if request.members and one_model:
        raise EdgeguardError(f"--member {request.members[0]}: {policy} is one model; leave it out")
    if wants_stickers(request) and not (_root(request) / TRACKS).is_file():
        raise EdgeguardError(
            f"{_root(request) / TRACKS}: is not there, and stickers are on its tracks; name the "
            f"other attacks with --attack, without {STICKERS}"
        )
    if STICKERS not in request.attacks:
        return
    if request.data is not None:
        raise EdgeguardError(
            f"--attack {STICKERS}: is on whole tracks of GTSRB, not on pictures; leave --data out"
        )
    if one_model and cards_of_files.beside(policy) is None:
        raise EdgeguardError(
            f"--attack {STICKERS}: {policy} has no card, so that nobody knows what its input "
            f"holds; `edgeguard init {policy.name}` writes one"
        )


def wants_stickers(request: Request) -> bool:
    """Whether stickers are to be made: on tracks of GTSRB, not on pictures of one's own."""
    return request.data is None and (not request.attacks or STICKERS in request.attacks)


def members(request: Request) -> Iterator[tuple[str, Path, Card | None]]:
    """Name, file and card of each model that is attacked. Raises EdgeguardError."""
    what = request.what or models_dir() / "guard.toml"
    if what.suffix in MODELS:
        yield what.stem, what, cards_of_files.beside(what)
        return
    config = load(what)
    cards = load_cards(config)
    if GUARD in cards:
        raise EdgeguardError(f"{what}: member.{GUARD}: the whole is called that here; rename it")
    for name in request.members:
        if name not in cards:
            raise EdgeguardError(f"--member {name}: {what} has {', '.join(cards)}")
    for name, card in cards.items():
        if not request.members or name in request.members:
            yield name, model_path(config, name, card), card


def pictures(request: Request) -> Pictures:
    """In a fixed order, so that every member meets the same ones. Raises EdgeguardError."""
    if request.data is not None:
        x, y = _own_pictures(request.data)
        half = len(y) // 2
        order = np.random.default_rng(0).permutation(len(y))
        return Pictures(_chw(x[order[half:]]), y[order[half:]], _chw(x[order[:half]]),
                        y[order[:half]])  # fmt: skip
    root = _root(request)
    test = data.load_file(root / TEST)
    train = data.load_train(root)
    order = np.random.default_rng(0).permutation(len(test))
    mine = np.random.default_rng(1).permutation(len(train))[:2000]
    return Pictures(_chw(test.x[order]), test.y[order], _chw(train.x[mine]), train.y[mine],
                    "; these are GTSRB's, because --data was left out")  # fmt: skip


def picture_files(request: Request) -> list[Path]:
    """Whose change says that the pictures are others."""
    return [_root(request) / TEST] if request.data is None else [request.data]


def _root(request: Request) -> Path:
    try:
        return data.data_root(request.data_dir)
    except FileNotFoundError as error:
        raise EdgeguardError(str(error)) from None


def _own_pictures(file: Path) -> tuple[U8, Ints]:
    """x and y of --data. Raises EdgeguardError for what no attack could use."""
    content = read_npz(file)
    if "x" not in content or "y" not in content:
        raise EdgeguardError(f"--data {file}: has no x (uint8 [N, H, W, 3]) and y (classes [N])")
    x, y = content["x"], content["y"]
    whole = np.issubdtype(y.dtype, np.integer)
    pixels = x.dtype == np.uint8 and x.ndim == 4 and x.shape[-1] in (1, 3)
    if not pixels or y.shape != x.shape[:1] or not whole:
        raise EdgeguardError(
            f"--data {file}: want x uint8 [N, H, W, 3] and y whole numbers [N], got x {x.dtype} "
            f"{list(x.shape)} and y {y.dtype} {list(y.shape)}"
        )
    if len(y) < 2:
        raise EdgeguardError(
            f"--data {file}: has {len(y)} pictures; want at least two, for half of them are the "
            "attacker's own"
        )
    if y.min() < 0:
        raise EdgeguardError(f"--data {file}: y has the class {y.min()}; want classes from 0 on")
    return x, y.astype(np.int64)


def _chw(x: U8) -> U8:
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def scene(path: Path, card: Card | None, pictures: Pictures, quick: bool) -> Scene:
    """A victim, and what the attacker has besides. Raises SurrogateDisagrees (E2), ModelRefused for
    a file that is not its card's, or EdgeguardError for pictures or a float twin that do not go
    with it."""
    if card is not None:
        hold(path, card)
    twin = twin_of(path)
    float_twin = FloatVictim(twin, card) if twin.is_file() else None
    victim = _victim(path, pictures, card)
    most = max(int(pictures.y.max(initial=0)), int(pictures.own_y.max(initial=0)))
    if most >= victim.classes:
        raise EdgeguardError(
            f"{path}: has {victim.classes} classes; the pictures have the class {most}"
            f"{pictures.hint}"
        )
    return Scene(victim, pictures.own, pictures.own_y, float_twin, quick)


def _victim(path: Path, pictures: Pictures, card: Card | None) -> Victim:
    """What it refuses, with the file and whose the pictures are."""
    try:
        return Victim(path, pictures.agreed, card)
    except ModelRefused as error:
        said = str(error)
        raise ModelRefused(said if str(path) in said else f"{path}: {said}") from None
    except EdgeguardError as error:
        if type(error) is not EdgeguardError:  # it disagrees with its surrogate
            raise
        raise EdgeguardError(f"{error}{pictures.hint}") from None


def twin_of(model: Path) -> Path:
    """Where a float twin would lie."""
    return model.with_name(f"{model.stem}.float.onnx")


def read_rightly(victim: Victim, pictures: Pictures, many: int) -> tuple[U8, Ints]:
    """The first so many pictures that the deployed file reads rightly."""
    x, y = pictures.x[: 2 * many], pictures.y[: 2 * many]
    right = np.flatnonzero(victim.labels(x) == y)[:many]
    return x[right], y[right]


def whole_guard(request: Request) -> Path | None:
    """The guard that is attacked as a whole: none for a model file, for an attack that is on
    members, or where one member was asked for."""
    policy = request.what or models_dir() / "guard.toml"
    asked = not request.attacks or {GUARD, STICKERS} & set(request.attacks)
    return policy if policy.suffix == ".toml" and asked and not request.members else None
