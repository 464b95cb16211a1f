# SPDX-License-Identifier: Apache-2.0
"""``edgeguard lab defend``: the cards that were asked for, as a table, figures and files."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from edgeguard import written
from edgeguard.errors import EdgeguardError
from edgeguard.figures import Figure
from edgeguard.lab.defences import (
    measure_detectors,
    measure_distill,
    measure_history,
    measure_members,
    measure_stages,
)
from edgeguard.lab.defences.bench import Bench
from edgeguard.lab.defences.card import Card, table
from edgeguard.lab.defences.export import history_rows, write
from edgeguard.lab.defences.together import Together
from edgeguard.lab.zoo.data import data_root

PACKAGES = ("numpy", "torch", "onnxruntime", "pillow", "scikit-learn")


@dataclass(frozen=True)
class Request:
    """What the command was asked for. out: a folder for cards and what the runtime loads."""

    names: Sequence[str]
    member: str
    quick: bool
    many: int
    data_dir: str | None
    out: Path


def run(request: Request) -> list[Figure]:
    """Measure, print, write each card as soon as it is there. Raises EdgeguardError."""
    try:
        root = data_root(request.data_dir)
    except FileNotFoundError as error:
        raise EdgeguardError(str(error)) from None
    bench = Bench(root, request.member, request.quick, request.many)
    _check(request, bench)
    written.folder("--out", request.out)
    console = Console(stderr=True)
    columns = BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    cards: list[Card] = []
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(request.names))
        for at, name in enumerate(request.names):
            shown = f"{at + 1}/{len(request.names)} {name}"
            progress.update(task, description=shown)
            bench.advance = _counting(progress, task, shown)
            card = measure(bench, name, request.out)
            (request.out / f"{request.member}.{card.name}.json").write_text(
                json.dumps(card.document(), indent=1) + "\n"
            )
            cards.append(card)
            progress.advance(task)
    wide = Console(highlight=False, width=None if Console().is_terminal else 120)
    wide.print(table(cards))
    return [figure for card in cards for figure in card.figures()]


def _check(request: Request, bench: Bench) -> None:
    """Raises EdgeguardError before hours are spent where a defence that comes later cannot be made
    of this member."""
    trained = [n for n in request.names if n == "distillation" or n in measure_members.KINDS]
    if not trained:
        return
    try:
        bench.twin(trained[0])
    except EdgeguardError as error:
        others = [name for name in request.names if name not in trained]
        rest = f"; without one: {' '.join(others)}" if others else ""
        raise EdgeguardError(f"{error}{rest}") from None


def _counting(progress: Progress, task: object, shown: str) -> Callable[[int], None]:
    """Pictures attacked so far, beside the name."""
    done = 0

    def advance(n: int) -> None:
        nonlocal done
        done += n
        progress.update(task, description=f"{shown}: {done} pictures attacked")  # type: ignore[arg-type]

    return advance


def measure(bench: Bench, name: str, out: Path) -> Card:
    """One card by name; detectors leave in `out` what the runtime loads."""
    if name == "distillation":
        return measure_distill.measure(bench, out)
    if name in measure_members.KINDS:
        return measure_members.measure(bench, name, out)
    if name == "history":
        card = measure_history.measure(bench)
        (out / f"{bench.member}.history.toml").write_text(history_rows(bench.member, card.notes))
        return card
    if name.startswith("stage."):
        return measure_stages.measure(bench, name.removeprefix("stage."))
    known = measure_detectors.detectors(bench)
    parts = [known[part]() for part in name.split("+")]
    detector = parts[0] if len(parts) == 1 else Together(parts)
    card = measure_detectors.measure(bench, detector)
    write(out, bench.member, detector)
    return card
