# SPDX-License-Identifier: Apache-2.0
"""An evaluation from end to end: members, the whole guard, transfer, the corpus and the page.

In the results folder afterwards: the pictures and their index (`corpus`), figures.json,
gallery.json, and report.html, which is made from those files alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from attrs import asdict

from edgeguard import figures, written
from edgeguard.errors import EdgeguardError
from edgeguard.figures import Figure
from edgeguard.lab.attacks import (
    ahead,
    corpus,
    gallery,
    guard_rules,
    guard_stickers,
    page,
    signs,
    tables,
)
from edgeguard.lab.attacks.campaign import MOST_FLAT, Outcome, invalid, worst_case
from edgeguard.lab.attacks.campaign import run as attack
from edgeguard.lab.attacks.guard_run import QUERIES, hazard
from edgeguard.lab.attacks.guarded import GuardedTarget
from edgeguard.lab.attacks.inputs import (
    GUARD,
    STICKERS,
    Pictures,
    Request,
    check,
    members,
    pictures,
    read_rightly,
    scene,
    wanted,
    wants_stickers,
    whole_guard,
)
from edgeguard.lab.attacks.losses import climb, cross_entropy
from edgeguard.lab.attacks.plan import SMALLER, Job, Scene
from edgeguard.lab.attacks.resting import Resting
from edgeguard.lab.attacks.transfer import transfer
from edgeguard.lab.attacks.victim import U8, Ints, Victim, images
from edgeguard.lab.zoo import data
from edgeguard.lab.zoo.figures import rate

UNDEFENDED = ("plain",)
"""Members whose results have bars: attacks have to work where nothing defends."""
GUARD_LEVELS, BARRED, GUARD_QUICK = (4, 8), 4, 20
WIDE, WIDE_OF, WIDE_QUICK = 128, 50, 10
"""A radius at which every attack has to succeed, and on how many images it is tried."""
QUICK_QUERIES = 200
FLAT_OF = 50  # images whose gradients are looked at
RP2_BAR, QUICK_SIGNS = 0.8, 2
WORST = tuple(f"linf.{levels}" for levels in (*SMALLER, 8))
PACKAGES = ("torch", "onnxruntime", "ai-edge-litert", "numpy")


@dataclass
class Found:
    """What an evaluation says: figures, each with more keys where there is more to say (`kept`:
    the part of the corpus that it is of), and the rules of validity that were broken."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def add(self, made: Sequence[Figure], **more: Any) -> None:
        """Figures; `more` is about the first of them."""
        for number, figure in enumerate(made):
            self.rows.append({**asdict(figure), **(more if number == 0 else {})})

    def write(self, file: Path) -> None:
        """The results file."""
        figures.write(file, self.rows, 0, PACKAGES)


def run(request: Request) -> Found:
    """Attack, and write all files. Raises EdgeguardError."""
    torch.set_num_threads(1)  # two wait for each other on a busy machine
    jobs = wanted(request)
    check(request)
    written.folder("--results", request.results)
    seen = pictures(request)
    scenes = {name: scene(path, card, seen, request.quick)
              for name, path, card in members(request)}  # fmt: skip
    if request.attacks and all(s.twin is None for s in scenes.values()):
        for job in jobs:
            if job.by_twin:
                raise EdgeguardError(f"--attack {job.name}: no member has a NAME.float.onnx")
    victims = {name: s.victim for name, s in scenes.items()}
    policy = whole_guard(request)
    target = None if policy is None else GuardedTarget(policy, seen.agreed, victims)
    found, outcomes = Found(), {}
    with nullcontext() if target is None else Resting(target, (seen.own, seen.own_y)) as resting:
        if resting is not None:
            resting.begin(seen.y)
        with ahead.workers(request.jobs, request.scheduler) as executor:
            if executor is not None:
                ahead.make(request, scenes, seen, executor)
        for name, of in scenes.items():
            outcomes[name] = _member(name, of, jobs, seen, request, found)
        if resting is not None:
            _whole(resting, seen, request, found)
        found.add(transfer(outcomes, victims, resting))
        shown = gallery.choose(request.results, _parts(found))
        gallery.write(request.results, shown, victims, resting)
    found.write(request.results / page.FIGURES)
    corpus.index(request.results)
    page.write(request.results)
    return found


def _member(
    name: str, of: Scene, jobs: Sequence[Job], seen: Pictures, request: Request, found: Found
) -> list[Outcome]:
    """All attacks on one member."""
    x, y = read_rightly(of.victim, seen, request.many)
    if len(y) == 0:
        raise EdgeguardError(f"{of.victim.path}: reads none of the pictures rightly")
    chosen = [job for job in jobs if of.twin is not None or not job.by_twin]
    outcomes = _attack_all(name, of, chosen, x, y, request)
    for outcome in outcomes:
        made = outcome.figures(name)
        made = made if name in UNDEFENDED else [_without_bar(f) for f in made]
        found.add(made, kept=_kept(outcome.folder, request), cpu_s=outcome.cpu_s)
    for threat in WORST:
        found.add(worst_case(outcomes, name, threat))
    _validity(name, of.victim, outcomes, x, y, found)
    if outcomes:
        tables.attacks(name, outcomes)
    if wants_stickers(request):
        _stickers(name, of.victim, request, found)
    return outcomes


