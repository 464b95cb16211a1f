# SPDX-License-Identifier: Apache-2.0
"""The attack set on every member that was asked for, with progress, table and figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from edgeguard.card import Card, card_path
from edgeguard.config import load, load_cards, model_path
from edgeguard.errors import EdgeguardError
from edgeguard.figures import Figure
from edgeguard.lab.attacks import signs
from edgeguard.lab.attacks.campaign import Outcome, invalid
from edgeguard.lab.attacks.campaign import run as attack
from edgeguard.lab.attacks.guard_run import hazard
from edgeguard.lab.attacks.losses import climb, cross_entropy
from edgeguard.lab.attacks.plan import Job, Scene, jobs
from edgeguard.lab.attacks.victim import U8, FloatVictim, Ints, Victim, images
from edgeguard.lab.zoo import data
from edgeguard.zoo import models_dir

AGREED = 1000  # pictures on which the surrogate must be the file
UNDEFENDED = ("plain",)
"""Members whose results have bars: attacks have to work where nothing defends."""
GUARD, GUARD_LEVELS, GUARD_QUICK = "guard", (4, 8), 20
FLAT_OF, MOST_FLAT = 50, 0.2  # images whose gradients are looked at; the most that may have none
RP2_BAR, QUICK_SIGNS, STICKERS = 0.8, 2, "rp2"
TWINS = ("deepfool_float", "cw_l2_float")


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


@dataclass(frozen=True)
class Pictures:
    """To attack, and the attacker's own: uint8 [N, 3, H, W], labels [N]."""

    x: U8
    y: Ints
    own: U8
    own_y: Ints


def run(request: Request) -> tuple[list[Figure], list[str]]:
    """Figures, and the rules of validity that were broken. Raises EdgeguardError."""
    torch.set_num_threads(1)  # two wait for each other on a busy machine
    pictures = _pictures(request)
    wanted = _jobs(request)
    found: list[Figure] = []
    broken: list[str] = []
    for name, path, card in _members(request):
        scene, x, y = _scene(path, card, pictures, request.many, request.quick)
        chosen = [j for j in wanted if scene.twin is not None or j.name not in TWINS]
        outcomes = _attack_all(name, scene, chosen, x, y, request)
        for outcome in outcomes:
            made = outcome.figures(name)
            found += made if name in UNDEFENDED else [_without_bar(f) for f in made]
        broken += [f"{name}: {rule}" for rule in invalid(outcomes)]
        flat = _flat(scene.victim, x, y)
        found.append(Figure(f"attack.{name}.zero_gradients", flat, "1", min(len(y), FLAT_OF)))
        if flat > MOST_FLAT:
            broken.append(f"{name}: E5: {flat:.0%} of the images have no gradient: it is masked")
        if outcomes:
            _print(name, outcomes)
        if request.data is None and (not request.attacks or STICKERS in request.attacks):
            found += _stickers(name, scene.victim, request)
    if _whole_guard(request):
        found += _guard(request, pictures)
    return found, broken


def _flat(victim: Victim, x: U8, y: Ints) -> float:
    """Share of images whose cross entropy has no gradient at all, or one that is no number."""
    some = slice(0, FLAT_OF)
    gradient = climb(victim, images(x[some]), torch.from_numpy(y[some]), cross_entropy)[0]
    sizes = gradient.flatten(1).abs().amax(1)
    return float(((sizes == 0) | ~torch.isfinite(sizes)).float().mean())


def _whole_guard(request: Request) -> bool:
    """The members' guard as a whole: not for a model file, nor where one member was asked for."""
    is_guard = request.what is None or request.what.suffix == ".toml"
    asked = not request.attacks or GUARD in request.attacks
    return is_guard and asked and not request.members


def _guard(request: Request, pictures: Pictures) -> list[Figure]:
    policy = request.what or models_dir() / "guard.toml"
    n = min(request.many, GUARD_QUICK if request.quick else request.many)
    x, y = pictures.x[:n], pictures.y[:n]
    found: list[Figure] = []
    with _progress() as bar:
        for levels in GUARD_LEVELS:
            task = bar.add_task(f"guard {levels}/255", total=n)
            made = hazard(policy, x, y, (pictures.own, pictures.own_y), levels,
                          lambda k, t=task: bar.advance(t, k))  # type: ignore[misc]  # fmt: skip
            found += made.figures()[: 1 if found else 2]
            stopped = ", ".join(f"{cause} {count}" for cause, count in made.causes.items())
            Console(highlight=False).print(
                f"guard, adaptive, linf {levels}/255: wrong command accepted on {made.hit} of"
                f" {made.accepted} (clean accepted: {made.accepted} of {made.shown});"
                f" stopped by: {stopped or 'the vote alone'}"
            )
    return found


