# SPDX-License-Identifier: Apache-2.0
"""What the terminal shows of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from edgeguard.lab.attacks.campaign import Outcome
from edgeguard.lab.attacks.guard_run import Hazard
from edgeguard.lab.attacks.guard_stickers import Misled
from edgeguard.lab.attacks.signs import Fooled


def progress() -> Progress:
    """Bars on stderr; nothing where that is no terminal."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=console, disable=not console.is_terminal,
    )  # fmt: skip


def attacks(name: str, outcomes: Sequence[Outcome]) -> None:
    """Of one member."""
    table = Table(title=f"{name}: attacks on the deployed file", title_justify="left")
    for column in ("attack", "threat", "knows", "n", "success", "median size", "median queries"):
        table.add_column(column, justify="left" if column in ("attack", "knows") else "right")
    for o in outcomes:
        asked = (
            "" if o.queries is None or not o.hit.any() else f"{np.median(o.queries[o.hit]):,.0f}"
        )
        table.add_row(
            o.job.name, o.job.threat.name, o.job.threat.knowledge, f"{len(o.hit):,}",
            f"{o.success:.1%}", f"{o.median_size:.4f}" if o.hit.any() else "", asked,
        )  # fmt: skip
    _show(table)


def stickers(name: str, found: Sequence[Fooled]) -> None:
    """Of one member."""
    table = Table(title=f"{name}: stickers on at most 20 % of a sign, held-out views",
                  title_justify="left")  # fmt: skip
    for column in ("sign", "read as", "cover", "as the target", "wrong", "random colours",
                   "right when clean"):  # fmt: skip
        table.add_column(column, justify="right")
    for f in found:
        shares = (f.targeted, f.wrong, f.control) if f.counts else ()
        said = [f"{share:.1%}" for share in shares] or ["left out"] * 3
        table.add_row(str(f.label), str(f.target), f"{f.cover:.1%}", *said, f"{f.clean_right:.1%}")
    _show(table)


def guard_stickers(found: Sequence[Misled]) -> None:
    """Of the whole guard."""
    table = Table(title="guard: stickers on at most 20 % of a sign, held-out views",
                  title_justify="left")  # fmt: skip
    for column in ("sign", "clean accepted", "command raised", "random colours", "made on",
                   "causes"):  # fmt: skip
        table.add_column(column, justify="left" if column in ("made on", "causes") else "right")
    for m in found:
        shares = (m.raised, m.control) if m.accepted else ()
        said = [f"{share:.1%}" for share in shares] or ["left out"] * 2
        table.add_row(str(m.label), f"{m.accepted:.1%}", *said, m.way, m.causes)
    _show(table)


def guard(found: Hazard) -> None:
    """One radius."""
    stopped = ", ".join(f"{cause} {count}" for cause, count in found.causes.items())
    name, best = found.best
    left = f", {found.left_out} not judged" if found.left_out else ""
    Console(highlight=False).print(
        f"guard, adaptive, linf {found.levels:g}/255: wrong command accepted on {found.hit} of"
        f" {found.accepted} (clean accepted: {found.accepted} of {found.shown}{left}); stopped by:"
        f" {stopped or 'the vote alone'}; the best member alone, {name}: {best.hit} of"
        f" {best.accepted} at a certainty of {best.threshold:.4f}"
    )


def _show(table: Table) -> None:
    Console(highlight=False, width=None if Console().is_terminal else 120).print(table)