def _validity(
    name: str, victim: Victim, outcomes: Sequence[Outcome], x: U8, y: Ints, found: Found
) -> None:
    """E2 was asked for before (the share that is equal in every bit), E3 while judging."""
    agreement = victim.agreement
    equal = agreement.n - agreement.differing
    found.add([rate(f"attack.{name}.agreement", equal, agreement.n)])
    broken = invalid(outcomes)
    flat, n = _flat(victim, x, y)
    found.add([rate(f"attack.{name}.zero_gradients", flat, n)])
    if flat > MOST_FLAT * n:
        broken.append(f"E5: {flat / n:.0%} of the images have no gradient: it is masked")
    found.add([Figure(f"attack.{name}.rules_broken", len(broken), "1", n)], rules=broken)
    found.broken += [f"{name}: {rule}" for rule in broken]


def _flat(victim: Victim, x: U8, y: Ints) -> tuple[int, int]:
    """Images whose cross entropy has no gradient at all, or one that is no number; of how many."""
    some = slice(0, FLAT_OF)
    gradient = climb(victim, images(x[some]), torch.from_numpy(y[some]), cross_entropy)[0]
    sizes = gradient.flatten(1).abs().amax(1)
    return int(((sizes == 0) | ~torch.isfinite(sizes)).sum()), len(y[some])


def _attack_all(
    name: str, of: Scene, chosen: Sequence[Job], x: U8, y: Ints, request: Request
) -> list[Outcome]:
    found = []
    with tables.progress() as bar:
        for job in chosen:
            n = ahead.images_of(job, len(y), request)
            task = bar.add_task(f"{name} {job.name}", total=n)
            found.append(attack(of, job, x[:n], y[:n], request.results,
                                lambda k, t=task: bar.advance(t, k)))  # type: ignore[misc]  # fmt: skip
    return found


def _signs(request: Request) -> int:
    return QUICK_SIGNS if request.quick else len(signs.TARGETS)


def _stickers(name: str, victim: Victim, request: Request, found: Found) -> None:
    """RP2 on reserved tracks; a victim without a card has no preprocessing to go through."""
    if victim.card is None:
        return
    root = data.data_root(request.data_dir)
    count = _signs(request)
    with tables.progress() as bar:
        task = bar.add_task(f"{name} {STICKERS}", total=count)
        made, folder = signs.attack(victim, root, request.results, count,
                                    lambda k: bar.advance(task, k))  # fmt: skip
    tables.stickers(name, made)
    bar_of = RP2_BAR if name in UNDEFENDED else None
    found.add(signs.figures(name, made, bar_of), kept=_kept(folder, request))


def _whole(resting: Resting, seen: Pictures, request: Request, found: Found) -> None:
    """The whole guard: changes of every pixel, stickers, or both."""
    if not request.attacks or GUARD in request.attacks:
        _guard(resting, seen, request, found)
    if wants_stickers(request):
        root, count = data.data_root(request.data_dir), _signs(request)
        with tables.progress() as bar:
            task = bar.add_task(f"guard {STICKERS}", total=count)
            made, folder = guard_stickers.attack(resting, root, request.results, count,
                                                 lambda k: bar.advance(task, k))  # fmt: skip
        tables.guard_stickers(made)
        rows, broken = guard_stickers.figures(made, list(resting.target.victims))
        found.add(rows, kept=_kept(folder, request), rules=broken)
        found.broken += [f"guard: {rule}" for rule in broken]


def _guard(resting: Resting, seen: Pictures, request: Request, found: Found) -> None:
    """The whole within a radius, and each member alone; and whether that is an evaluation."""
    most = GUARD_QUICK if request.quick else request.many
    wide = min(WIDE_QUICK if request.quick else WIDE_OF, most)
    queries = QUICK_QUERIES if request.quick else QUERIES
    made = []
    with tables.progress() as bar:
        for levels in (*GUARD_LEVELS, WIDE):
            n = min(wide if levels == WIDE else most, request.many, len(seen.y))
            task = bar.add_task(f"guard {levels}/255", total=n)
            made.append(hazard(resting, seen.x[:n], seen.y[:n], levels, request.results, queries,
                               lambda k, t=task: bar.advance(t, k)))  # type: ignore[misc]  # fmt: skip
            tables.guard(made[-1])
    for each in made:
        rows = each.figures(barred=each.levels == BARRED)
        of = {f"{rows[0].id}.alone.{m}": f for m, f in each.folders.items() if m != "guard"}
        for row in rows:
            folder = each.folders["guard"] if row is rows[0] else of.get(row.id)
            found.add([row], kept=_kept(folder, request))
    rules, broken = guard_rules.figures(made)
    found.add(rules, rules=broken)
    found.broken += [f"guard: {rule}" for rule in broken]


def _kept(folder: Path | None, request: Request) -> str | None:
    return None if folder is None else folder.relative_to(request.results).as_posix()


def _parts(found: Found) -> dict[str, tuple[str, int]]:
    """Figures that have pictures: the part of the corpus and how many images they are of."""
    return {row["id"]: (row["kept"], row["n"]) for row in found.rows if row.get("kept")}


def _without_bar(figure: Figure) -> Figure:
    return Figure(figure.id, figure.value, figure.unit, figure.n, figure.interval)