def _stickers(name: str, victim: Victim, request: Request) -> list[Figure]:
    """RP2 on reserved tracks; a victim without a card has no preprocessing to go through."""
    if victim.card is None:
        return []
    root = data.data_root(request.data_dir)
    count = min(QUICK_SIGNS if request.quick else len(signs.TARGETS), len(signs.TARGETS))
    made = signs.attack(victim, root, request.results, count)
    table = Table(title=f"{name}: stickers on at most 20 % of a sign, held-out views",
                  title_justify="left")  # fmt: skip
    for column in ("sign", "read as", "cover", "as the target", "wrong", "random colours"):
        table.add_column(column, justify="right")
    for f in made:
        table.add_row(str(f.label), str(f.target), f"{f.cover:.1%}", f"{f.targeted:.1%}",
                      f"{f.wrong:.1%}", f"{f.control:.1%}")  # fmt: skip
    Console(highlight=False, width=None if Console().is_terminal else 120).print(table)
    return signs.figures(name, made, RP2_BAR if name in UNDEFENDED else None)


def _without_bar(figure: Figure) -> Figure:
    return Figure(figure.id, figure.value, figure.unit, figure.n, figure.interval)


def _jobs(request: Request) -> list[Job]:
    known = jobs()
    names = {job.name for job in known.values()} | {STICKERS, GUARD}
    for name in request.attacks:
        if name not in names and name not in known:
            raise EdgeguardError(f"--attack {name}: known are {', '.join(sorted(names))}")
    asked = request.attacks
    return [j for full, j in known.items() if not asked or j.name in asked or full in asked]


def _members(request: Request) -> Iterator[tuple[str, Path, Card | None]]:
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


def _pictures(request: Request) -> Pictures:
    """A fixed order of all pictures, so that every member meets the same ones."""
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


def _scene(
    path: Path, card: Card | None, pictures: Pictures, many: int, quick: bool
) -> tuple[Scene, U8, Ints]:
    """The victim, and pictures that it reads rightly. Raises SurrogateDisagrees (E2)."""
    victim = Victim(path, pictures.x[:AGREED], card)
    twin = path.with_name(f"{path.stem}.float.onnx")
    scene = Scene(
        victim, pictures.own, pictures.own_y, FloatVictim(twin) if twin.is_file() else None, quick
    )
    x, y = pictures.x[: 2 * many], pictures.y[: 2 * many]
    right = np.flatnonzero(victim.labels(x) == y)[:many]
    return scene, x[right], y[right]


def _attack_all(
    name: str, scene: Scene, chosen: list[Job], x: U8, y: Ints, request: Request
) -> list[Outcome]:
    found = []
    with _progress() as bar:
        for job in chosen:
            n = min(len(y), request.many, job.quick if request.quick else request.many)
            task = bar.add_task(f"{name} {job.name}", total=n)
            found.append(attack(scene, job, x[:n], y[:n], request.results,
                                lambda k, t=task: bar.advance(t, k)))  # type: ignore[misc]  # fmt: skip
    return found


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=console, disable=not console.is_terminal,
    )  # fmt: skip


def _print(name: str, outcomes: list[Outcome]) -> None:
    table = Table(title=f"{name}: attacks on the deployed file", title_justify="left")
    for column in ("attack", "threat", "knows", "n", "success", "median size", "median queries"):
        table.add_column(column, justify="left" if column in ("attack", "knows") else "right")
    for o in outcomes:
        asked = (
            "" if o.queries is None or not o.hit.any() else f"{np.median(o.queries[o.hit]):,.0f}"
        )
        table.add_row(
            o.job.name, o.job.threat.name, o.job.threat.knowledge, f"{len(o.hit):,}",
            f"{o.success:.1%}", f"{o.median_size:.4f}", asked,
        )  # fmt: skip
    Console(highlight=False, width=None if Console().is_terminal else 120).print(table)
